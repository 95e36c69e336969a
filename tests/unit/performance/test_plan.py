"""Plans: which hosts, how many, in which order, and what is refused."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.catalog import CatalogError, load
from slipway.performance.candidates import hardware_estimate
from slipway.performance.layout import HEADROOM, MAX_HOSTS, holds, most_at_once, workload
from slipway.performance.plan import plan
from slipway.performance.plan_types import Option, Plan, PlanError, Question
from slipway.performance.predict import Replica
from slipway.sizing.config import read_config
from slipway.sizing.result import Request
from slipway.sizing.size import size
from tests.unit.performance.planning import LARGE, SMALL, catalog, option, planned

TIERS = ("team", "prod", "poc", "g5.xlarge")
TINY, MIXTURE, SPANNING = "Qwen/Qwen2.5-1.5B-Instruct", "openai/gpt-oss-20b", "deepseek-ai/DeepSeek-V3"


def choice(answer: Plan) -> Option:
    assert answer.choice is not None
    return option(answer, answer.choice)


@settings(max_examples=20, deadline=None)
@given(
    model=st.sampled_from((SMALL, LARGE)),
    users=st.integers(1, 20_000),
    more=st.integers(0, 20_000),
    prompt=st.integers(1, 6_000),
    output=st.integers(1, 2_000),
)
def test_more_users_never_need_less_hardware(model: str, users: int, more: int, prompt: int, output: int) -> None:
    asked: dict[str, Any] = {"model": model, "prompt_tokens": prompt, "output_tokens": output, "tiers": TIERS}
    few = {each.id: each for each in planned(users, **asked).options}
    many = {each.id: each for each in planned(users + more, **asked).options}
    assert few.keys() == many.keys()
    for name, before in few.items():
        after = many[name]
        assert after.hosts >= before.hosts, name
        assert after.cost.total >= before.cost.total * (1 - 1e-9), name
        assert after.power_w >= before.power_w, name


@settings(max_examples=20, deadline=None)
@given(
    model=st.sampled_from((SMALL, LARGE, MIXTURE)),
    users=st.integers(1, 5_000),
    scenario=st.sampled_from(("internal", "hybrid")),
)
def test_options_are_whole(model: str, users: int, scenario: str) -> None:
    """Parts add up, ranges are in order, the load fits into the headroom, and the order is by cost."""
    answer = planned(users, model=model, scenario=scenario, tiers=TIERS)
    for each in answer.options:
        cost, memory = each.cost, each.memory
        parts = cost.capital + cost.maintenance + cost.energy + cost.staff + cost.cloud + cost.api
        assert parts == pytest.approx(cost.total)
        assert sum(value for name, value in msgspec.structs.asdict(memory).items() if name != "total") == pytest.approx(
            memory.total
        )
        assert each.gpus == each.hosts * each.gpus_per_host
        assert each.data_parallel * each.tensor_parallel * each.pipeline_parallel <= each.gpus_per_host
        assert each.replicas == each.hosts * each.data_parallel
        assert each.flags.get("data-parallel-size", 1) == each.data_parallel
        assert each.load <= HEADROOM + 1e-9
        assert each.meets_targets == (not each.why_not)
        if each.meets_targets:
            assert each.hosts <= MAX_HOSTS
            assert each.ttft_s.expected <= answer.load.ttft_s
            assert each.user_tokens_per_s.expected >= answer.load.tokens_per_second
        for figure in (each.capacity, each.output_tokens_per_s, each.ttft_s, each.user_tokens_per_s):
            assert figure.low <= figure.expected <= figure.high
        assert [point.concurrency for point in each.curve] == sorted({point.concurrency for point in each.curve})
    good = [each for each in answer.options if each.meets_targets]
    assert list(answer.options[: len(good)]) == sorted(good, key=lambda each: (each.cost.total, each.id))


def test_the_cheapest_that_meets_the_targets_is_chosen() -> None:
    answer = planned()
    best = choice(answer)
    assert best.cost.total == min(each.cost.total for each in answer.options if each.meets_targets)
    assert best.id in answer.advice[0]
    assert f"{best.cost.total:,.0f}" in answer.advice[0]


def test_the_curve_says_where_the_targets_end() -> None:
    """The concurrency that an option is laid out for lies between the last point that holds and the first that does not."""
    each = option(planned(model=LARGE), "prod")
    holding = [point.concurrency for point in each.curve if point.meets_targets]
    failing = [point.concurrency for point in each.curve if not point.meets_targets]
    assert max(holding) <= each.concurrency < min(failing)


def test_one_request_more_would_miss_a_target() -> None:
    """With the prompt and answer of the load, at exactly the concurrency that one copy is laid out for."""
    load = planned(model=LARGE).load
    architecture = read_config(catalog().models[LARGE].config, LARGE)
    sizing = size(Request(architecture=architecture, gpu=catalog().gpus["h100-sxm-80gb"], count=4, context=8192))
    replica = Replica(architecture, catalog().gpus["h100-sxm-80gb"], sizing)
    for wanted in range(12, 40):
        strict = msgspec.structs.replace(load, tokens_per_second=wanted)
        most = most_at_once(replica, strict)
        assert holds(replica.predict(workload(strict, most)), strict)
        assert not holds(replica.predict(workload(strict, most + 1)), strict)


def test_stricter_targets_leave_fewer_options() -> None:
    loose = {each.id for each in planned(model=LARGE, tokens_per_second=5).options if each.meets_targets}
    strict = {each.id for each in planned(model=LARGE, tokens_per_second=60).options if each.meets_targets}
    assert strict < loose


def test_nothing_meets_absurd_targets_and_the_nearest_comes_first() -> None:
    answer = planned(model=LARGE, tokens_per_second=2000)
    assert answer.choice is None
    assert answer.advice[0] == "Nothing meets the targets."
    first, *others = answer.options
    assert not first.meets_targets
    assert first.why_not[0] in answer.advice[1]
    assert all(first.user_tokens_per_s.expected >= each.user_tokens_per_s.expected / 2.5 for each in others)


def test_a_scenario_may_limit_hosts() -> None:
    answer = planned(5_000, scenario="local")
    beyond = [each for each in answer.options if each.hosts > 1]
    assert beyond
    assert all(not each.meets_targets and "at most 1 make one service here" in each.why_not[-1] for each in beyond)


def test_hybrid_pays_an_api_for_the_rest() -> None:
    answer = planned(500, scenario="hybrid", tiers=("team",))
    each = option(answer, "team")
    assert answer.load.local_requests_per_s == pytest.approx(0.7 * answer.load.requests_per_s)
    assert each.cost.api == pytest.approx(0.3 * each.api_month)


def test_offline_rents_nothing() -> None:
    assert {each.place for each in planned(scenario="offline").options} == {"on-premises"}


def test_a_region_keeps_to_its_instances() -> None:
    rented = [each for each in planned(region="eu-central-1").options if each.place == "cloud"]
    assert rented
    assert {each.region for each in rented} == {"eu-central-1"}


@pytest.mark.parametrize(
    ("zone", "inside", "outside"), [("eu", "westeurope", "ap-"), ("us", "eastus", "ap-"), ("cn", "cn-", "us-")]
)
def test_a_zone_is_all_its_regions(zone: str, inside: str, outside: str) -> None:
    regions = [each.region or "" for each in planned(region=zone).options if each.place == "cloud"]
    assert any(region.startswith(inside) for region in regions)
    assert not any(region.startswith(outside) for region in regions)


def test_a_price_given_wins_over_the_catalogues() -> None:
    each = option(planned(hardware_prices={"prod": 123_456.0}, currency="EUR"), "prod")
    assert each.cost.once == 123_456.0 * each.hosts
    assert not each.hardware_estimated


def test_a_price_that_nobody_publishes_is_called_an_estimate() -> None:
    answer = planned(tiers=("prod",))
    assert option(answer, "prod").hardware_estimated
    assert hardware_estimate(catalog().gpus["h100-sxm-80gb"], 8) == option(answer, "prod").cost.once
    assert "an estimate" in answer.advice[0]
    assert any(each.option == "--hardware-price" for each in answer.assumptions)


def test_hardware_without_any_price_says_what_to_give() -> None:
    (refusal,) = planned(tiers=("mi300x-8",), places=("on-premises",)).refused
    assert "--hardware-price mi300x-8=AMOUNT" in refusal.reason


def test_a_copy_over_several_hosts_is_refused_with_the_reason() -> None:
    answer = planned(model=SPANNING, tiers=("cluster", "p5.48xlarge", "poc"))
    assert answer.options == ()
    reasons = {refusal.tier or refusal.name: refusal.reason for refusal in answer.refused}
    assert reasons["cluster"] == (
        "a copy of the model takes 2 hosts of 8 GPUs, and how fast one engine over several hosts answers is not predicted"
    )
    (rented,) = [reason for name, reason in reasons.items() if name.startswith("p5.48xlarge")]
    assert rented == reasons["cluster"]
    # It would not fit on several of these either, or nothing joins them.
    assert reasons["poc"].startswith("on 1 GPU: no memory is left")
    assert answer.advice[0] == (
        f"No host here can serve the model alone; for one, {catalog().tiers['cluster'].name}: {reasons['cluster']}."
    )


def test_several_copies_share_a_host_where_the_model_is_dense() -> None:
    each = option(planned(2_000, tiers=("a100-8",)), "a100-8")
    assert each.data_parallel > 1
    assert each.data_parallel * each.tensor_parallel * each.pipeline_parallel == 8


@pytest.mark.parametrize("users", [1, 50, 20_000])
@pytest.mark.parametrize("tier", ["team", "prod", "a100-4"])
def test_a_mixture_of_experts_has_one_copy_over_a_host(users: int, tier: str) -> None:
    each = option(planned(users, model=MIXTURE, tiers=(tier,)), tier)
    assert each.data_parallel == 1
    assert each.replicas == each.hosts
    assert each.tensor_parallel * each.pipeline_parallel == each.gpus_per_host


def test_a_mixture_whose_shapes_do_not_divide_is_cut_into_stages() -> None:
    """Blocks of its FP8 scales are whole on four ranks and not on eight."""
    each = option(planned(model="Qwen/Qwen3-235B-A22B-FP8", tiers=("prod",)), "prod")
    assert (each.tensor_parallel, each.pipeline_parallel, each.data_parallel) == (4, 2, 1)


def test_every_gpu_of_the_catalogue_is_predicted_or_refused(tmp_path: Path) -> None:
    """Hardware of one's own may have any of them; none ends in a traceback for want of a factor."""
    known = catalog().gpus
    like = msgspec.to_builtins(catalog().tiers["poc"])
    tiers = {f"own-{gpu}": {**like, "id": f"own-{gpu}", "name": gpu, "aliases": [], "gpu": gpu} for gpu in known}
    own = tmp_path / "own.json"
    own.write_bytes(msgspec.json.encode({"tiers": list(tiers.values())}))
    question = Question(model=TINY, users=50, tiers=tuple(tiers), places=("on-premises",))
    answer = plan(question, load(own))
    assert len(answer.options) + len(answer.refused) == len(tiers)
    unknown = {entry.name: entry.reason for entry in answer.refused if "is built for compute" in entry.reason}
    assert unknown.keys() == {gpu.id for gpu in known.values() if gpu.architecture == "volta"}
    assert "compute capability 7.5 and later, and NVIDIA V100 SXM2 32GB has 7" in unknown["v100-sxm2-32gb"]
    alone = plan(msgspec.structs.replace(question, tiers=("own-v100-sxm2-32gb",)), load(own))
    assert alone.choice is None
    assert unknown["v100-sxm2-32gb"] in alone.advice[0]


def test_what_does_not_fit_is_refused_with_the_reason() -> None:
    answer = planned(model=LARGE, tiers=("poc",), places=("on-premises",))
    assert answer.options == ()
    assert answer.choice is None
    assert answer.refused[0].tier == "poc"
    assert "GPU" in answer.refused[0].reason
    assert answer.refused[0].reason in answer.advice[0]


def test_a_model_of_ones_own_is_planned_by_its_architecture() -> None:
    architecture = read_config(catalog().models[SMALL].config, "/models/mine")
    own = plan(Question(model="/models/mine", users=50, tiers=("team",)), catalog(), architecture)
    assert own.model == "/models/mine"
    assert option(own, "team").cost == option(planned(tiers=("team",)), "team").cost


def test_what_was_given_is_said_to_be_given() -> None:
    answer = planned(ttft_s=1.0, energy_price=0.5, api_price=(1.0, 2.0), staff_hours=3.0)
    given = {each.option for each in answer.assumptions if each.source == "given"}
    assert given == {"--ttft", "--energy-price", "--api-price", "--staff-hours"}
    assert choice(answer).cost.staff == pytest.approx(3 * answer.prices.staff_hour)


def test_an_expensive_api_is_beaten() -> None:
    each = option(planned(5_000, api_price=(100.0, 100.0), tiers=("prod",)), "prod")
    assert each.break_even_months is not None
    assert 0 < each.break_even_months < 36


def test_what_pays_within_a_month_says_so() -> None:
    answer = planned(5_000, api_price=(1e5, 1e5), tiers=("prod",), places=("on-premises",))
    assert 0 < (choice(answer).break_even_months or 0) < 1
    assert "what is paid at the beginning is saved within a month" in answer.advice[-1]


def test_what_misses_a_target_never_reads_like_it() -> None:
    wanted = 0.06
    answer = planned(ttft_s=wanted)
    lines = [line for each in answer.options for line in each.why_not]
    said = [re.search(r"waits ([\d.]+) s for its first token; wanted: 0\.06 s", line) for line in lines]
    waits = [float(found[1]) for found in said if found]
    assert waits
    assert all(wait > wanted for wait in waits)
    assert any(wait < 0.1 for wait in waits)


def test_the_answer_survives_json() -> None:
    answer = planned()
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Plan) == answer


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"users": 0}, "--users: 0 makes no plan; a whole number from 1 on is needed"),
        ({"ttft_s": -1.0}, "--ttft: -1.0 makes no plan; a figure above 0 is needed"),
        ({"ttft_s": float("inf")}, "--ttft: inf makes no plan; give a finite figure"),
        ({"active_share": 1.5}, "--active-share: 1.5 makes no plan; a share above 0 and at most 1 is needed"),
        ({"energy_price": -0.1}, "--energy-price: -0.1 makes no plan; a figure from 0 on is needed"),
        ({"currency": "XXX"}, "--currency: 'XXX' is unknown; use one of USD, CNY, EUR, GBP, JPY"),
        ({"scenario": "cave"}, "--scenario: 'cave' is unknown; use one of internal, local, hybrid, offline"),
        ({"region": "eu-centrl-1"}, "--region: 'eu-centrl-1' is unknown; the nearest: eu-central-1"),
        ({"prompt_tokens": 10**6}, "a request of 1000000 + 300 tokens is longer than the 40960"),
        ({"context": 100}, "a context of 100 tokens does not do: a request has 1300"),
        ({"context": 10**7}, "a context of 10000000 tokens does not do"),
        ({"model": "BAAI/bge-m3"}, "BAAI/bge-m3 is an embedding or reranking model"),
    ],
)
def test_questions_that_make_no_sense_are_refused_in_one_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as refused:
        planned(**asked)
    assert message in refused.value.report
    assert "\n" not in refused.value.report


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ({"model": "Qwen/Qwen3-8"}, "Qwen/Qwen3-8B"),
        ({"tiers": ("teem",)}, "team"),
        ({"hardware_prices": {"prd": 1.0}}, "prod"),
        ({"quantization": "fp9"}, "fp8"),
    ],
)
def test_unknown_names_come_with_the_nearest(asked: dict[str, Any], near: str) -> None:
    with pytest.raises(CatalogError, match=near):
        planned(**asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"budget": 10.0},
            r"a budget of USD 10\.00 a month is too small; the cheapest that meets the targets is .* at USD [\d,]+ a month$",
        ),
        (
            {"capital_budget": 10.0, "places": ("on-premises",)},
            r"a budget of USD 10\.00 at the beginning is too small; the least takes .*: USD [\d,]+$",
        ),
    ],
)
def test_a_budget_too_small_names_what_would_do(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        planned(**asked)


def test_a_budget_keeps_what_is_within_it() -> None:
    free = planned()
    costs = sorted(each.cost.total for each in free.options if each.meets_targets)
    limited = planned(budget=costs[2] + 0.01)
    within = [each for each in limited.options if each.meets_targets and each.within_budget]
    assert [each.cost.total for each in within] == costs[:3]
    assert limited.choice == limited.options[0].id == free.choice
    assert [each.within_budget for each in limited.options[:4]] == [True, True, True, False]
    assert "over the budget" in next(each for each in limited.options if not each.within_budget).why_not[-1]

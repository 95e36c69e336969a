"""Cost and capacity, against figures computed by hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from slipway.catalog import load
from slipway.review import Capacity, capacities, monthly_cost, pool_costs
from tests.unit.review.example import PROVIDED, declared, pool, served


def test_a_month_of_eight_h100() -> None:
    """8 x 30,000 x 1.32 = 316,800. Capital: / 36 = 8,800. Upkeep: 10 % / 12 = 2,640.

    Energy: 4,600 W + 8 x 700 W x (0.15 + 0.85 x 176/730) = 6,587.62 W; x 730 h x 1.54 = 7,405.80 kWh, x 0.1102 = 816.12.
    """
    known = load()
    cost = monthly_cost(known, tier="prod", gpu=known.gpus["h100-sxm-80gb"], gpus_per_host=8, hosts=1)
    assert cost is not None
    assert (cost.capital, cost.maintenance) == (pytest.approx(8800), pytest.approx(2640))
    assert cost.energy == pytest.approx(816.12, abs=0.01)
    assert cost.total == pytest.approx(12_256.12, abs=0.01)
    assert (cost.currency, cost.estimated) == ("USD", True)


def test_a_second_host_costs_as_much_again() -> None:
    known = load()
    gpu = known.gpus["h100-sxm-80gb"]
    one, two = (monthly_cost(known, tier="prod", gpu=gpu, gpus_per_host=8, hosts=hosts) for hosts in (1, 2))
    assert one is not None
    assert two is not None
    assert two.total == pytest.approx(2 * one.total)


def test_a_tier_of_two_hosts_is_had_by_the_host() -> None:
    known = load()
    gpu = known.gpus["h100-sxm-80gb"]
    cost = monthly_cost(known, tier="cluster", gpu=gpu, gpus_per_host=8, hosts=known.tiers["cluster"].hosts)
    assert cost is not None
    assert cost.capital == pytest.approx(2 * 8800)


def test_a_published_price_is_no_estimate() -> None:
    """28,083 / 36 = 780.08."""
    known = load()
    cost = monthly_cost(known, tier="team", gpu=known.gpus["a10g"], gpus_per_host=4, hosts=1)
    assert cost is not None
    assert cost.capital == pytest.approx(780.08, abs=0.01)
    assert not cost.estimated


def test_without_a_tier_the_same_gpus_tell() -> None:
    known = load()
    gpu = known.gpus["a10g"]
    assert monthly_cost(known, tier=None, gpu=gpu, gpus_per_host=4, hosts=1) == monthly_cost(
        known, tier="team", gpu=gpu, gpus_per_host=4, hosts=1
    )


def test_a_tier_whose_gpu_was_changed_says_nothing_of_the_price() -> None:
    known = load()
    cost = monthly_cost(known, tier="team", gpu=known.gpus["h100-sxm-80gb"], gpus_per_host=8, hosts=1)
    assert cost is not None
    assert cost.capital == pytest.approx(8800)


@pytest.mark.parametrize(("tier", "gpu"), [(None, None), ("cpu", None), (None, "h100-sxm-80gb")])
def test_nothing_known_is_no_figure(tier: str | None, gpu: str | None) -> None:
    """No hardware, a tier without a price, and a number of GPUs that no tier has."""
    known = load()
    assert (
        monthly_cost(known, tier=tier, gpu=None if gpu is None else known.gpus[gpu], gpus_per_host=3, hosts=1) is None
    )


def test_capacity_is_that_of_all_copies() -> None:
    model = served("m", gpus=8, replicas=3, tokens=1000, full=2.5, slots=256)
    model["engine"]["dataParallel"] = 2
    assert capacities(declared(model, PROVIDED, pools=())) == {
        "m": Capacity(replicas=3, gpus=24, kv_cache_tokens=6000, full_requests=15.0, at_once=6 * 256)
    }


def test_what_does_not_fit_has_no_room() -> None:
    found = capacities(declared(served("m", fits=False), pools=()))["m"]
    assert (found.kv_cache_tokens, found.full_requests, found.at_once) == (0, 0, 0)


def test_what_was_not_sized_is_not_known() -> None:
    assert capacities(declared(served("m", gpus=8, sizing=None), pools=())) == {"m": Capacity(replicas=1, gpus=8)}


def test_a_figure_that_an_engine_does_not_have_is_not_known() -> None:
    found = capacities(declared(served("m", tokens=None, full=None), pools=()))["m"]
    assert (found.kv_cache_tokens, found.full_requests, found.at_once) == (None, None, 64)


def test_each_pool_has_its_own_cost() -> None:
    known = load()
    pools = (
        pool("big", "prod", 8, "a", "b") | {"gpu": "h100-sxm-80gb"},
        pool("small", "team", 4, "c") | {"gpu": "a10g"},
        pool("edge", None, 0, "d"),
    )
    found = pool_costs(known, declared(pools=pools))
    big, small = found["big"], found["small"]
    assert big is not None
    assert small is not None
    assert big.capital == pytest.approx(2 * 8800)
    assert small.capital == pytest.approx(780.08, abs=0.01)
    assert found["edge"] is None


def test_the_command_tells_before_and_after(root: Path, tmp_path: Path) -> None:
    """Stack prod with a second host, twice the longest request and a provider: from the checkout's files to the comment."""
    for side in ("base", "head"):
        (tmp_path / side / "stacks").mkdir(parents=True)
        shutil.copy2(root / "stacks/Pulumi.prod.yaml", tmp_path / side / "stacks")
    file = tmp_path / "head/stacks/Pulumi.prod.yaml"
    document = yaml.safe_load(file.read_text())
    settings = document["config"]["slipway:platform"]
    hosts = settings["pools"]["gpu"]["hosts"]
    hosts["prod-1"]["private_address"] = "10.20.0.40"
    hosts["prod-2"] = {**hosts["prod-1"], "address": "192.0.2.41", "private_address": "10.20.0.41"}
    settings["gateway"]["engine_key"] = {"env": "SLIPWAY_ENGINE_KEY"}
    settings["gateway"]["teams"]["legal"] = {"key": {"env": "SLIPWAY_KEY_LEGAL"}, "private": True}
    name = "llama-3.3-70b-instruct"
    settings["models"][name] |= {"max_model_len": 65536, "fallbacks": ["gpt"]}
    settings["models"]["gpt"] = {"provider": "openai", "model": "gpt-5-mini"}
    settings["providers"] = {"openai": {"key": {"env": "OPENAI_API_KEY"}}}
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    command = [sys.executable, "-m", "cli.main", "review"]
    command += ["--base", str(tmp_path / "base"), "--head", str(tmp_path / "head")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=120)
    (stack,) = json.loads(done.stdout)["stacks"]
    assert stack["check"]["problems"] == []
    costs = stack["cost"]
    assert costs["after"]["gpu"]["total"] == pytest.approx(2 * costs["before"]["gpu"]["total"])
    before, after = (stack["capacity"][side][name] for side in ("before", "after"))
    assert (before["replicas"], before["gpus"], before["at_once"]) == (1, 8, 256)
    assert (after["replicas"], after["gpus"], after["at_once"]) == (2, 16, 512)
    # Half as many of twice the length, on two hosts.
    assert after["full_requests"] == pytest.approx(before["full_requests"], rel=0.01)
    changed = {(each["what"], each["name"], each["kind"]) for each in stack["changes"]}
    assert {
        ("machine", "prod-2", "added"),
        ("model", name, "changed"),
        ("model", "gpt", "added"),
        ("provider", "openai", "added"),
        ("team", "legal", "added"),
        ("gateway", "litellm-private", "added"),
    } <= changed
    text = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    assert "~USD 12,256 → ~USD 24,512 (+12,256)" in text
    assert "Machines: 1 → 2<br>GPUs: 8 → 16<br>Models: 1 → 2" in text
    assert f"- model `{name}`: " in text
    assert "context window `32,768` → `65,536`" in text
    assert "fall-backs `gpt`" in text
    assert "- team `legal` added: private `yes`" in text

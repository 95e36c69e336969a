"""The engine's own figures beside the plan: what is off, and which term made it so."""

import re
from typing import Any

import pytest

from slipway.deployment.actual import ROWS, compare, deviation, planned
from tests.unit.deployment.stacks import LLAMA_8B, LLAMA_70B, deployment, served, stack

PLAN = {"weights_gib": 20.0, "kv_cache_gib": 40.0, "kv_cache_tokens": 100_000, "max_concurrency": 10.0}


def said(**changes: Any) -> str | None:
    return deviation("gpu-1/m", compare(PLAN, {**PLAN, **changes}))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("factor", [1.0, 1.049, 0.951, 1.05])
def test_what_is_near_is_no_warning(row: str, factor: float) -> None:
    assert said(**{row: PLAN[row] * factor}) is None


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("factor", "percent"), [(1.051, "+5.1 %"), (0.949, "-5.1 %"), (1.0504, "+5.0 %")])
def test_what_is_off_is_named(row: str, factor: float, percent: str) -> None:
    warning = said(**{row: PLAN[row] * factor})
    assert warning is not None
    assert warning.startswith("gpu-1/m: the sizing was off in ")
    assert f"{ROWS[row]} " in warning
    assert percent in warning


TERMS = {
    "weights": ({"weights_gib": 22.0, "kv_cache_gib": 37.9, "kv_cache_tokens": 94_000}, "the weights"),
    "beside": (
        {"kv_cache_gib": 30.0, "kv_cache_tokens": 75_000, "max_concurrency": 7.5},
        "what the engine takes beside weights and KV cache (activation, CUDA context, graphs)",
    ),
    "per token": ({"kv_cache_tokens": 50_000, "max_concurrency": 5.0}, "the KV cache's bytes per token"),
    "per request": ({"max_concurrency": 5.0}, "the tokens that a request holds"),
}


@pytest.mark.parametrize("case", TERMS)
def test_the_first_term_that_is_off_is_the_cause(case: str) -> None:
    changes, term = TERMS[case]
    warning = said(**changes)
    assert warning is not None
    assert warning.startswith(f"gpu-1/m: the sizing was off in {term}: ")


def test_the_whole_line() -> None:
    assert said(kv_cache_gib=30.0) == (
        "gpu-1/m: the sizing was off in what the engine takes beside weights and KV cache (activation, CUDA context, graphs): "
        "memory for the KV cache 30 GiB instead of 40.0 GiB (-25.0 %). The engine runs; what it can hold is what it has"
    )


def test_rounding_of_small_models_is_no_warning() -> None:
    """A log's two decimals are 10 % of a model of 50 MiB."""
    plan = {"weights_gib": 0.05}
    assert deviation("h", compare(plan, {"weights_gib": 0.06})) is None
    assert deviation("h", compare(plan, {"weights_gib": 0.15})) is not None


def test_side_by_side() -> None:
    assert compare(PLAN, {"kv_cache_tokens": 110_000.0, "max_concurrency": 11.0, "version": "0.32.0"}) == {
        "weights_gib": {"planned": 20.0, "actual": None, "difference_percent": None},
        "kv_cache_gib": {"planned": 40.0, "actual": None, "difference_percent": None},
        "kv_cache_tokens": {"planned": 100_000, "actual": 110_000, "difference_percent": 10.0},
        "max_concurrency": {"planned": 10.0, "actual": 11, "difference_percent": 10.0},
    }


@pytest.mark.parametrize("plan", [PLAN, {}])
@pytest.mark.parametrize(
    "results", [{}, {"kv_cache_tokens": None}, {"kv_cache_tokens": "many"}, {"kv_cache_tokens": True}]
)
def test_an_engine_that_says_nothing_is_no_warning(plan: dict[str, Any], results: dict[str, Any]) -> None:
    comparison = compare(plan, results)
    assert comparison.keys() == plan.keys()
    assert deviation("h", comparison) is None


def test_without_a_plan_the_actual_figures_stand_alone() -> None:
    comparison = compare({}, {"kv_cache_tokens": 5})
    assert comparison == {"kv_cache_tokens": {"planned": None, "actual": 5, "difference_percent": None}}
    assert deviation("h", comparison) is None


def test_a_plan_of_nothing_is_no_division_by_zero() -> None:
    comparison = compare({"kv_cache_tokens": 0}, {"kv_cache_tokens": 5})
    assert comparison["kv_cache_tokens"]["difference_percent"] is None
    assert deviation("h", comparison) is None


def test_the_plan_on_gpus_is_that_of_the_first_stage() -> None:
    measured = served(("pools.main.tier", "prod"), ("models.m.engine.pipeline_parallel", 2), model=LLAMA_8B).measured
    sizing = measured.sizing
    assert sizing is not None
    assert sizing.first is not None
    assert planned(measured.figures) == {
        "weights_gib": round(sizing.first.weights.value, 2),
        "kv_cache_gib": round(sizing.first.kv_cache.value, 2),
        "kv_cache_tokens": sizing.kv_cache_tokens,
        "max_concurrency": round(sizing.max_concurrency, 2),
    }


def test_copies_are_compared_one_by_one() -> None:
    """Each engine says its own room; what is read first is compared with the plan of one copy."""
    pool = (("pools.main.gpu", "h100-sxm"), ("pools.main.gpus", 4))
    (instance,) = deployment(stack(*pool, ("models.m.engine.data_parallel", 2), model=LLAMA_8B)).instances
    plan = planned(instance.served.measured.figures)
    # Formats of 0.32.0; the figures are made up of the plan.
    lines = [
        line
        for copy in (1, 0)
        for line in (
            f"(Worker_TP0 pid=1{copy}) INFO [model_runner.py:425] Model loading took {plan['weights_gib']} GiB memory",
            f"(Worker_TP0 pid=1{copy}) INFO [gpu_worker.py:760] Available KV cache memory: {plan['kv_cache_gib']} GiB",
            f"(EngineCore_DP{copy} pid=2{copy}) INFO [kv_cache_utils.py:2327] GPU KV cache size: "
            f"{plan['kv_cache_tokens']:,} tokens, Maximum concurrency for 8,192 tokens per request: "
            f"{plan['max_concurrency']}x",
        )
    ]
    said = {
        name: next(found[1] for line in lines if (found := re.search(pattern, line)))
        for name, pattern in instance.launch.journal.items()
    }
    read = {name: float(value.replace(",", "")) for name, value in said.items()}
    comparison = compare(plan, read)
    assert comparison.keys() == plan.keys() == ROWS.keys()
    assert {entry["difference_percent"] for entry in comparison.values()} == {0.0}


def test_the_plan_on_the_cpu_has_the_room_that_is_given() -> None:
    plan = planned(served(("models.m.engine.cpu_kv_cache_gib", 0.5)).measured.figures)
    assert plan["kv_cache_gib"] == 0.5
    assert "weights_gib" not in plan


def test_no_plan_where_nothing_was_computed() -> None:
    assert planned(None) == {}
    refused = served(("pools.main.gpu", "l4"), model=LLAMA_70B).measured.figures
    assert refused is not None
    assert planned(refused) == {}

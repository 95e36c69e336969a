"""What the gateway's bench makes of what was measured, also where nothing was; and the percentiles of its load generator."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from bench.gateway import as_json, rotated
from bench.gateway_figures import (
    CONNECTIONS,
    GOALS,
    Figures,
    Idle,
    Run,
    Scenario,
    difference,
    each,
    figures,
    median,
    missed,
    ratio,
)
from bench.gateway_programs import SOURCES

NOTHING: dict[str, Any] = {"count": 0, "p50_ms": None, "p90_ms": None, "p99_ms": None, "max_ms": None}


def run(**more: Any) -> Run:
    given: dict[str, Any] = {"rps": 100.0, "tps": 1000.0, "ttft_p50_ms": 10.0, "ttft_p99_ms": 20.0, "gap_p99_ms": 7.0}
    return Run(**{**given, "requests": 400, "tokens": 5000, "chunks": 4000, "errors": 0, "cpu_s": 0.0, **more})


def everywhere(*rounds: Run) -> Mapping[Scenario, list[Run]]:
    return {Scenario("paced", stream, count): list(rounds) for stream in (False, True) for count in CONNECTIONS}


def of(direct: Run, ours: Run, *, idle: Idle | None = None) -> dict[str, float | None]:
    return figures(everywhere(direct), everywhere(ours), "paced", idle)


def test_ratios_and_differences() -> None:
    assert ratio(50.0, 100.0) == 0.5
    assert ratio(0.0, 100.0) == 0.0
    assert ratio(50.0, 0.0) is None
    assert ratio(None, 100.0) is None
    assert ratio(50.0, None) is None
    assert difference(12.0, 10.0) == 2.0
    assert difference(None, 10.0) is None
    assert difference(0.0, 0.0) == 0.0
    assert each(2.0, 500, 1000) == 4.0
    assert each(2.0, 0, 1000) is None


def test_medians_leave_out_what_is_missing() -> None:
    assert median([3.0, None, 1.0, 2.0]) == 2.0
    assert median([1.0, 2.0]) == 1.5
    assert median([None]) is None
    assert median([]) is None


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    """A round in which the machine was busy is one of three, however much it gave."""
    direct = everywhere(run(rps=1000.0), run(rps=10.0), run(rps=100.0))
    ours = everywhere(run(rps=900.0), run(rps=1.0), run(rps=80.0))
    assert figures(direct, ours, "paced")["rps_ratio_c8"] == 0.8


def test_all_figures_of_a_target() -> None:
    ours = run(rps=90.0, tps=990.0, ttft_p50_ms=11.5, ttft_p99_ms=26.0, gap_p99_ms=7.7, cpu_s=0.1)
    assert of(run(), ours, idle=Idle(9.0, 14.25, 1000)) == {
        "rps_ratio_c8": 0.9,
        "rps_ratio_c64": 0.9,
        "tokens_ratio_c8": 0.99,
        "tokens_ratio_c64": 0.99,
        "ttft_added_ms_p50": 1.5,
        "ttft_added_ms_p99": 6.0,
        "itl_ratio_p99": 1.1,
        "cpu_s_100k_chunks": 2.5,
        "cpu_s_1k_requests": 0.25,
        "idle_streams_mib": 14.25,
    }


def test_a_target_that_answered_nothing_has_no_times_and_misses_its_goals() -> None:
    said = {
        "seconds": 4.0,
        "requests": 0,
        "tokens": 0,
        "whole_requests": 0,
        "whole_tokens": 0,
        "whole_pieces": 0,
        "errors": 9,
    }
    silent = Run.of({**said, "ttft": NOTHING, "gap": NOTHING}, 1.5)
    found = of(run(), silent, idle=Idle(9.0, 14.25, 0))
    assert found["rps_ratio_c8"] == found["tokens_ratio_c64"] == 0.0
    assert [name for name, value in found.items() if value is None] == [
        "ttft_added_ms_p50",
        "ttft_added_ms_p99",
        "itl_ratio_p99",
        "cpu_s_100k_chunks",
        "cpu_s_1k_requests",
    ]
    assert [name for name in GOALS if name not in missed(found)] == ["idle_streams_mib"]
    assert json.loads(json.dumps(found)) == found


def test_without_an_engine_there_is_nothing_to_compare_with() -> None:
    silent = run(rps=0.0, tps=0.0, ttft_p50_ms=None, ttft_p99_ms=None, gap_p99_ms=None)
    found = of(silent, run(cpu_s=0.4))
    assert found["rps_ratio_c64"] is None
    assert found["ttft_added_ms_p50"] is None
    assert found["cpu_s_1k_requests"] == 1.0


def test_figures_and_goals_have_the_same_names() -> None:
    assert list(of(run(), run(), idle=Idle(9.0, 14.25, 1000))) == list(GOALS)


def test_the_json_object_has_the_goals_target_at_its_top_and_says_whose_all_else_is() -> None:
    ours: Figures = {"rps_ratio_c8": 0.9}
    stock: Figures = {"rps_ratio_c8": 0.1}
    real: Figures = {"rps_ratio_c8": 0.7}
    assert as_json({"paced": {"gateway": ours, "stock": stock}, "vllm": {"gateway": real}}, "gateway") == {
        "rps_ratio_c8": 0.9,
        "stock": {"rps_ratio_c8": 0.1},
        "tiny_vllm": {"gateway": {"rps_ratio_c8": 0.7}},
    }
    assert as_json({"vllm": {"gateway": real}}, "gateway") == {"tiny_vllm": {"gateway": {"rps_ratio_c8": 0.7}}}


def test_no_memory_is_said_where_no_idle_stream_was_held() -> None:
    assert [name for name in GOALS if name not in of(run(), run())] == ["idle_streams_mib"]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [("rps_ratio_c8", 0.8, 0.799), ("tokens_ratio_c64", 0.97, 0.96), ("ttft_added_ms_p50", 3.0, 3.1)],
)
def test_the_limit_itself_is_no_miss(name: str, good: float, bad: float) -> None:
    assert not GOALS[name].missed(good)
    assert GOALS[name].missed(bad)
    assert GOALS[name].missed(None)


def test_each_target_is_the_first_in_turn() -> None:
    assert [rotated(("a", "b", "c"), number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert rotated(("a", "b", "c"), 1) == ["b", "c", "a"]


@pytest.mark.skipif(shutil.which("go") is None, reason="the load generator is built with Go")
def test_percentiles_of_the_load_generator() -> None:
    done = subprocess.run(["go", "test", "./figures"], cwd=SOURCES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

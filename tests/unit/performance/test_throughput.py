"""The measurement of predictions: what it compares, what it leaves out, and how far off predictions may be."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import throughput
from slipway.performance import Range
from slipway.performance.efficiency import efficiency
from tests.unit.performance.planning import LARGE, SMALL, catalog

ROW: dict[str, Any] = {
    "id": "one",
    "model": SMALL,
    "gpu": "NVIDIA H100",
    "tensor_parallel": 1,
    "engine_version": "0.11.0",
    "successful_requests": 100,
    "max_concurrency": 4,
    "mean_input_tokens": 200.0,
    "mean_output_tokens": 200.0,
    "output_tok_s": 500.0,
    "ttft_mean_ms": 60.0,
    "tpot_mean_ms": 7.4,
    "caveat": None,
}


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    rows = throughput.read(throughput.ROWS)
    outcomes, left_out = throughput.compare(rows, catalog())
    return throughput.report(len(rows), outcomes, left_out)


@pytest.mark.parametrize(
    ("term", "mean", "median", "inside"),
    [("output_tok_s", 14, 10, 90), ("ttft_mean_ms", 32, 20, 80), ("tpot_mean_ms", 20, 15, 85)],
)
def test_predictions_meet_what_was_measured(
    result: dict[str, Any], term: str, mean: float, median: float, inside: float
) -> None:
    figures = result["errors"]["all"][term]
    assert figures["rows"] >= 45
    assert figures["mean_percent"] <= mean
    assert figures["median_percent"] <= median
    assert figures["inside_percent"] >= inside


def test_what_is_called_measured_was_measured(result: dict[str, Any]) -> None:
    compared = {group.partition(" x ")[2] for group in result["errors"]} - {""}
    called = {name for name, basis in efficiency().basis.items() if basis == "measured"}
    assert called == compared


def test_every_row_is_compared_or_left_out_with_a_reason(result: dict[str, Any]) -> None:
    assert result["compared"] + len(result["left_out"]) == result["rows"]
    assert all(entry["why"] for entry in result["left_out"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"caveat": "figures disagree"}, "caveat: figures disagree"),
        ({"serve_command": "vllm serve x --speculative-config={}"}, "speculative decoding"),
        ({"hardware_text": "4 GPU pods in different nodes"}, "over the network"),
        ({"mean_output_tokens": None}, "lengths of prompts and answers"),
        ({"successful_requests": None}, "number of requests"),
        ({"request_rate": 2.0}, "fixed rate (2 a second)"),
        ({"gpu": None}, "the GPU is not given"),
        ({"gpu": "NVIDIA Unheard-of 9"}, "is not in the catalogue"),
        ({"model": "nobody/nothing"}, "is not in the catalogue"),
        ({"model": LARGE}, "no memory is left for the KV cache"),
        ({"output_tok_s": None, "ttft_mean_ms": None, "tpot_mean_ms": None}, "it has none of"),
    ],
)
def test_rows_that_are_left_out(change: dict[str, Any], reason: str) -> None:
    outcomes, left_out = throughput.compare([ROW | change], catalog())
    assert outcomes == []
    assert reason in left_out[0]["why"]


@pytest.mark.parametrize("rate", [None, "inf", float("inf"), 10_000.0])
def test_requests_that_come_all_at_once(rate: object) -> None:
    assert throughput.workload_of(ROW | {"request_rate": rate}).requests == 100


def test_a_row_that_is_compared() -> None:
    (outcome,), left_out = throughput.compare([ROW], catalog())
    assert left_out == []
    assert (outcome.gpu, outcome.concurrency, outcome.inferred) == ("1 x h100-sxm-80gb", 4, "")
    assert outcome.inside("output_tok_s")
    assert not throughput.compare([ROW | {"output_tok_s": 5000.0}], catalog())[0][0].inside("output_tok_s")


def test_errors_are_of_the_measured_figure() -> None:
    outcome = throughput.Outcome(
        id="x",
        gpu="g",
        model="m",
        concurrency=1,
        measured={"output_tok_s": 50.0},
        predicted={"output_tok_s": Range(40, 75, 90)},
        inferred="",
        dropped="",
    )
    assert outcome.error("output_tok_s") == pytest.approx(50.0)
    assert outcome.inside("output_tok_s")


def test_a_first_token_faster_than_physics_is_not_compared() -> None:
    row = ROW | {"mean_input_tokens": 8000.0, "ttft_mean_ms": 20.0}
    (outcome,), _ = throughput.compare([row], catalog())
    assert "ttft_mean_ms" not in outcome.measured
    assert "cached" in outcome.dropped


@pytest.mark.parametrize(
    ("name", "text", "gpu"),
    [
        ("NVIDIA A100", "A single NVIDIA A100 SXM GPU.", "a100-sxm-80gb"),
        ("NVIDIA A100 80GB (README head line)", "2 GPU pods", "a100-pcie-80gb"),
        ("NVIDIA A100-SXM4-40GB", "", "a100-sxm-40gb"),
        ("NVIDIA H100", "NVIDIA H100 80GB HBM3", "h100-sxm-80gb"),
        ("NVIDIA H200", "", "h200-sxm-141gb"),
        ("NVIDIA L40S", "", "NVIDIA L40S"),
    ],
)
def test_gpus_as_sources_name_them(name: str, text: str, gpu: str) -> None:
    assert throughput._catalogue_gpu(name, text) == gpu


@pytest.mark.parametrize("content", [None, "", "{", "[1]\n", "\xff"])
def test_a_file_that_cannot_be_read_ends_with_status_2(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    monkeypatch.setattr(sys, "argv", ["throughput", str(file)])
    with pytest.raises(SystemExit) as ended:
        throughput.main()
    assert ended.value.code == 2
    assert str(file) in capsys.readouterr().err


def test_json_has_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROW) + "\n" + json.dumps(ROW | {"id": "two", "caveat": "doubtful"}) + "\n")
    monkeypatch.setattr(sys, "argv", ["throughput", str(file), "--json"])
    throughput.main()
    printed = json.loads(capsys.readouterr().out)
    assert (printed["rows"], printed["compared"]) == (2, 1)
    assert printed["left_out"] == [{"id": "two", "why": "caveat: doubtful"}]

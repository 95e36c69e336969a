"""How well predictions of speed meet what was measured: every row of tests/data/throughput, term by term.

Prints the mean and median absolute error of output tokens a second, time to the first token, and time per output token,
and the share of rows inside the predicted range, by GPU; then each row outside, and those that were left out, with the
reason; or one JSON object with ``--json``. Ends with status 2 where the file can't be read.
"""

import argparse
import json
import re
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.catalog import Catalog, CatalogError, load
from slipway.catalog.types import Gpu
from slipway.performance import Prediction, PredictionError, Range, Workload, predict
from slipway.performance.roofline import Roofline
from slipway.sizing.batch import request_of
from slipway.sizing.result import Sizing, SizingError
from slipway.sizing.size import size

ROWS = Path(__file__).resolve().parent.parent / "tests/data/throughput/throughput.jsonl"
TERMS = ("output_tok_s", "ttft_mean_ms", "tpot_mean_ms")
_ROUND = 0.01
"""Lengths within this share of whole thousands were asked for, and not people's."""
_MORE_MEMORY = 0.95


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One row held against its prediction."""

    id: str
    gpu: str
    model: str
    concurrency: int
    measured: dict[str, float]
    predicted: dict[str, Range]
    inferred: str
    """What the row does not say of the engine and must have been so; else empty."""
    dropped: str
    """Why a term of the row is not compared; else empty."""

    def error(self, term: str) -> float:
        """In percent of the measured figure; positive where the prediction is above."""
        return 100 * (self.predicted[term].expected / self.measured[term] - 1)

    def inside(self, term: str) -> bool:
        """Whether the range holds the measured figure."""
        return self.predicted[term].low <= self.measured[term] <= self.predicted[term].high


class LeftOut(Exception):  # noqa: N818 - no error, a reason
    """Why a row is not measured against."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=Path, default=ROWS, help="a file of measured rows")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    try:
        rows = read(arguments.rows)
    except (OSError, ValueError) as error:
        sys.exit(_unreadable(f"{arguments.rows}: can't be read: {error}; nothing was measured"))
    outcomes, left_out = compare(rows, load())
    result = report(len(rows), outcomes, left_out)
    if arguments.json:
        print(json.dumps(result))
    else:
        show(result)


def _unreadable(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines.

    Raises:
        OSError: The file can't be read.
        ValueError: A line is no JSON object, or there is none.
    """
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")  # noqa: TRY004 - of the file, not of a caller
        rows.append(row)
    if not rows:
        raise ValueError("there are no rows")
    return rows


def compare(rows: list[dict[str, Any]], catalog: Catalog) -> tuple[list[Outcome], list[dict[str, str]]]:
    """Every row that can be asked, with its prediction; and the others, with the reason."""
    outcomes, left_out = [], []
    for row in rows:
        try:
            outcomes.append(outcome(row, catalog))
        except (LeftOut, SizingError, CatalogError, PredictionError) as reason:
            left_out.append({"id": str(row.get("id")), "why": str(reason)})
    return outcomes, left_out


def outcome(row: dict[str, Any], catalog: Catalog) -> Outcome:
    """One row held against its prediction.

    Raises:
        LeftOut, SizingError, CatalogError, PredictionError: It can't be, with the reason.
    """
    workload = workload_of(row)
    sizing, inferred = deployed(row, workload, catalog)
    architecture, gpu = sizing.request.architecture, sizing.request.gpu
    if gpu is None:
        raise LeftOut("the engine ran without a GPU")
    prediction = predict(architecture, gpu, sizing, workload)
    measured = {term: float(row[term]) for term in TERMS if row.get(term)}
    if not measured:
        raise LeftOut("it has none of " + ", ".join(TERMS))
    least = 1000 * least_ttft(sizing, gpu, workload)
    impossible = measured.get("ttft_mean_ms", least) < least
    if impossible:
        del measured["ttft_mean_ms"]
    return Outcome(
        id=str(row.get("id")),
        gpu=f"{sizing.request.count} x {gpu.id}",
        model=architecture.name,
        concurrency=prediction.concurrency,
        measured=measured,
        predicted=_terms(prediction),
        inferred=inferred,
        dropped=f"a first token before {least:.0f} ms: at the GPUs' peak the prompts take longer, so they were cached"
        if impossible
        else "",
    )


def deployed(row: dict[str, Any], workload: Workload, catalog: Catalog) -> tuple[Sizing, str]:
    """The engine as the row describes it, and what had to be inferred, since the row ran and so it fitted.

    Raises:
        LeftOut: No way to deploy it that is like the row's fits.
        SizingError, CatalogError: The row makes no sense.
    """
    described = _deployment(row)
    request = request_of(described, catalog)
    tokens = workload.prompt_tokens + workload.output_tokens
    longest = max(4096, tokens if workload.lengths == "fixed" else 2 * tokens)
    context = min(request.architecture.context, 1 << (longest - 1).bit_length())
    shorter = request.but(context=min(request.context or context, context))
    ways = [
        (request, ""),
        (request.but(gpu_memory_utilization=_MORE_MEMORY), f"{_MORE_MEMORY:.0%} of the memory"),
        (shorter.but(gpu_memory_utilization=_MORE_MEMORY), f"{_MORE_MEMORY:.0%} of the memory and a shorter context"),
    ]
    if "fp8" in f"{described['model']} {described['quantization']}".casefold():
        # Blocks of scales that ranks don't divide: the checkpoint has others, or experts are not cut.
        whole = request_of(
            {**described, "model": row.get("model", "").removesuffix("-FP8"), "quantization": None}, catalog
        )
        ways.append((whole.but(quantization="fp8", context=shorter.context), "FP8 with a scale per channel"))
    for way, inferred in ways:
        sizing = size(way)
        if sizing.fits:
            return _with_stated_cache(sizing, row), inferred
    raise LeftOut("; ".join(size(request).errors))


def _with_stated_cache(sizing: Sizing, row: dict[str, Any]) -> Sizing:
    """`sizing` with the room for the KV cache that the row's engine logged, where it says so."""
    stated = re.search(r"Available KV cache memory in each GPU: ([\d.]+) GiB", row.get("hardware_text") or "")
    if stated is None or sizing.memory is None:
        return sizing
    memory = sizing.memory
    share = (memory.requested.value - memory.kv_cache.value + float(stated[1])) / memory.total.value
    resized = size(sizing.request.but(gpu_memory_utilization=share, context=min(sizing.request.context or 0, 8192)))
    return resized if resized.fits else sizing


def least_ttft(sizing: Sizing, gpu: Gpu, workload: Workload) -> float:
    """Seconds before which the mean first token can't come, all prompts being read at the GPUs' highest peak."""
    roofline = Roofline.of(sizing.request.architecture, gpu, sizing)
    peak = max(each for each in (gpu.tflops.bf16, gpu.tflops.fp16, gpu.tflops.fp8, gpu.tflops.int8) if each)
    if sizing.request.architecture.quantization is None and sizing.request.quantization is None:
        peak = gpu.tflops.bf16 or peak
    prompt = workload.prompt_tokens * (roofline.token_flops + roofline.expert_flops) / (peak * 1e12)
    at_once = min(workload.concurrency, workload.requests or 1)
    return prompt * (at_once + 1) / 2 / roofline.pipeline_parallel


def workload_of(row: dict[str, Any]) -> Workload:
    """What was asked of the engine.

    Raises:
        LeftOut: The row does not say enough, or what it describes is not modelled.
    """
    if row.get("caveat"):
        raise LeftOut(f"caveat: {row['caveat']}")
    command = row.get("serve_command") or ""
    if "speculative" in command:
        raise LeftOut("speculative decoding is not modelled: what it saves depends on the text")
    if "different nodes" in (row.get("hardware_text") or ""):
        raise LeftOut("tensor parallelism over the network between hosts is not modelled")
    if (row.get("data_parallel") or 1) > 1:
        raise LeftOut("data parallelism is not modelled: each copy has a prediction of its own")
    prompt, answer = row.get("mean_input_tokens"), row.get("mean_output_tokens")
    if not prompt or not answer:
        raise LeftOut("the lengths of prompts and answers are not given")
    requests = row.get("num_prompts") or row.get("successful_requests")
    if not requests:
        raise LeftOut("the number of requests is not given")
    rate = row.get("request_rate")
    # So fast that all are there within a second is as good as at once.
    if isinstance(rate, int | float) and rate < requests:
        raise LeftOut(f"requests at a fixed rate ({rate:g} a second) are not modelled")
    asked = bool(row.get("requested_output_tokens")) and answer >= (1 - _ROUND) * row["requested_output_tokens"]
    whole = prompt >= 1000 and abs(prompt / 1000 - round(prompt / 1000)) < _ROUND * prompt / 1000
    return Workload(
        prompt_tokens=max(1, round(prompt)),
        output_tokens=max(1, round(answer)),
        concurrency=round(row.get("max_concurrency") or requests),
        requests=round(requests),
        lengths="fixed" if asked or (whole and not row.get("requested_output_tokens")) else "natural",
    )


def _deployment(row: dict[str, Any]) -> dict[str, Any]:
    """The row in the words of sizing."""
    command = row.get("serve_command") or ""
    served = re.search(r"vllm serve (\S+)", command)
    hardware = row.get("gpu") or ""
    if not hardware:
        raise LeftOut("the GPU is not given")
    version = re.match(r"\d+\.\d+(\.\d+)*", row.get("engine_version") or "")
    return {
        "model": served[1] if served else row.get("model"),
        "gpu": _catalogue_gpu(hardware, row.get("hardware_text") or ""),
        "tensor_parallel": row.get("tensor_parallel"),
        "quantization": _precision(row.get("precision") or ""),
        "other_flags": command.partition(served[0])[2] if served else command,
        "vllm_version": version[0] if version else None,
    }


def _catalogue_gpu(name: str, text: str) -> str:
    """The catalogue's GPU for what sources call "NVIDIA A100": form factor and memory stand elsewhere, or are usual."""
    bare = re.sub(r"\s*\(.*\)", "", name)
    kind = re.search(r"\b(A100|H100|H200|B200)\b", bare)
    if kind is None:
        return bare
    both = f"{bare} {text}"
    # Without a word of it, it is the module; but nvidia-smi calls only the card "A100 80GB".
    card = re.search(r"PCIe", both, re.IGNORECASE) or ("A100 80GB" in bare and "SXM" not in both)
    memory = {
        "A100": "40gb" if re.search(r"\b40 ?GB", both) else "80gb",
        "H100": "80gb",
        "H200": "141gb",
        "B200": "180gb",
    }
    return f"{kind[1].lower()}-{'pcie' if card else 'sxm'}-{memory[kind[1]]}"


def _precision(text: str) -> str | None:
    return None if text.startswith(("bf16", "fp16", "checkpoint default")) or not text else text


def _terms(prediction: Prediction) -> dict[str, Range]:
    return {
        "output_tok_s": prediction.output_tokens_per_s,
        "ttft_mean_ms": prediction.ttft_s.scaled(1000),
        "tpot_mean_ms": prediction.itl_ms,
    }


def report(count: int, outcomes: list[Outcome], left_out: list[dict[str, str]]) -> dict[str, Any]:
    """All of it as plain data; errors in percent."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for each in outcomes:
        groups["all"].append(each)
        groups[each.gpu].append(each)
    return {
        "rows": count,
        "compared": len(outcomes),
        "errors": {name: _errors(group) for name, group in groups.items()},
        "outside": [
            {
                "id": each.id,
                "gpu": each.gpu,
                "model": each.model,
                "term": term,
                "measured": each.measured[term],
                "low": each.predicted[term].low,
                "expected": each.predicted[term].expected,
                "high": each.predicted[term].high,
            }
            for each in outcomes
            for term in each.measured
            if not each.inside(term)
        ],
        "inferred": [{"id": each.id, "what": each.inferred} for each in outcomes if each.inferred],
        "dropped": [{"id": each.id, "term": "ttft_mean_ms", "why": each.dropped} for each in outcomes if each.dropped],
        "left_out": left_out,
    }


def _errors(group: list[Outcome]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for term in TERMS:
        having = [each for each in group if term in each.measured]
        if having:
            errors = [abs(each.error(term)) for each in having]
            table[term] = {
                "rows": len(having),
                "mean_percent": statistics.fmean(errors),
                "median_percent": statistics.median(errors),
                "inside_percent": 100 * sum(each.inside(term) for each in having) / len(having),
            }
    return table


def show(result: dict[str, Any]) -> None:
    """As text."""
    print(
        f"{result['compared']} of {result['rows']} rows; mean / median absolute error in percent, share inside the range\n"
    )
    print(f"{'':26}" + "".join(f"{term:>30}" for term in TERMS))
    for group, terms in sorted(result["errors"].items(), key=lambda item: (item[0] != "all", item[0])):
        cells = (
            "{mean_percent:.0f} / {median_percent:.0f}, {inside_percent:.0f} % of {rows}".format(**terms[term])
            if term in terms
            else "-"
            for term in TERMS
        )
        print(f"{group:26.26}" + "".join(f"{cell:>30}" for cell in cells))
    print(f"\nOutside the range: {len(result['outside'])}")
    for entry in result["outside"]:
        print(
            f"  {entry['id']}: {entry['term']} {entry['measured']:.4g}, predicted {entry['expected']:.4g} "
            f"({entry['low']:.4g} to {entry['high']:.4g}); {entry['model']} on {entry['gpu']}"
        )
    print(f"\nInferred, since the row ran: {len(result['inferred'])}")
    for entry in result["inferred"]:
        print(f"  {entry['id']}: {entry['what']}")
    print(f"\nNot compared: {len(result['dropped'])}")
    for entry in result["dropped"]:
        print(f"  {entry['id']}: {entry['term']}: {entry['why']}")
    print(f"\nLeft out: {len(result['left_out'])}")
    for entry in result["left_out"]:
        print(f"  {entry['id']}: {entry['why']}")


if __name__ == "__main__":
    main()

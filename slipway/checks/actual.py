"""What the engine has, beside what was planned for it.

Both are of one copy of the model: the plan is the sizing of one, and with data parallelism each copy's engine process says
its own room in the journal, of which role vllm takes what is said first. So `data_parallel` changes no figure here.
"""

from collections.abc import Mapping
from typing import Any

from slipway.sizing.result import Sizing

TOLERANCE_PERCENT = 5.0
"""A larger difference is worth a warning."""
ROUNDING_GIB = 0.05
"""Differences of amounts of memory below this are the log's two decimals and the allocator's granularity."""

ROWS = {
    "weights_gib": "weights",
    "kv_cache_gib": "memory for the KV cache",
    "kv_cache_tokens": "KV cache tokens",
    "max_concurrency": "requests of full length at once",
}
"""What role vllm reads back from the engine, by the name in its results: of one copy of the model, amounts of one GPU."""

Comparison = dict[str, dict[str, float | None]]


def planned(sizing: Sizing | None) -> dict[str, float]:
    """The plan in the terms of `ROWS`; empty where there is none. Of one copy of the model; GiB are of one GPU."""
    if sizing is None or not sizing.fits:
        return {}
    plan: dict[str, float] = {}
    if sizing.first is not None:
        # The log's first words are those of the first pipeline stage; the number of tokens is that of the smallest.
        plan["weights_gib"] = round(sizing.first.weights.value, 2)
        plan["kv_cache_gib"] = round(sizing.first.kv_cache.value, 2)
    elif sizing.request.cpu_kv_cache is not None:
        plan["kv_cache_gib"] = round(sizing.request.cpu_kv_cache.value, 2)
    plan["kv_cache_tokens"] = sizing.kv_cache_tokens
    plan["max_concurrency"] = round(sizing.max_concurrency, 2)
    return plan


def compare(plan: Mapping[str, float], results: Mapping[str, Any]) -> Comparison:
    """Planned and actual side by side, with the difference in percent of the plan; null where one of them is not known.

    Args:
        plan: from `planned`.
        results: of role vllm; keys that are none of `ROWS`, and what is no number, are passed over.
    """
    comparison: Comparison = {}
    for row in ROWS:
        wanted, has = plan.get(row), _number(results.get(row))
        if wanted is None and has is None:
            continue
        difference = None if not wanted or has is None else round((has - wanted) / wanted * 100, 1)
        comparison[row] = {"planned": wanted, "actual": has, "difference_percent": difference}
    return comparison


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # The engine hands numbers on as floats.
    return int(value) if float(value).is_integer() else float(value)


def deviation(host: str, comparison: Comparison) -> str | None:
    """One line when the engine on `host` has something else than planned, naming the term that was off; else None."""
    off = [row for row in comparison if _is_off(row, comparison[row])]
    if not off:
        return None
    said = "; ".join(_row(row, comparison[row]) for row in off)
    return f"{host}: the sizing was off in {_term(off)}: {said}. The engine runs; what it can hold is what it has"


def _is_off(row: str, values: Mapping[str, float | None]) -> bool:
    wanted, has = values["planned"], values["actual"]
    if not wanted or has is None:
        return False
    # Of the amounts themselves: what is shown is rounded, and would move the threshold.
    return abs(has - wanted) / wanted * 100 > TOLERANCE_PERCENT and (
        not row.endswith("_gib") or abs(has - wanted) > ROUNDING_GIB
    )


def _row(row: str, values: Mapping[str, float | None]) -> str:
    unit = " GiB" if row.endswith("_gib") else ""
    percent = f"{values['difference_percent']:+.1f} %"
    return f"{ROWS[row]} {values['actual']:,}{unit} instead of {values['planned']:,}{unit} ({percent})"


def _term(off: list[str]) -> str:
    """The first term of the sum that is off: each one carries on into those after it."""
    if "weights_gib" in off:
        return "the weights"
    if "kv_cache_gib" in off:
        return "what the engine takes beside weights and KV cache (activation, CUDA context, graphs)"
    if "kv_cache_tokens" in off:
        return "the KV cache's bytes per token"
    return "the tokens that a request holds"

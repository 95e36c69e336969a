"""What the engine has, beside what was planned for it.

Both are of one copy of the model: the plan is the sizing of one, and with data parallelism each copy's engine process says
its own room in the journal, of which the role takes what is said first. So `data_parallel` changes no figure here.
"""

from collections.abc import Mapping
from typing import Any

from slipway.engines.base import Figures

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
"""What role service reads back from the engine, by the name in its results: of one copy of the model, amounts of one GPU."""

Comparison = dict[str, dict[str, float | None]]


def planned(figures: Figures | None) -> dict[str, float]:
    """The plan in the terms of `ROWS`; empty where there is none. Of one copy of the model; GiB are of one GPU."""
    if figures is None or not figures.fits:
        return {}
    values = {row: getattr(figures, row) for row in ROWS}
    return {row: value for row, value in values.items() if value is not None}


def compare(plan: Mapping[str, float], results: Mapping[str, Any]) -> Comparison:
    """Planned and actual side by side, with the difference in percent of the plan; null where one of them is not known.

    Args:
        plan: from `planned`.
        results: of role service; keys that are none of `ROWS`, and what is no number, are passed over.
    """
    comparison: Comparison = {}
    for row in ROWS:
        wanted, has = plan.get(row), _actual(row, results)
        if wanted is None and has is None:
            continue
        difference = None if not wanted or has is None else round((has - wanted) / wanted * 100, 1)
        comparison[row] = {"planned": wanted, "actual": has, "difference_percent": difference}
    return comparison


def _actual(row: str, results: Mapping[str, Any]) -> float | None:
    """What the engine said; some say amounts in MiB where they are small."""
    mib = _number(results.get(row.replace("_gib", "_mib"))) if row.endswith("_gib") else None
    has = _number(results.get(row))
    return round(mib / 1024, 2) if has is None and mib is not None else has


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # The engine hands numbers on as floats.
    return int(value) if float(value).is_integer() else float(value)


def deviation(instance: str, comparison: Comparison) -> str | None:
    """One line when the engine called `instance` has something else than planned, naming the term that was off; else None."""
    off = [row for row in comparison if _is_off(row, comparison[row])]
    if not off:
        return None
    said = "; ".join(_row(row, comparison[row]) for row in off)
    return f"{instance}: the sizing was off in {_term(off)}: {said}. The engine runs; what it can hold is what it has"


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

"""Figures as people read them: no more digits than a prediction has, thousands with commas, ranges with a dash."""

from __future__ import annotations

from slipway.performance.types import Range


def number(value: float) -> str:
    """A computed figure with two digits that mean something: 1,234 or 12 or 1.2 or 0.12; never an exponent."""
    if abs(value) >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 0.995 else f"{value:.2f}"


def wanted(value: float) -> str:
    """A figure that the user gave, as it was given: 15 or 2.5."""
    return f"{value:,.6g}"


def span(figure: Range) -> str:
    """From the low to the high end, with a dash between them."""
    return f"{number(figure.low)}\N{EN DASH}{number(figure.high)}"


def ranged(figure: Range) -> str:
    """`20`, and its span in brackets."""
    return f"{number(figure.expected)} ({span(figure)})"


def compact(value: float) -> str:
    """For ticks: `250k`, `1.5M`."""
    for size, suffix in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


def several(count: int, what: str) -> str:
    """`1 host`, `2 hosts`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def months(count: float | None) -> str:
    """When something has paid for itself: None never, 0 from the start."""
    if count is None:
        return "never"
    if count == 0:
        return "from the first month"
    if count < 1:
        return "within a month"
    return several(round(count), "month")

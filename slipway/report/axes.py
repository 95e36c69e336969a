"""Axes: which values get a tick, and where a value lies on the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log2, log10

_ROUND = (1, 2, 2.5, 5, 10)
_SLACK = 1e-9


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Values from `low` to `high`, evenly spaced or, with `log`, each doubling as wide as the next."""

    title: str
    """With the unit."""
    low: float
    high: float
    ticks: tuple[float, ...]
    text: Callable[[float], str]
    log: bool = False

    def share(self, value: float) -> float:
        """Where `value` lies between the ends, from 0 to 1."""
        if self.log:
            return (log2(value) - log2(self.low)) / (log2(self.high) - log2(self.low))
        return (value - self.low) / (self.high - self.low)


def even(title: str, values: Sequence[float], text: Callable[[float], str], *, most: int = 6) -> Axis:
    """From 0 to a round number not below any of `values`, which are not negative; at most `most` ticks after the 0."""
    top = max(values, default=0.0) or 1.0
    rough = top / most
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in _ROUND if factor * power >= rough * (1 - _SLACK))
    count = max(1, ceil(top / step - _SLACK))
    return Axis(title=title, low=0.0, high=count * step, ticks=tuple(step * i for i in range(count + 1)), text=text)


def doubling(title: str, values: Sequence[float], text: Callable[[float], str], *, most: int = 9) -> Axis:
    """Over all of `values`, which are positive, with ticks at powers of 2 and at most `most` of them."""
    low, high = min(values), max(values)
    if high < 2 * low:  # one point, or points so near each other that no power of 2 need lie between them
        low, high = 2.0 ** floor(log2(low)), 2.0 ** (floor(log2(low)) + 2)
    first, last = ceil(log2(low) - _SLACK), floor(log2(high) + _SLACK)
    every = ceil((last - first + 1) / most)
    ticks = tuple(2.0**n for n in range(first, last + 1, every))
    return Axis(title=title, low=low, high=high, ticks=ticks, text=text, log=True)


def calendar(title: str, last: int) -> Axis:
    """From 0 to `last` months, a tick every half year or, past four years, every year."""
    step = 6 if last <= 48 else 12
    return Axis(title=title, low=0, high=last, ticks=tuple(range(0, last + 1, step)), text=lambda month: f"{month:.0f}")

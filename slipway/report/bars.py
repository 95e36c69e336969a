"""Bars of parts that add up, as SVG, from numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from slipway.report.axes import Axis
from slipway.report.canvas import BOTTOM, CHARACTER, TOP, WIDTH, chart, horizontal, words
from slipway.report.svg import tag

_BAR, _PITCH = 34, 50
_LEFT = 30.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a bar."""

    style: str
    """Class of the style sheet."""
    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Parts on end, and what is written behind them."""

    label: str
    total: str
    parts: Sequence[Part]


def bar_chart(key: str, title: str, description: str, *, x: Axis, bars: Sequence[Bar]) -> Markup:
    """Bars lying one below the other; `key`, `title` and `description` as of `canvas.chart`."""
    height, drawn = bars_drawn(x=x, bars=bars)
    return chart(key, title, description, height, drawn)


def bars_drawn(
    *,
    x: Axis,
    bars: Sequence[Bar],
    left: float = _LEFT,
    top: float = 0.0,
    text: Callable[[float], str] = lambda value: f"{value:.1f}",
) -> tuple[float, list[Markup]]:
    """How high the image is, and what is on it: `left` is the room for labels, `top` what is kept free above all."""
    height = top + TOP + _PITCH * len(bars) + BOTTOM
    behind = max((CHARACTER * len(bar.total) for bar in bars), default=0.0) + 10
    width = WIDTH - left - behind
    drawn = [horizontal(x, height, left=left, right=behind, top=top + TOP)]
    for row, bar in enumerate(bars):
        upper = top + TOP + _PITCH * row + (_PITCH - _BAR) / 2
        middle, start = upper + _BAR / 2, left
        drawn.append(words(bar.label, left - 10, middle, class_="letter", text_anchor="end"))
        for part in bar.parts:
            wide = width * (x.share(part.value) - x.share(0.0))
            if wide <= 0:
                continue
            hint = tag("title", f"{bar.label}: {part.name} {part.value:.2f}")
            drawn.append(tag("rect", hint, x=start, y=upper, width=wide, height=_BAR, class_=f"part mark {part.style}"))
            value = text(part.value)
            if wide >= CHARACTER * len(value) + 6:
                across = start + wide / 2
                drawn.append(words(value, across, middle, class_=f"value {part.style}", text_anchor="middle"))
            start += wide
        drawn.append(words(bar.total, start + 6, middle, class_="total"))
    return height, drawn

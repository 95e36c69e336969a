"""Lines with bands for their ranges, as SVG, from numbers alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from slipway.report.axes import Axis
from slipway.report.canvas import BOTTOM, CHARACTER, LEFT, RIGHT, TOP, WIDTH, chart, horizontal, vertical, words
from slipway.report.svg import path, tag

_HEIGHT = 300
_LABEL = 16
"""Height of a label."""
_DOT = 5
_BEHIND = 8


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A point that means something."""

    x: float
    y: float
    meaning: str
    """Shown where a pointer rests on it."""
    hollow: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one option does over the horizontal axis."""

    style: str
    """Class of the style sheet, for colour and dashes."""
    label: str
    """Short; written at its end."""
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()
    """Low and high end at each of `points`; empty where there is no range."""
    dots: Sequence[Dot] = ()


@dataclass(frozen=True, kw_only=True)
class Level:
    """A value that lines are held against, straight across."""

    y: float
    label: str


@dataclass(kw_only=True)
class Labels:
    """Finds places for labels that no other label has, between `top` and `bottom` and left of `right`."""

    top: float
    bottom: float
    right: float
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)
    """Left, top, right, bottom of each."""

    def place(self, x: float, y: float, text: str) -> tuple[float, float]:
        """Where the left middle of `text` can stand, as near to x, y as there is room."""
        width = CHARACTER * len(text)
        x = min(x, self.right - width)
        for shift in _shifts():
            box = (x, y + shift - _LABEL / 2, x + width, y + shift + _LABEL / 2)
            if box[1] >= self.top and box[3] <= self.bottom and not any(_meet(box, other) for other in self.taken):
                self.taken.append(box)
                return x, y + shift
        return x, y  # fuller than the few labels of a chart make it


def line_chart(
    key: str, title: str, description: str, *, x: Axis, y: Axis, lines: Sequence[Line], levels: Sequence[Level] = ()
) -> Markup:
    """Lines over two axes; `key`, `title` and `description` as of `canvas.chart`.

    Later ones lie on top, so that their dashes show both where two are the same.
    """
    width, height = WIDTH - LEFT - RIGHT, _HEIGHT - TOP - BOTTOM

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return LEFT + width * x.share(point[0]), TOP + height * (1 - y.share(point[1]))

    labels = Labels(top=0, bottom=TOP + height, right=WIDTH)
    bands, strokes, dots = [], [], []
    texts: list[Markup] = []
    for line in lines:
        points = [at(point) for point in line.points]
        if line.band:
            highs = [at((point[0], ends[1])) for point, ends in zip(line.points, line.band, strict=True)]
            lows = [at((point[0], ends[0])) for point, ends in zip(line.points, line.band, strict=True)]
            bands.append(tag("path", d=path([*highs, *reversed(lows)], closed=True), class_=f"band mark {line.style}"))
        strokes.append(tag("path", d=path(points), class_=f"line mark {line.style}"))
        for dot in line.dots:
            across, down = at((dot.x, dot.y))
            labels.taken.append((across - _DOT, down - _DOT, across + _DOT, down + _DOT))
            style = f"dot mark {line.style}" + (" hollow" if dot.hollow else "")
            dots.append(tag("circle", tag("title", dot.meaning), cx=across, cy=down, r=_DOT, class_=style))
    for level in levels:
        _, down = at((x.low, level.y))
        bands.append(tag("line", x1=LEFT, x2=LEFT + width, y1=down, y2=down, class_="level mark"))
    texts += _ends([(line, *at(line.points[-1])) for line in lines], labels)
    for level in levels:
        _, down = at((x.low, level.y))
        texts.append(words(level.label, *labels.place(LEFT + 5, down - _LABEL / 2, level.label)))
    axes = [horizontal(x, _HEIGHT), vertical(y, _HEIGHT)]
    return chart(key, title, description, _HEIGHT, [*axes, *bands, *strokes, *dots, tag("g", *texts, class_="labels")])


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places in the order of `wanted`, which ascends: as near to it as `gap` between them and the ends allow."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + gap if places else low))
    for index in reversed(range(len(places))):
        places[index] = min(places[index], places[index + 1] - gap if index + 1 < len(places) else high)
    return places


def _ends(ends: Sequence[tuple[Line, float, float]], labels: Labels) -> Iterator[Markup]:
    """Each line's label behind its end: those at the margin in the order of the lines, others where there is room."""
    margin = sorted((end for end in ends if end[1] >= WIDTH - RIGHT - _LABEL), key=lambda end: end[2])
    heights = spread([down for *_, down in margin], _LABEL, labels.top + _LABEL / 2, labels.bottom - _LABEL / 2)
    for (line, across, _), down in zip(margin, heights, strict=True):
        width = CHARACTER * len(line.label)
        left = min(across + _BEHIND, labels.right - width)
        labels.taken.append((left, down - _LABEL / 2, left + width, down + _LABEL / 2))
        yield words(line.label, left, down, class_=f"letter {line.style}")
    for line, across, down in ends:
        if across < WIDTH - RIGHT - _LABEL:
            yield words(line.label, *labels.place(across + _BEHIND, down, line.label), class_=f"letter {line.style}")


def _shifts() -> Iterator[float]:
    yield 0.0
    for step in range(1, 8 * _HEIGHT // _LABEL):
        yield -step * _LABEL / 4
        yield step * _LABEL / 4


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

"""What all charts share: paper, axes, legend keys.

Colours are classes of the page's style sheet, so that charts follow its schemes. What shows a figure has the class `mark`.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from slipway.report.axes import Axis
from slipway.report.svg import tag

WIDTH = 460
LEFT, RIGHT, TOP, BOTTOM = 62, 36, 14, 46
"""Room around what is drawn, for axes and labels."""
CHARACTER = 8.6
"""Width of a character of a label in the widest of usual fonts, in bold: most are narrower."""


def chart(
    key: str, title: str, description: str, height: float, children: Sequence[Markup], *, xmlns: str | None = None
) -> Markup:
    """An image that is `WIDTH` wide, with its name and a description for screen readers. Ids begin with `key`.

    `xmlns` is SVG's own, where the image is to stand in a file alone.
    """
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", description, id=f"{key}-desc"),
        *children,
        xmlns=xmlns,
        id=key,
        viewBox=f"0 0 {WIDTH} {height:g}",
        role="img",
        aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc",
        class_="chart",
    )


def words(content: str, x: float, y: float, **attributes: str) -> Markup:
    """Text whose middle is at height `y`."""
    return tag("text", content, x=x, y=y, dy="0.35em", **attributes)


def horizontal(axis: Axis, height: float, *, left: float = LEFT, right: float = RIGHT, top: float = TOP) -> Markup:
    """An axis at the bottom of a chart that is `height` high."""
    width, base = WIDTH - left - right, height - BOTTOM
    children = []
    for tick in axis.ticks:
        across = left + width * axis.share(tick)
        children.append(tag("line", x1=across, x2=across, y1=top, y2=base, class_="grid"))
        children.append(words(axis.text(tick), across, base + 13, text_anchor="middle"))
    children.append(tag("line", x1=left, x2=left + width, y1=base, y2=base, class_="axis-line"))
    children.append(words(axis.title, left + width / 2, height - 9, class_="axis-title", text_anchor="middle"))
    return tag("g", *children, class_="axis")


def vertical(axis: Axis, height: float) -> Markup:
    """An axis at the left of a chart that is `height` high."""
    length = height - TOP - BOTTOM
    children = []
    for tick in axis.ticks:
        down = TOP + length * (1 - axis.share(tick))
        children.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=down, y2=down, class_="grid"))
        children.append(words(axis.text(tick), LEFT - 7, down, text_anchor="end"))
    middle = TOP + length / 2
    turned = f"rotate(-90 11 {middle:g})"
    children.append(words(axis.title, 11, middle, class_="axis-title", text_anchor="middle", transform=turned))
    return tag("g", *children, class_="axis")


def key_of_line(style: str) -> Markup:
    """A stroke for the legend."""
    stroke = tag("line", x1=1, x2=33, y1=6, y2=6, class_=f"line {style}")
    return tag("svg", stroke, viewBox="0 0 34 12", class_="key stroke", aria_hidden="true")


def key_of_part(style: str) -> Markup:
    """A patch for the legend."""
    patch = tag("rect", x=1, y=0.5, width=12, height=11, class_=f"part {style}")
    return tag("svg", patch, viewBox="0 0 14 12", class_="key patch", aria_hidden="true")


def key_of_dot(style: str) -> Markup:
    """A dot for the legend."""
    dot = tag("circle", cx=7, cy=6, r=4.5, class_=f"dot {style}")
    return tag("svg", dot, viewBox="0 0 14 12", class_="key patch", aria_hidden="true")

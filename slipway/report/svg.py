"""Elements of SVG as text. What is not an element already is escaped, so no text can become one."""

from __future__ import annotations

from markupsafe import Markup, escape

Attribute = str | float | None


def tag(name: str, /, *children: str, **attributes: Attribute) -> Markup:
    """`<name …>children</name>`; plain text among `children` and all attributes are escaped.

    `_` in an attribute's name stands for `-`, and a trailing one for nothing (`class_`). None leaves an attribute out.
    Numbers are lengths: a hundredth of a pixel is enough of them.
    """
    given = (
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _length(value))
        for key, value in attributes.items()
        if value is not None
    )
    start = Markup("<") + name + Markup("").join(given)
    if not children:
        return start + Markup("/>")
    return start + Markup(">") + Markup("").join(escape(child) for child in children) + Markup("</{}>").format(name)


def path(points: list[tuple[float, float]], *, closed: bool = False) -> str:
    """The `d` of straight lines through `points`."""
    return "M" + "L".join(f"{_length(x)} {_length(y)}" for x, y in points) + ("Z" if closed else "")


def _length(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")

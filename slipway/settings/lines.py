"""Where in a stack's file a setting stands, for tools that show findings beside the line."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

_PART = re.compile(r'\["([^"]*)"\]|\[(\d+)\]|([^.\[\]]+)')


@dataclass(frozen=True)
class Line:
    """A place in a file; both count from 1."""

    line: int
    column: int


def line_of(file: Path, keys: tuple[str | int, ...]) -> Line:
    """The place of the key at `keys`, or of the deepest one above it that the file has; the first line where it has none."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return Line(1, 1)
    mark = None
    for key in keys:
        below = _below(node, key)
        if below is None:
            break
        mark, node = below
    return Line(1, 1) if mark is None else Line(mark.line + 1, mark.column + 1)


def keys_of(path: str) -> tuple[str | int, ...]:
    """``hosts[0].port`` as ``("hosts", 0, "port")``."""
    return tuple(int(index) if index else quoted or plain for quoted, index, plain in _PART.findall(path))


def _below(node: yaml.Node | None, key: str | int) -> tuple[yaml.Mark, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return name.start_mark, value
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        element = node.value[key]
        return element.start_mark, element
    return None

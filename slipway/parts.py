"""Which parts of a kind there are: the folders of a package, and what other distributions bring by an entry point."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules


@cache
def packages(parent: str, group: str | None = None) -> Mapping[str, str]:
    """The package of each part, by its name, in the names' order. A folder of our own goes before an entry point.

    Args:
        parent: the package whose folders are parts.
        group: the group of entry points, each of which names a part and its package; None where only folders count.
    """
    ours = {each.name: f"{parent}.{each.name}" for each in iter_modules(import_module(parent).__path__) if each.ispkg}
    others = {} if group is None else {entry.name: entry.value for entry in entry_points(group=group)}
    return dict(sorted({**others, **ours}.items()))

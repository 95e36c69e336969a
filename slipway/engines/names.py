"""What the pinned release of an engine knows by name: flags, quantizations, parsers."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec
import yaml

from slipway.engines.registry import packages

if TYPE_CHECKING:
    from slipway.deployment.types import Served


class Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An engine's names.yaml: what one release of it knows by name."""

    release: str
    source: str
    date: str
    flags: frozenset[str]
    quantizations: frozenset[str]
    tool_parsers: dict[str, str]
    """By name the class behind it; names of one class are the same parser."""
    reasoning_parsers: dict[str, str]


@cache
def names(engine: str) -> Names | None:
    """Of `engine`; None where its folder has no such file."""
    file = files(packages()[engine]) / "names.yaml"
    return msgspec.convert(yaml.safe_load(file.read_text(encoding="utf-8")), Names) if file.is_file() else None


def names_of(served: Served) -> Names | None:
    """Of the engine that this model has; None where it is of another release than the one that was read, or of none known."""
    found = names(served.settings.engine.engine)
    return found if found is not None and found.release == served.program.release else None

"""What the pinned release of an engine knows by name: flags, quantizations, parsers."""

from functools import cache
from pathlib import Path

import msgspec
import yaml

DATA = Path(__file__).parent / "data"


class Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """data/ENGINE.yaml: what one release of an engine knows by name."""

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
    """Of `engine`; None where there is no such file."""
    file = DATA / f"{engine}.yaml"
    return msgspec.convert(yaml.safe_load(file.read_text(encoding="utf-8")), Names) if file.is_file() else None

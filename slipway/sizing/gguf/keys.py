"""Metadata of one GGUF file with types checked: a fault is one line that names the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from slipway.sizing.gguf.reader import Metadata, Skipped
from slipway.sizing.result import SizingError

MOST = (1 << 31) - 1
"""llama.cpp reads counts as 32 bits."""
_MEND = "no engine would load it: convert the model again, or name another file"


class Keys:
    """The metadata below the architecture's prefix."""

    def __init__(self, metadata: Mapping[str, Metadata], name: str) -> None:
        self._metadata = metadata
        self._name = name
        self.architecture = self.text("general.architecture")
        if not self.architecture:
            self.refuse("general.architecture is missing")
        if not self.architecture.isprintable():
            # Every later message has it in its one line.
            self.refuse("general.architecture is no name")

    def __contains__(self, key: str) -> bool:
        return self._full(key) in self._metadata

    def text(self, key: str) -> str:
        """The text of a whole key; empty where there is none."""
        value = self._metadata.get(key, "")
        if not isinstance(value, str):
            self.refuse(f"{key} is no text")
        return value

    def whole(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """A number from `least` on; `default` None means that it must be there."""
        value = self._metadata.get(self._full(key), default)
        if value is None:
            self.refuse(f"{self._full(key)} is missing")
        return self._checked(key, value, least)

    def each(self, key: str, count: int, default: int) -> tuple[int, ...]:
        """A number for each of `count` layers: one for all, or a list."""
        value = self._metadata.get(self._full(key), default)
        if isinstance(value, tuple):
            if len(value) < count:
                self.refuse(f"{self._full(key)} has {len(value)} numbers for {count} layers")
            return tuple(self._checked(key, item, 0) for item in value[:count])
        return (self._checked(key, value, 0),) * count

    def flags(self, key: str, count: int) -> tuple[bool, ...] | None:
        """A flag for each of `count` layers; None where no such list is there."""
        value = self._metadata.get(self._full(key))
        if not isinstance(value, tuple):
            return None
        if len(value) < count:
            self.refuse(f"{self._full(key)} has {len(value)} flags for {count} layers")
        return tuple(bool(item) for item in value[:count])

    def length(self, key: str) -> int:
        """Entries of a list under a whole key; 0 where there is none."""
        value = self._metadata.get(key)
        if isinstance(value, Skipped):
            return value.length
        return len(value) if isinstance(value, tuple) else 0

    def refuse(self, what: str) -> NoReturn:
        """Raise a `SizingError` about this file."""
        raise SizingError(f"{self._name}: {what}; {_MEND}")

    def _full(self, key: str) -> str:
        return f"{self.architecture}.{key}"

    def _checked(self, key: str, value: Metadata, least: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
            shown = value if isinstance(value, int | float) else type(value).__name__
            self.refuse(f"{self._full(key)} is {shown}; a whole number from {least} to {MOST} is wanted")
        return value

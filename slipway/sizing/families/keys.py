"""Read a config.json key by key: typed, with the class's default, and with one clear line for what is wrong.

It knows no model; which keys there are and what they default to is the families' business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.sizing.result import SizingError

MOST_LAYERS = 1_024
MOST = 1 << 27
"""Of any other count. The largest published is a vocabulary of 2^20; beyond this it is a slip and no model."""
MOST_POSITIONS = 1 << 40
CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    "max_target_positions",
)
"""Names of the longest context, in the order in which vLLM looks for them (vllm/config/model.py)."""


class Keys:
    """One mapping of a config.json, and where in it that is.

    Args:
        values: The mapping.
        path: Prefix of its keys in messages, such as `text_config.`.
        fallback: Where keys are looked for that `values` lacks.
        name: Of the model, as its repository has it.
    """

    def __init__(self, values: Mapping[str, Any], path: str = "", fallback: Keys | None = None, name: str = "") -> None:
        self.name = name
        self.values = values
        self.path = path
        self.fallback = fallback

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None or (self.fallback is not None and name in self.fallback)

    def get(self, name: str, default: Any = None) -> Any:
        """As it stands; null is absent."""
        value = self.values.get(name)
        if value is None and self.fallback is not None:
            value = self.fallback.get(name)
        return default if value is None else value

    def wrong(self, name: str, problem: str) -> SizingError:
        """The error to raise for this key."""
        return SizingError(f"config.json: {self.path}{name} {problem}")

    def count(self, *names: str, default: int | None = None, least: int = 1, most: int = MOST) -> int:
        """A whole number under the first of `names` that is there.

        Raises:
            SizingError: It is absent without a default, no whole number, or out of range.
        """
        for name in names:
            if name in self:
                return self.whole(name, self.get(name), least, most)
        if default is None:
            also = f" (or {', '.join(names[1:])})" if len(names) > 1 else ""
            raise self.wrong(names[0], f"is missing{also}; a whole number of at least {least} is wanted")
        return default

    def whole(self, name: str, value: Any, least: int = 1, most: int = MOST) -> int:
        """`value`, checked as `count` does."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, f"is {_shown(value)}; a whole number of at least {least} is wanted")
        if not math.isfinite(value) or value != int(value):
            raise self.wrong(name, f"is {value}; a whole number of at least {least} is wanted")
        if value < least:
            raise self.wrong(name, f"is {int(value)}; it must be at least {least}")
        if value > most:
            raise self.wrong(name, f"is {int(value):.3g}; no model has more than {most}")
        return int(value)

    def share(self, name: str, default: float) -> float:
        """A number above 0 and up to 1.

        Raises:
            SizingError: It is none.
        """
        value = self.real(name, default)
        if not 0 < value <= 1:
            raise self.wrong(name, f"is {value:g}; a share above 0 and up to 1 is wanted")
        return value

    def positive(self, name: str, default: float) -> float:
        """A number above 0 and up to a million.

        Raises:
            SizingError: It is none.
        """
        value = self.real(name, default)
        if not 0 < value <= 1e6:
            raise self.wrong(name, f"is {value:g}; a number above 0 is wanted")
        return value

    def real(self, name: str, default: float) -> float:
        """A finite number."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(name, f"is {_shown(value)}; a number is wanted")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:  # noqa: FBT001 - reads as the key's default
        """True or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, f"is {_shown(value)}; true or false is wanted")
        return value

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        value = self.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, f"is {_shown(value)}; a string is wanted")
        return value

    def items(self, name: str) -> Sequence[Any]:
        """A list; empty where absent."""
        value = self.get(name, ())
        if not isinstance(value, list | tuple):
            raise self.wrong(name, f"is {_shown(value)}; a list is wanted")
        return value

    def per_layer(self, name: str, layers: int) -> Sequence[Any]:
        """A list with one item for each of `layers`; empty where absent."""
        value = self.items(name)
        if value and len(value) != layers:
            raise self.wrong(name, f"has {len(value)} items; one for each of the {layers} layers is wanted")
        return value

    def section(self, *names: str) -> Keys | None:
        """The first nested mapping of these names that is there.

        Raises:
            SizingError: It is no mapping.
        """
        for name in names:
            if name in self:
                value = self.get(name)
                if not isinstance(value, Mapping):
                    raise self.wrong(name, f"is {_shown(value)}; a mapping is wanted")
                return Keys(value, f"{self.path}{name}.", name=self.name)
        return None

    def needed(self, *names: str) -> Keys:
        """The first nested mapping of these names.

        Raises:
            SizingError: There is none.
        """
        found = self.section(*names)
        if found is None:
            raise self.wrong(names[0], "is missing; a mapping is wanted")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

"""Addresses that may not be known yet, as tokens within plain texts.

A machine's address may exist only once it is made. So nothing in the deployment holds an address: it holds a token, which
can stand anywhere in a text (a URL, a flag, a whole configuration). Whoever knows the addresses puts them in at the edge:
`components/` from Pulumi's outputs, `slipway check` from the settings as far as they know them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_OPEN, _CLOSE = "\ue001", "\ue002"
"""Characters of Unicode's private use, which no setting's text has."""
_TOKEN = re.compile(f"{_OPEN}([a-z0-9-]+)/(public|private){_CLOSE}")

LOOPBACK = "127.0.0.1"


class Side(StrEnum):
    """Which of a machine's addresses."""

    PUBLIC = "public"
    """The one that SSH and clients use."""
    PRIVATE = "private"
    """The one that the stack's other machines use."""


@dataclass(frozen=True)
class Reference:
    """One address of one machine."""

    machine: str
    side: Side

    def __str__(self) -> str:
        """The token that stands for it in a text."""
        return f"{_OPEN}{self.machine}/{self.side}{_CLOSE}"


def public(machine: str) -> str:
    """The token of the machine's public address."""
    return str(Reference(machine, Side.PUBLIC))


def private(machine: str) -> str:
    """The token of the machine's private address."""
    return str(Reference(machine, Side.PRIVATE))


def references(text: str) -> list[Reference]:
    """The references in a text, in its order, each once."""
    return list(dict.fromkeys(Reference(found[1], Side(found[2])) for found in _TOKEN.finditer(text)))


def resolve(text: str, address: Callable[[Reference], str]) -> str:
    """The text with every token replaced by what `address` says."""
    return _TOKEN.sub(lambda found: address(Reference(found[1], Side(found[2]))), text)


def resolve_known(text: str, address: Callable[[Reference], str | None]) -> str | None:
    """The same where `address` may not know one: then None."""
    known: dict[Reference, str] = {}
    for reference in references(text):
        found = address(reference)
        if found is None:
            return None
        known[reference] = found
    return resolve(text, known.__getitem__)


def resolved(value: Any, address: Callable[[Reference], str | None]) -> Any:
    """Plain data with every token in its texts replaced, and None for a text with an address that is not known.

    Anything that is no map, list or text stays as it is.
    """
    if isinstance(value, str):
        return resolve_known(value, address)
    if isinstance(value, Mapping):
        return {key: resolved(inner, address) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(inner, address) for inner in value]
    return value


def all_references(value: Any) -> Iterator[Reference]:
    """The references anywhere in plain data."""
    if isinstance(value, str):
        yield from references(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from all_references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from all_references(inner)

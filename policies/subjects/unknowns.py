"""Reading on past what is not known: one unknown hides nothing that stands beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from policies.node import UnknownValueError

T = TypeVar("T")


def known_first(parts: Iterable[Iterable[T]]) -> Iterator[T]:
    """All of the parts, one after the other; what ended one of them is raised when the others have been told.

    Raises:
        UnknownValueError: a part, or the list of them, holds what is not known yet.
    """
    unknown: list[UnknownValueError] = []
    for part in in_place(parts):
        if isinstance(part, UnknownValueError):
            unknown.append(part)
            continue
        for each in in_place(part):
            if isinstance(each, UnknownValueError):
                unknown.append(each)
            else:
                yield each
    if unknown:
        raise unknown[0]


def in_place(part: Iterable[T]) -> Iterator[T | UnknownValueError]:
    """All of it; what is not known ends it, and stands in the place of what would have come."""
    try:
        yield from part
    except UnknownValueError as unknown:
        yield unknown

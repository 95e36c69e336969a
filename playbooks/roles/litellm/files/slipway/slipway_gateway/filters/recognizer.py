"""What finds something in a text, and the time that it has for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol


class Match(NamedTuple):
    """Something that was found: where it begins, where it is over, and what it is."""

    start: int
    end: int
    kind: str


class Late(Exception):  # noqa: N818 -- a state, not a fault
    """A text takes too long to judge. The message says which kind took the time, and nothing of the text."""


class Deadline:
    """When a search is given up.

    Args:
        seconds: from now.
        clock: in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._over = clock() + seconds

    def left(self) -> float:
        """Seconds that are left, more than 0.

        Raises:
            Late: none are.
        """
        left = self._over - self._clock()
        if left <= 0:
            raise Late("the search for numbers")
        return left

    def check(self) -> None:
        """See `left`."""
        self.left()


class Recognizer(Protocol):
    """Finds one kind of thing, or several, in a text that is folded (see `folding`).

    Attributes:
        longest: characters that the longest match has, with what stands behind it and decides on it.
    """

    longest: int

    def find(self, text: str, since: int, deadline: Deadline) -> Iterator[Match]:
        """What is there and begins at `since` or later, in order. What stands before is looked at, and not found.

        Raises:
            Late: it took too long.
        """
        ...

    def undecided(self, text: str, since: int, deadline: Deadline) -> int:
        """From which place on more text could change what is found; the end of the text where it could not.

        Raises:
            Late: it took too long.
        """
        ...

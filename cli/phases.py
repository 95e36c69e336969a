"""Visible progress: which phase runs, how long it took, and what to do when one fails."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cli.errors import UserError


class Phases:
    """Prints each phase's start and duration on stderr, and remembers the durations.

    ``seconds`` maps each finished phase's name to its duration in seconds.
    """

    def __init__(self, total: int) -> None:
        self.seconds: dict[str, float] = {}
        self._total = total
        self._number = 0
        self._started = time.monotonic()

    @contextmanager
    def phase(self, name: str, *, mend: str) -> Iterator[None]:
        """Run one phase. A `UserError` inside it gets the phase's name and `mend` added."""
        self._number += 1
        self._say(f"[{self._number}/{self._total}] {name} …")
        start = time.monotonic()
        try:
            yield
        except UserError as error:
            raise UserError(f"{name} failed: {error}\n  {mend}", status=error.status) from error
        self.seconds[name] = round(time.monotonic() - start, 2)
        self._say(f"[{self._number}/{self._total}] {name}: {self.seconds[name]:.1f} s")

    @property
    def total_seconds(self) -> float:
        """Seconds since the first phase could start."""
        return round(time.monotonic() - self._started, 2)

    @staticmethod
    def _say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

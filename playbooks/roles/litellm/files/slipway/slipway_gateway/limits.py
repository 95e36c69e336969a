"""How many requests and tokens each team used in the running minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from slipway_gateway.teams import Team

WINDOW_S = 60.0


@dataclass
class _Minute:
    start: float
    requests: int = 0
    tokens: int = 0


class Exceeded(Exception):  # noqa: N818 -- a state, not a fault
    """A team has used up its minute.

    Attributes:
        limit: what it was, such as "3 requests per minute".
        wait_s: whole seconds until the next minute starts.
    """

    def __init__(self, limit: str, wait_s: int) -> None:
        super().__init__(limit)
        self.limit = limit
        self.wait_s = wait_s


class Limits:
    """Counts by team. A minute starts with the first request in it.

    Tokens count when an answer is complete, so requests that run at the same time can go beyond the limit together;
    what they used then counts for the minute that is running when they end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes: dict[str, _Minute] = {}
        self._running: dict[str, int] = {}

    def admit(self, team: Team) -> None:
        """Count one request, which runs until `leave`.

        Raises:
            Exceeded: the team has none left, or no tokens, or as many run as may; then nothing is counted.
        """
        running = self._running.get(team.name, 0)
        if team.parallel_requests is not None and running >= team.parallel_requests:
            raise Exceeded(f"{team.parallel_requests} parallel requests", 1)
        minute = self._minute(team)
        # Up, never down: who comes back then must find the next minute.
        wait_s = max(1, math.ceil(minute.start + WINDOW_S - self._clock()))
        if team.requests_per_minute is not None and minute.requests >= team.requests_per_minute:
            raise Exceeded(f"{team.requests_per_minute} requests per minute", wait_s)
        if team.tokens_per_minute is not None and minute.tokens >= team.tokens_per_minute:
            raise Exceeded(f"{team.tokens_per_minute} tokens per minute", wait_s)
        minute.requests += 1
        self._running[team.name] = running + 1

    def leave(self, team: Team) -> None:
        """A request that was admitted has ended."""
        running = self._running.get(team.name, 0) - 1
        if running > 0:
            self._running[team.name] = running
        else:
            self._running.pop(team.name, None)

    def spend(self, team: Team, tokens: int) -> None:
        """Count the tokens of an answer."""
        self._minute(team).tokens += tokens

    def _minute(self, team: Team) -> _Minute:
        now = self._clock()
        minute = self._minutes.get(team.name)
        if minute is None or now >= minute.start + WINDOW_S:
            minute = self._minutes[team.name] = _Minute(start=now)
        return minute

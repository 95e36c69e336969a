"""Which backend of a model is asked next."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from slipway_gateway.routes import Deployment

_DICE = random.Random()  # noqa: S311 -- shares load out, guards nothing


class Balance:
    """Chooses by weight, and knows which backends are busy and which failed a moment ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, dice: random.Random = _DICE) -> None:
        self._clock = clock
        self._dice = dice
        self._busy: Counter[str] = Counter()
        self._rests: dict[str, float] = {}

    def choose(self, deployments: Iterable[Deployment], tried: Collection[str]) -> Deployment | None:
        """One that was not tried for this request yet; None when there is none.

        The weights share the requests out. Among equals, replicas as a rule, it is the one with the fewest requests in
        flight. One that failed a moment ago, or has weight 0, comes when there is no other.
        """
        left = [deployment for deployment in deployments if deployment.id not in tried]
        now = self._clock()
        awake = [deployment for deployment in left if self._rests.get(deployment.id, 0) <= now]
        candidates = awake or left
        weighted = [deployment for deployment in candidates if deployment.weight]
        if weighted:
            drawn = self._dice.choices(weighted, [deployment.weight for deployment in weighted])[0]
            candidates = [other for other in weighted if (other.weight, other.private) == (drawn.weight, drawn.private)]
        if not candidates:
            return None
        return min(candidates, key=lambda deployment: (self._busy[deployment.id], self._dice.random()))

    def begin(self, deployment: Deployment) -> None:
        """A request is sent to it."""
        self._busy[deployment.id] += 1

    def end(self, deployment: Deployment) -> None:
        """The request is over."""
        self._busy[deployment.id] -= 1
        if self._busy[deployment.id] <= 0:
            del self._busy[deployment.id]

    def failed(self, deployment: Deployment, cooldown_s: float) -> None:
        """It is left alone for so long, as far as there are others."""
        self._rests[deployment.id] = self._clock() + cooldown_s

    def answered(self, deployment: Deployment) -> None:
        """It is well."""
        self._rests.pop(deployment.id, None)

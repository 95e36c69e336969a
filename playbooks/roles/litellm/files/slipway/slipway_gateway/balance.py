"""Which backend of a model is asked next."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable

from slipway_gateway.routes import Deployment

BUSY_S = 1.0
TOGETHER_S = 5.0

_DICE = random.Random()  # noqa: S311 -- shares load out, guards nothing


class Balance:
    """Chooses by weight, and knows which backends are busy and which failed a moment ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, dice: random.Random = _DICE) -> None:
        self._clock = clock
        self._dice = dice
        self._busy: Counter[str] = Counter()
        self._rests: dict[str, float] = {}
        self._heard: dict[str, tuple[Hashable, float]] = {}
        self._shared: dict[str, float] = {}
        self._lost: dict[str, float] = {}

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

    def heard(self, deployment: Deployment, caller: Hashable) -> None:
        """Something came from it, for this caller."""
        now = self._clock()
        before, at = self._heard.get(deployment.id, (caller, now))
        if before != caller and now - at < BUSY_S:
            self._shared[deployment.id] = now
        self._heard[deployment.id] = caller, now

    def lost(self, deployment: Deployment, caller: Hashable) -> bool:
        """It was lost under a request of this caller, which has not ended yet; says whether that was there alone.

        Of several that are lost together, none is known to be to blame. One that comes among others' is not alone
        either, though they had just been answered. The front judges so, too (`balance.lua`). What it sends to an engine
        past this gateway is not known here: a request may be taken to be alone that was not, never the other way round.
        """
        id_, now = deployment.id, self._clock()
        before, at = self._heard.get(id_, (caller, now))
        together = (
            self._busy[id_] > 1
            or now - self._lost.get(id_, -TOGETHER_S) < TOGETHER_S
            or now - self._shared.get(id_, -BUSY_S) < BUSY_S
            or (before != caller and now - at < BUSY_S)
        )
        self._lost[id_] = now
        return not together

    def answered(self, deployment: Deployment) -> None:
        """It is well."""
        self._rests.pop(deployment.id, None)

"""What an instance has of its machine for itself: a part of each of its GPUs, and a port, or two.

It goes with the step that runs the instance. The instance's unit carries it, so that on the machine it is seen who has to stop
before another starts; and the stack's state keeps it, so that the next preview leaves everybody in place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_CLAIM = re.compile(r"(gpu|port):(\d{1,5})")


@dataclass(frozen=True)
class Claims:
    """GPUs by index in the order that the engine is given them, the port, and the part of each GPU: 0 where it has none."""

    gpus: tuple[int, ...]
    port: int
    share: float = 1.0
    meeting: int | None = None
    """The port at which the machines of a replica meet, of the one that the others come to."""

    def data(self) -> list[dict[str, Any]]:
        """As role service takes them: ``[{what: "gpu:0", share: 0.9}, {what: "port:8100", share: 1.0}]``."""
        gpus = [{"what": f"gpu:{index}", "share": float(self.share)} for index in self.gpus]
        ports = [self.port] if self.meeting is None else [self.port, self.meeting]
        return [*gpus, *({"what": f"port:{port}", "share": 1.0} for port in ports)]


Holdings = Mapping[tuple[str, str], Claims]
"""By the names of machine and instance: what each was last asked to have, also where that did not succeed."""


def held(claims: object) -> Claims | None:
    """What `Claims.data` told of; None for anything else, such as what an earlier version kept."""
    if not isinstance(claims, Iterable):
        return None
    found: dict[str, list[int]] = {"gpu": [], "port": []}
    share = 0.0
    for claim in claims:
        what = claim.get("what") if isinstance(claim, Mapping) else None
        match = _CLAIM.fullmatch(what) if isinstance(what, str) else None
        if match is None:
            return None
        found[match[1]].append(int(match[2]))
        if match[1] == "gpu":
            share = float(claim.get("share") or 1.0)
    if len(found["port"]) not in {1, 2} or len(set(found["gpu"])) < len(found["gpu"]):
        return None
    port, *meeting = found["port"]
    return Claims(tuple(found["gpu"]), port, share, *meeting)

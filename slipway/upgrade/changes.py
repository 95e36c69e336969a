"""What an `up` would change, host by host, from the JSON of `pulumi preview`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_KINDS = {
    "create": "create",
    "import": "create",
    "update": "update",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "delete": "delete",
    "discard": "delete",
}
"""By the engine's word; a replacement is three steps on one resource."""
_PLAYBOOK = "playbook:index:Playbook"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A role on a host that would be applied or removed."""

    urn: str
    kind: str
    """create, update, replace or delete."""
    machine: str
    instance: str
    needs: tuple[str, ...] = ()
    """URNs of what it comes after."""

    @property
    def key(self) -> str:
        """As layers name the step."""
        return f"{self.machine}/{self.instance}"

    @property
    def words(self) -> str:
        """For people."""
        return self.instance if self.kind == "update" else f"{self.instance} ({self.kind})"


def changes_of(preview: Mapping[str, Any]) -> tuple[Change, ...]:
    """All changes of roles in the engine's order; components and what has no host are none."""
    found: dict[str, Change] = {}
    for step in preview.get("steps") or ():
        kind, urn = _KINDS.get(str(step.get("op"))), str(step.get("urn", ""))
        place = _place(urn)
        if kind is None or place is None:
            continue
        state = step.get("newState") or step.get("oldState") or {}
        needs = tuple(map(str, state.get("dependencies") or ()))
        machine, instance = place
        found[urn] = Change(urn=urn, kind=kind, machine=machine, instance=instance, needs=needs)
    return tuple(found.values())


def applied(resources: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Machine, instance and URN of each role among a state's resources, by their URNs."""
    for urn in resources:
        place = _place(urn)
        if place is not None:
            yield (*place, urn)


def _place(urn: str) -> tuple[str, str] | None:
    """The machine and the instance that a role's resource is named after."""
    parts = urn.split("::", 3)
    if len(parts) < 4 or parts[2].rpartition("$")[2] != _PLAYBOOK:
        return None
    machine, slash, instance = parts[3].partition("/")
    return (machine, instance) if slash else None

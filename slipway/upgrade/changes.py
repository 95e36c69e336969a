"""What an `up` would change, host by host, from the JSON of `pulumi preview`."""

from __future__ import annotations

import re
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
_PLAYBOOK, _QUORUM = "playbook:index:Playbook", "playbook:index:Quorum"
_WITHOUT_RUN = frozenset({"absence", "deep", "environment", "playbooks", "removal", "rolling", "timeout"})
"""Inputs of a `Playbook` whose change the state has to learn, but no host (provider/changes.py)."""


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
    quiet: bool = False
    """Whether the state alone learns it: nothing runs on the host."""

    @property
    def key(self) -> str:
        """As layers name the step."""
        return f"{self.machine}/{self.instance}"

    @property
    def words(self) -> str:
        """For people."""
        if self.quiet:
            return f"{self.instance} (noted)"
        return self.instance if self.kind == "update" else f"{self.instance} ({self.kind})"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What has no host, such as a component that is new or a count of hosts, and that an `up` of a host may not leave out."""

    urn: str
    needs: tuple[str, ...] = ()
    """URNs of what it comes after."""


def changes_of(preview: Mapping[str, Any]) -> tuple[Change, ...]:
    """All changes of roles in the engine's order; components and what has no host are none."""
    found: dict[str, Change] = {}
    beside = {each.urn: each.needs for each in beside_of(preview)}
    for step in preview.get("steps") or ():
        kind, urn = _KINDS.get(str(step.get("op"))), str(step.get("urn", ""))
        place = _place(urn)
        if kind is None or place is None:
            continue
        state = step.get("newState") or step.get("oldState") or {}
        # What counts hosts is made after their steps: who needs it needs those.
        direct = list(map(str, state.get("dependencies") or ()))
        needs = tuple(dict.fromkeys([*direct, *(urn for each in direct for urn in beside.get(each, ()))]))
        machine, instance = place
        found[urn] = Change(
            urn=urn,
            kind=kind,
            machine=machine,
            instance=instance,
            needs=needs,
            quiet=kind == "update" and _is_quiet(step),
        )
    return tuple(found.values())


def beside_of(preview: Mapping[str, Any]) -> tuple[Beside, ...]:
    """What is new and no role, and each count of hosts that is new or changes."""
    found = []
    for step in preview.get("steps") or ():
        kind, urn = _KINDS.get(str(step.get("op"))), str(step.get("urn", ""))
        type_ = _type(urn)
        if type_ is None or type_ == _PLAYBOOK:
            continue
        if kind == "create" or (kind == "update" and type_ == _QUORUM):
            state = step.get("newState") or {}
            found.append(Beside(urn=urn, needs=tuple(map(str, state.get("dependencies") or ()))))
    return tuple(found)


def applied(resources: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Machine, instance and URN of each role among a state's resources, by their URNs."""
    for urn in resources:
        place = _place(urn)
        if place is not None:
            yield (*place, urn)


def _is_quiet(step: Mapping[str, Any]) -> bool:
    paths = step.get("detailedDiff") or {}
    return bool(paths) and all(re.split(r"[.\[]", path, maxsplit=1)[0] in _WITHOUT_RUN for path in paths)


def _type(urn: str) -> str | None:
    parts = urn.split("::", 3)
    return None if len(parts) < 4 else parts[2].rpartition("$")[2]


def _place(urn: str) -> tuple[str, str] | None:
    """The machine and the instance that a role's resource is named after."""
    if _type(urn) != _PLAYBOOK:
        return None
    machine, slash, instance = urn.split("::", 3)[3].partition("/")
    return (machine, instance) if slash else None

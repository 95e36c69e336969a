"""What separates a resource's state from its inputs, and what that means: a replacement, a run, or only a note."""

from __future__ import annotations

from dataclasses import dataclass, field

from pulumi.provider.experimental import provider as base
from pulumi.provider.experimental.property_value import PropertyValue

from provider import inputs
from provider.values import Properties, fields, has_unknown, is_unknown, plain, wrap

_WITHOUT_RUN = frozenset({"playbooks", "timeout", "removal", "deep", "rolling", "absence", "environment"})
"""Inputs whose change the state has to learn, but no host."""


@dataclass
class Change:
    """What separates the state from the inputs."""

    details: dict[str, base.PropertyDiffKind] = field(default_factory=dict)
    replaces: list[str] = field(default_factory=list)
    runs: bool = False

    def add(self, path: str, old: PropertyValue | None, new: PropertyValue | None, *, replaces: bool = False) -> None:
        """Notes a difference, for the engine to show."""
        kinds = base.PropertyDiffKind
        if old is None:
            kind = kinds.ADD_REPLACE if replaces else kinds.ADD
        elif new is None:
            kind = kinds.DELETE_REPLACE if replaces else kinds.DELETE
        else:
            kind = kinds.UPDATE_REPLACE if replaces else kinds.UPDATE
        self.details[path] = kind
        if replaces:
            self.replaces.append(path)


def compare(state: Properties, given: Properties, ignored: list[str]) -> Change:
    """The difference between a state and new inputs, without what a program ignores."""
    change = Change()
    same = _instance(state) == _instance(given)
    for key in (*inputs.KEYS, "digest"):
        old, new = state.get(key), given.get(key)
        if key in ignored or old == new:
            continue
        entries = (
            _entries(key, old, new)
            if key in {"host", "variables", "removal"} and not is_unknown(new)
            else [(key, old, new)]
        )
        for path, before, after in entries:
            if path not in ignored:
                moved = path in {"host.name", "role"} or (path == "instance" and not same)
                change.add(path, before, after, replaces=moved and not has_unknown(after))
        # A value that has become a secret is the same value: the state has to encrypt it, and no host cares.
        silent = key in _WITHOUT_RUN or (key == "instance" and same)
        change.runs |= not silent and (has_unknown(new) or plain(old) != plain(new))
    if "drift" not in ignored and plain(state.get("drift")):
        change.add("drift", state.get("drift"), wrap([]))
        change.runs = True
    if "missing" not in ignored and plain(state.get("missing")):
        change.add("missing", state.get("missing"), wrap(""))
        change.runs = True
    return change


def _instance(given: Properties) -> PropertyValue | None:
    """What the layer is called: without a name of its own, as its role."""
    value = given.get("instance")
    return given.get("role") if value is None or value.value is None else value


def _entries(
    key: str, old: PropertyValue | None, new: PropertyValue | None
) -> list[tuple[str, PropertyValue | None, PropertyValue | None]]:
    """The differing entries of two maps; the maps themselves if they differ in being secret or in being there."""
    if old is None or new is None or old.is_secret or new.is_secret:
        return [(key, old, new)]
    before, after = fields(old), fields(new)
    names = sorted(before.keys() | after.keys())
    return [
        (f"{key}.{name}", before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    ] or [(key, old, new)]


def same_machine(state: Properties, given: Properties) -> bool:
    """Whether both are about the same machine."""
    old, new = fields(state.get("host")), fields(given.get("host"))
    return all(plain(old.get(key)) == plain(new.get(key)) for key in ("address", "port", "connection"))

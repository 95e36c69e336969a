"""What a rule is made of.

A rule's file holds one `RULE` and the function behind it. The function gets one item at a time, so that an unknown value
in one of them does not hide what is wrong with the others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from policies.node import Key, Node, UnknownValueError
from policies.resources import Resource, Stack


class Level(StrEnum):
    """What a violation does; Pulumi's enforcement levels."""

    MANDATORY = "mandatory"
    """The deployment is refused."""
    ADVISORY = "advisory"
    """It is shown."""
    REMEDIATE = "remediate"
    """The resource is mended on the way, where the rule can; what is left is mandatory."""
    DISABLED = "disabled"


class Severity(StrEnum):
    """How much harm a violation can do."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Group(StrEnum):
    """What a rule is about."""

    SECURITY = "security"
    CAPACITY = "capacity"
    COMPLIANCE = "compliance"
    KUBERNETES = "kubernetes"
    PACK = "pack"


class Scope(StrEnum):
    """What a rule must see."""

    RESOURCE = "resource"
    """Each resource alone; asked before it is created."""
    STACK = "stack"
    """Relations between resources; asked once all are known: at the end of a preview, and of an `up`."""


@dataclass(frozen=True)
class Violation:
    """One thing that is not as it should be."""

    where: str
    """The path of the property, from the resource's inputs on; empty for the resource as a whole."""
    value: str
    """What stands there, as messages show it."""
    what: str
    """What is so, in one clause."""
    mend: str | None = None
    """What to do, where it can be said better than the rule's own `mend`."""


def violation(node: Node, *keys: Key, what: str, mend: str | None = None) -> Violation:
    """The violation at `keys` below `node`."""
    return Violation(where=node.at(*keys), value=node.show(*keys), what=what, mend=mend)


@dataclass(frozen=True, kw_only=True)
class PolicyException:
    """What a rule does not hold for, and until when."""

    rule: str
    resource: str
    where: str | None
    reason: str
    owner: str
    expires: dt.date

    def expired(self, today: dt.date) -> bool:
        """Whether its last day is over."""
        return today > self.expires

    def covers(self, resource: Resource, found: Violation) -> bool:
        """Whether it is meant for this violation, in force or not."""
        named = any(_like(name, self.resource) for name in (resource.name, resource.urn))
        return named and (self.where is None or _like(found.where, self.where))


def _like(text: str, pattern: str) -> bool:
    # Brackets are part of paths, and no classes of characters.
    return fnmatchcase(text, pattern.replace("[", "[[]"))


@dataclass(frozen=True)
class Change:
    """One step of a remediation: what is set at the path of `keys`."""

    keys: tuple[Key, ...]
    value: Any


@dataclass(frozen=True, kw_only=True)
class About:
    """What a rule may know besides the item."""

    resource: Resource
    """The one that the item belongs to."""
    stack: Stack
    """Its resources are there only for rules of scope stack."""
    parameters: Mapping[str, Any]
    """By name; every parameter that the rule declares has a value."""
    today: dt.date
    exceptions: tuple[PolicyException, ...] = ()
    """Those of the whole configuration, in its order, expired ones included."""


Check = Callable[[Any, About], Iterable[Violation]]
"""Gets what the rule's `items` yield: a `Node`, or one of its kinds in `policies.readers`."""
Items = Callable[[Resource], Iterable[Node | UnknownValueError]]
"""An `UnknownValueError` in the place of an item says that nobody knows whether there is one; it does not end the others."""
Remediation = Callable[[Resource, Mapping[str, Any]], Iterable[Change]]


def whole(resource: Resource) -> Iterator[Node]:
    """Yields the inputs of the resource, as one item."""
    yield resource.inputs


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: what it looks at, what it asks, and all that a reader wants to know of it."""

    id: str
    """Stays the same over releases: configurations and exceptions name it. The file is called the same, with `_`."""
    title: str
    """What holds where the rule is kept, as a sentence without its full stop."""
    group: Group
    severity: Severity
    level: Level = Level.MANDATORY
    reason: str
    """What may happen otherwise, as a clause in lower case."""
    mend: str
    """What to do, as an imperative clause in lower case."""
    source: str
    """The document behind it, with its section."""
    url: str
    """Where that document is."""
    types: tuple[str, ...]
    """Types of resources, as patterns of `fnmatch`."""
    scope: Scope = Scope.RESOURCE
    items: Items = whole
    check: Check
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name a JSON schema with `default` and `description`."""
    remediate: Remediation | None = None
    """What would mend the resource; applied only where the rule's level is `remediate`."""

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters' defaults, by name."""
        return {name: schema["default"] for name, schema in self.parameters.items()}

    def line(self, found: Violation) -> str:
        """The whole message of a violation: where, what, what may follow, what to do."""
        value = f" ({found.value})" if found.value else ""
        where = f"{found.where}{value}: " if found.where else ""
        return f"{where}{found.what}; {self.reason}: {found.mend or self.mend}"

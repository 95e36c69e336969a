"""What rules judge: resources as plain data, and the stack that they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, TypeVar, cast

from policies.node import Node, UnknownValueError

PLATFORM = "slipway:index:Platform"
"""Slipway's own component; its inputs are those of `slipway.deployment.declaration`."""
PLAYBOOK = "playbook:index:Playbook"
STACK = "pulumi:pulumi:Stack"
"""The root of every stack; rules that judge a stack as a whole are asked about it."""

_PRODUCTION = re.compile(r"(^|[^a-z])(prod(uction)?|prd|live)([^a-z]|$)")


T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """The options of a resource that rules look at."""

    protect: bool = False
    parent: str = ""


@dataclass(frozen=True)
class Provider:
    """The provider that a resource is made with."""

    type: str
    name: str
    inputs: Node


class Memoized:
    """Answers questions about itself that many rules ask, and keeps the answers."""

    def cached(self, question: Callable[[Self], T]) -> T:
        """The answer to a question about it, such as an index of a stack; worked out the first time only."""
        if question not in self._answers:
            self._answers[question] = question(self)
        return cast("T", self._answers[question])

    @cached_property
    def _answers(self) -> dict[Callable[[Any], Any], Any]:
        return {}


@dataclass(frozen=True)
class Resource(Memoized):
    """One resource. Names of properties are the provider's own (camelCase), as the engine has them."""

    type: str
    name: str
    urn: str
    inputs: Node = field(default_factory=lambda: Node({}))
    outputs: Node = field(default_factory=lambda: Node({}))
    """What the provider has answered; at a preview what it predicts. Only rules about a whole stack see them."""
    options: Options = Options()
    provider: Provider | None = None
    dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By property, the URNs of the resources whose outputs are in it. Only rules about a whole stack see them."""

    def refers_to(self, other: Resource, *, by: str | None = None) -> bool:
        """Whether one of the inputs comes from `other`; only the property `by` where it is given."""
        return any(other.urn in urns for key, urns in self.dependencies.items() if by in {None, key})

    @classmethod
    def plain(cls, type_: str, name: str, inputs: Mapping[str, Any], **more: Any) -> Resource:
        """A resource from plain data, with a URN of the usual form."""
        return cls(
            type=type_, name=name, urn=f"urn:pulumi:stack::project::{type_}::{name}", inputs=Node(inputs), **more
        )


@dataclass(frozen=True)
class Stack(Memoized):
    """All resources of a stack, and what is known of the stack itself."""

    name: str = "stack"
    project: str = "project"
    resources: tuple[Resource, ...] = ()
    """Empty while single resources are judged."""
    config: Node = field(default_factory=lambda: Node({}))
    """The stack's configuration, by key; encrypted values are `Secret`."""
    tags: Mapping[str, str] = field(default_factory=dict)
    preview: bool = True

    def of_type(self, *types: str) -> list[Resource]:
        """The resources of these types."""
        return [resource for resource in self.resources if resource.type in types]

    @cached_property
    def production(self) -> bool:
        """Whether people depend on it: what its Slipway platform says, else what its name says (`prod`, `llm-production`)."""
        for platform in self.of_type(PLATFORM):
            try:
                purpose = platform.inputs.get("purpose")
            except UnknownValueError:
                continue
            if purpose is not None:
                return bool(purpose == "production")
        return _PRODUCTION.search(self.name.casefold()) is not None

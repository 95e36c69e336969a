"""Which namespace a Kubernetes resource is in, and which pods a label selector means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.node import Node, UnknownValueError
from policies.resources import Resource, Stack

NAMESPACE = "kubernetes:core/v1:Namespace"


def namespace(resource: Resource, stack: Stack) -> str:
    """The namespace's name; where it gets one only when it is made, the URN of its resource.

    Raises:
        UnknownValueError: nothing tells which it is.
    """
    try:
        name = resource.inputs.get("metadata", "namespace")
    except UnknownValueError as unknown:
        made = _referred(resource, stack)
        if made is None:
            raise unknown from None
        return _name(made)
    if name is None and resource.provider is not None:
        name = resource.provider.inputs.get("namespace")
    return "default" if name is None else str(name)


def _referred(resource: Resource, stack: Stack) -> Resource | None:
    """The one namespace that is made in the stack and named in the metadata."""
    urns = resource.dependencies.get("metadata", ())
    found = [other for other in stack.of_type(NAMESPACE) if other.urn in urns]
    return found[0] if len(found) == 1 else None


def _name(made: Resource) -> str:
    name = made.inputs.node("metadata").node("name").data
    return name if isinstance(name, str) else made.urn


def selects(selector: Node, labels: Mapping[str, Any]) -> bool:
    """Whether pods with `labels` are meant; an empty selector means all.

    Raises:
        UnknownValueError: the selector is not known.
    """
    equal = all(labels.get(name) == wanted for name, wanted in selector.get("matchLabels", default={}).items())
    return equal and all(_meets(expression, labels) for expression in selector.each("matchExpressions"))


def _meets(expression: Node, labels: Mapping[str, Any]) -> bool:
    key, operator = expression.get("key"), expression.get("operator")
    values = expression.get("values", default=[])
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) is (operator == "Exists")

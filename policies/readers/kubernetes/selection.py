"""Which namespace a Kubernetes resource is in, and which pods a label selector means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from policies.node import Node, UnknownValueError
from policies.readers.kubernetes.pods import ANY, Pod
from policies.readers.kubernetes.workloads import running
from policies.readers.unknown import any_known
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
    found = [other for other in stack.of_type(NAMESPACE) if resource.refers_to(other, by="metadata")]
    return found[0] if len(found) == 1 else None


def _name(made: Resource) -> str:
    name = made.inputs.node("metadata").node("name").data
    return name if isinstance(name, str) else made.urn


def selects(selector: Node, labels: Node) -> bool:
    """Whether pods with `labels` are meant; an empty selector means all.

    Raises:
        UnknownValueError: the selector is not known, or a label that it asks for.
    """
    equal = _agree(selector.entries("matchLabels"), labels)
    return equal and not any_known(selector.each("matchExpressions"), lambda each: not _meets(each, labels))


def _agree(wanted: Iterable[tuple[str, Node]], labels: Node) -> bool:
    return not any_known(wanted, lambda entry: labels.get(entry[0]) != entry[1].get())


def _meets(expression: Node, labels: Node) -> bool:
    key, operator = str(expression.get("key")), expression.get("operator")
    values = expression.get("values", default=[])
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return labels.has(key) is (operator == "Exists")


_KSERVE = "kubernetes:serving.kserve.io/"
_MADE = {
    "kubernetes:leaderworkerset.x-k8s.io/": "leaderworkerset.sigs.k8s.io/name",
    "kubernetes:ray.io/": "ray.io/cluster",
}
"""By kind of controller, the label in which the pods have its name, besides those of their template."""


def labels_place(resource: Resource, pod: Pod) -> Node:
    """Where the pod's labels stand, or would stand."""
    # KServe's predictor is the pod and its metadata in one.
    return pod.node("labels") if resource.type.startswith(_KSERVE) else pod.metadata.node("labels")


def labels_of(resource: Resource, pod: Pod) -> Node:
    """The pod's labels, those that its controller adds included; each may be unknown.

    Raises:
        UnknownValueError: the map of them is unknown, or one that the controller adds.
    """
    place = labels_place(resource, pod)
    found = {name: node.raw for name, node in place.entries()}
    labels: dict[str, Any] = {}
    if resource.type.startswith(_KSERVE):
        name = resource.inputs.get("metadata", "name", default="")
        labels |= dict(resource.inputs.get("metadata", "labels", default={}))
        labels |= {"serving.kserve.io/inferenceservice": name, "component": pod.path.rpartition(".")[2]}
        labels["app"] = f"isvc.{name}-{labels['component']}"
    for kind, label in _MADE.items():
        if resource.type.startswith(kind):
            labels[label] = resource.inputs.get("metadata", "name", default="")
    return Node(labels | found, place.path)


def selected(service: Resource, stack: Stack) -> Iterator[tuple[Resource, Pod] | UnknownValueError]:
    """The pods of the stack that a Service means; in the place of those for which it is open, what is not known."""
    try:
        wanted = dict(service.inputs.entries("spec", "selector"))
        home = namespace(service, stack)
    except UnknownValueError as unknown:
        yield unknown
        return
    if not wanted:
        # Without a selector somebody else says what it means.
        return
    pods = stack.cached(_pods)
    for made in (*pods.by_namespace.get(home, ()), *pods.elsewhere):
        if isinstance(made, UnknownValueError):
            yield made
            continue
        try:
            if _agree(wanted.items(), made.labels):
                yield made.unknown_namespace or (made.resource, made.pod)
        except UnknownValueError as unknown:
            yield unknown


@dataclass(frozen=True)
class _Made:
    """A pod of the stack."""

    resource: Resource
    pod: Pod
    labels: Node
    unknown_namespace: UnknownValueError | None = None
    """Why nobody knows its namespace."""


@dataclass(frozen=True)
class _Pods:
    """All pods of a stack; in the place of those of which the labels are not known, what is not known."""

    by_namespace: dict[str, list[_Made | UnknownValueError]] = field(default_factory=dict)
    elsewhere: list[_Made | UnknownValueError] = field(default_factory=list)


def _pods(stack: Stack) -> _Pods:
    found = _Pods()
    for resource in stack.resources:
        made = list(_made(resource)) if fnmatchcase(resource.type, ANY) else []
        if not made:
            continue
        try:
            found.by_namespace.setdefault(namespace(resource, stack), []).extend(made)
        except UnknownValueError as unknown:
            found.elsewhere.extend(
                replace(each, unknown_namespace=unknown) if isinstance(each, _Made) else each for each in made
            )
    return found


def _made(resource: Resource) -> Iterator[_Made | UnknownValueError]:
    try:
        for pod in running(resource):
            yield _Made(resource, pod, labels_of(resource, pod))
    except UnknownValueError as unknown:
        yield unknown

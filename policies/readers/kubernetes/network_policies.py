"""Which network policies hold for a pod, and which of them let everybody in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from policies.node import Node, UnknownValueError
from policies.readers.kubernetes.pods import Pod
from policies.readers.kubernetes.selection import labels_of, namespace, selects
from policies.readers.networks import is_everybody
from policies.readers.unknown import any_known
from policies.resources import Resource, Stack

_PLAIN = ("kubernetes:networking.k8s.io/*:NetworkPolicy", "kubernetes:extensions/*:NetworkPolicy")
_CILIUM = "kubernetes:cilium.io/*"
_UNREAD = ("kubernetes:cilium.io/*:CiliumNetworkPolicy", "kubernetes:*projectcalico.org/*:NetworkPolicy")
"""Selectors of Cilium and Calico are languages of their own, and not read: such a policy counts for its namespace."""
_OF_THE_CLUSTER = (
    "kubernetes:cilium.io/*:CiliumClusterwideNetworkPolicy",
    "kubernetes:*projectcalico.org/*:GlobalNetworkPolicy",
    "kubernetes:policy.networking.k8s.io/*",
)
_ALL = {"all", "cluster"}
"""Entities of Cilium that are every pod."""


UnknownPolicy = tuple[Resource, UnknownValueError]
"""A policy of which nobody knows whether it holds, and what is not known."""


@dataclass(frozen=True)
class _Policies:
    """The network policies of a stack, by where they hold."""

    of_the_cluster: list[Resource] = field(default_factory=list)
    by_namespace: dict[str, list[Resource]] = field(default_factory=dict)
    elsewhere: list[UnknownPolicy] = field(default_factory=list)
    """The policies of which the namespace is not known."""


def _policies(stack: Stack) -> _Policies:
    found = _Policies()
    for resource in stack.resources:
        if _is(resource, _OF_THE_CLUSTER):
            found.of_the_cluster.append(resource)
        elif _is(resource, (*_PLAIN, *_UNREAD)):
            try:
                found.by_namespace.setdefault(namespace(resource, stack), []).append(resource)
            except UnknownValueError as unknown:
                found.elsewhere.append((resource, unknown))
    return found


def covering(workload: Resource, pod: Pod, stack: Stack) -> tuple[list[Resource], list[UnknownPolicy]]:
    """The network policies for ingress that hold for the pod, and those for which that is open."""
    policies = stack.cached(_policies)
    found, open_ = _partition_known(policies.of_the_cluster, _foreign_ingress)
    try:
        near = policies.by_namespace.get(namespace(workload, stack), [])
    except UnknownValueError as unknown:
        every = (policy for those in policies.by_namespace.values() for policy in those)
        return found, [*open_, *((policy, unknown) for policy in every), *policies.elsewhere]
    of_the_namespace, more = _partition_known(near, lambda policy: _holds(policy, workload, pod))
    return found + of_the_namespace, open_ + more + policies.elsewhere


def _partition_known(
    policies: list[Resource], question: Callable[[Resource], bool]
) -> tuple[list[Resource], list[UnknownPolicy]]:
    found: list[Resource] = []
    open_: list[UnknownPolicy] = []
    for policy in policies:
        try:
            if question(policy):
                found.append(policy)
        except UnknownValueError as unknown:
            open_.append((policy, unknown))
    return found, open_


def _holds(policy: Resource, workload: Resource, pod: Pod) -> bool:
    """Whether a policy of the pod's namespace is for ingress, and means the pod."""
    if _is(policy, _UNREAD):
        return _foreign_ingress(policy)
    # Left out, the types are Ingress, and Egress where there are such rules.
    ingress = "Ingress" in policy.inputs.get("spec", "policyTypes", default=["Ingress"])
    return ingress and selects(policy.inputs.node("spec", "podSelector"), labels_of(workload, pod))


def _foreign_ingress(policy: Resource) -> bool:
    specs = [policy.inputs.node("spec"), *policy.inputs.each("specs")]
    if not fnmatchcase(policy.type, _CILIUM):
        return any_known(specs, _closes)
    return any_known(
        specs, lambda spec: any(map(any, (spec.each("ingress"), spec.each("ingressDeny"))))
    ) and not any_known(specs, lambda spec: any_known(spec.each("ingress"), _to_all))


def _closes(spec: Node) -> bool:
    """Calico's types are Ingress unless there are rules for egress only; Kubernetes' policies for administrators have none."""
    types = spec.get("types")
    if types is not None:
        return "Ingress" in types
    return spec.has("ingress") or not spec.has("egress")


def _to_all(rule: Node) -> bool:
    return not _ALL.isdisjoint(rule.get("fromEntities", default=[]))


def lets_everybody_in(policy: Resource) -> bool:
    """Whether a rule of a plain policy is for every pod of the cluster, or every address.

    Raises:
        UnknownValueError: what decides is unknown.
    """
    return _is(policy, _PLAIN) and any_known(policy.inputs.each("spec", "ingress"), _for_everybody)


def may_let_everybody_in(policy: Resource) -> bool:
    """Whether a rule of a plain policy is for everybody, or may turn out to be."""
    try:
        return lets_everybody_in(policy)
    except UnknownValueError:
        return True


def _for_everybody(rule: Node) -> bool:
    peers = list(rule.each("from"))
    return not peers or any_known(peers, _is_everybody)


def _is_everybody(peer: Node) -> bool:
    if peer.has("ipBlock"):
        return is_everybody(str(peer.get("ipBlock", "cidr")))
    if not peer.has("namespaceSelector") or any(_demands(peer.node("podSelector"))):
        return False
    return not any(_demands(peer.node("namespaceSelector")))


def _demands(selector: Node) -> Iterator[object]:
    yield from selector.entries("matchLabels")
    for expression in selector.each("matchExpressions"):
        # Every namespace has the label of its name.
        if (expression.get("key"), expression.get("operator")) != ("kubernetes.io/metadata.name", "Exists"):
            yield expression


def _is(resource: Resource, types: tuple[str, ...]) -> bool:
    return any(fnmatchcase(resource.type, pattern) for pattern in types)

"""Not everybody in the cluster can reach an engine or a gateway."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from policies.node import UnknownValueError
from policies.resources import Resource, Stack
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation
from policies.subjects.kubernetes import ANY, Pod
from policies.subjects.programs import runs_engine, runs_litellm
from policies.subjects.selection import namespace, selects
from policies.subjects.workloads import containers_with_image, is_patch, running

_PLAIN = ("kubernetes:networking.k8s.io/*:NetworkPolicy", "kubernetes:extensions/*:NetworkPolicy")
_UNREAD = ("kubernetes:cilium.io/*:CiliumNetworkPolicy", "kubernetes:*projectcalico.org/*:NetworkPolicy")
"""Selectors of Cilium and Calico are languages of their own, and not read: such a policy counts for its namespace."""
_OF_THE_CLUSTER = (
    "kubernetes:cilium.io/*:CiliumClusterwideNetworkPolicy",
    "kubernetes:*projectcalico.org/*:GlobalNetworkPolicy",
    "kubernetes:policy.networking.k8s.io/*",
)


def items(resource: Resource) -> Iterator[Pod]:
    """Pods; a patch leaves labels and namespace to others."""
    if not is_patch(resource):
        yield from running(resource)


def check(pod: Pod, about: About) -> Iterator[Violation]:
    """A policy for ingress means the pods of an engine or gateway, and does not let everybody in."""
    if not any(runs_engine(container) or runs_litellm(container) for container in containers_with_image(pod)):
        return
    home = namespace(about.resource, about.stack)
    unknown: UnknownValueError | None = None
    found: list[Resource] = []
    for policy in about.stack.resources:
        try:
            if _covers(policy, pod, home, about.stack):
                found.append(policy)
        except UnknownValueError as error:
            unknown = error
    for policy in found:
        if any(not dict(rule.entries()) for rule in policy.inputs.each("spec", "ingress")):
            yield violation(
                pod.metadata,
                "labels",
                what=f"NetworkPolicy {policy.name} lets everybody in to these pods, which serve a model",
                mend="name in its ingress rules who may call: from and ports",
            )
    # One that is not known yet may be the one that covers the pod.
    if not found and unknown is not None:
        raise unknown
    if not found:
        yield violation(
            pod.metadata, "labels", what="no NetworkPolicy for ingress means these pods, which serve a model"
        )


def _covers(policy: Resource, pod: Pod, home: str, stack: Stack) -> bool:
    """Whether a resource is a network policy that holds for the pod."""
    if _is(policy, _OF_THE_CLUSTER):
        return True
    if _is(policy, _UNREAD):
        return namespace(policy, stack) == home
    return _is(policy, _PLAIN) and namespace(policy, stack) == home and _selects(policy, pod)


def _selects(policy: Resource, pod: Pod) -> bool:
    """Whether it is for ingress, and means the pod."""
    # Left out, the types are Ingress, and Egress where there are such rules.
    ingress = "Ingress" in policy.inputs.get("spec", "policyTypes", default=["Ingress"])
    selector = policy.inputs.node("spec", "podSelector")
    return ingress and selects(selector, pod.metadata.get("labels", default={}))


def _is(resource: Resource, types: tuple[str, ...]) -> bool:
    return any(fnmatchcase(resource.type, pattern) for pattern in types)


RULE = Rule(
    id="k8s-network-policy",
    title="Engines and gateways are behind a NetworkPolicy",
    group=Group.KUBERNETES,
    severity=Severity.MEDIUM,
    reason="every pod of the cluster can call the model past the gateway, its keys and its limits",
    mend="add a NetworkPolicy to their namespace, with policyTypes [Ingress] and the callers in its ingress rules",
    source="Kubernetes documentation, Network Policies: The two sorts of pod isolation; vLLM documentation, Security",
    url="https://kubernetes.io/docs/concepts/services-networking/network-policies/",
    types=(ANY,),
    scope=Scope.STACK,
    items=items,
    check=check,
)

"""What Ingresses of an AWS load balancer have in common: the group that shares one, and the parameters of their class."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from policies.node import Node
from policies.resources import Stack

INGRESSES = (
    "kubernetes:networking.k8s.io/v1:Ingress",
    "kubernetes:networking.k8s.io/v1beta1:Ingress",
    "kubernetes:extensions/v1beta1:Ingress",
)
_CLASSES = ("kubernetes:networking.k8s.io/v1:IngressClass", "kubernetes:networking.k8s.io/v1beta1:IngressClass")
_PARAMETERS = "kubernetes:*:IngressClassParams"
"""Of the AWS Load Balancer Controller (`elbv2.k8s.aws`) and of EKS Auto Mode (`eks.amazonaws.com`)."""
_GROUP = ("metadata", "annotations", "alb.ingress.kubernetes.io/group.name")


def group_of(ingress: Node, stack: Stack) -> Iterator[Node]:
    """All Ingresses that share its load balancer, itself among them; nothing where it is of no group.

    Raises:
        UnknownValueError: its group is not known.
    """
    group = ingress.get(*_GROUP)
    if group is not None:
        for other in stack.of_type(*INGRESSES):
            # The plain texts: a group that is not known yet is no relation.
            if other.inputs.node(*_GROUP).data == group:
                yield other.inputs


def parameters_of(ingress: Node, stack: Stack) -> Iterator[Node]:
    """The parameters of its class, where both are in the stack.

    Raises:
        UnknownValueError: its class is not known, or what that refers to.
    """
    name = ingress.get("spec", "ingressClassName")
    if name is None:
        return
    classes = [each.inputs for each in stack.of_type(*_CLASSES)]
    called = {each.get("spec", "parameters", "name") for each in classes if each.get("metadata", "name") == name}
    yield from (each for each in stack.cached(_parameters) if each.get("metadata", "name") in called)


def _parameters(stack: Stack) -> list[Node]:
    return [resource.inputs for resource in stack.resources if fnmatchcase(resource.type, _PARAMETERS)]

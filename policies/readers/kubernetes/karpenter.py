"""Pools of nodes that Karpenter starts."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from policies.node import Node
from policies.readers.aws.gpu_groups import is_gpu_family, is_gpu_type
from policies.resources import Resource

NODE_POOL = "kubernetes:karpenter.sh/*:NodePool"
PROVISIONER = "kubernetes:karpenter.sh/*:Provisioner"
"""What pools were called before v1beta1."""

NODE_CLASS = "kubernetes:karpenter.k8s.aws/*:EC2NodeClass"

_CAPACITY = "karpenter.sh/capacity-type"
_SPOT = "spot"
_GPU = re.compile(r"/instance-gpu-|/instance-accelerator-|nvidia\.com/gpu")
_CATEGORIES = {"g", "p", "gr"}


def is_pool(resource: Resource) -> bool:
    """Whether it is a pool of Karpenter's, of whichever release."""
    return any(fnmatchcase(resource.type, pattern) for pattern in (NODE_POOL, PROVISIONER))


def _nodes(pool: Node) -> Node:
    """What it says of its nodes: a provisioner has no template."""
    spec = pool.node("spec")
    return spec.node("template", "spec") if spec.has("template") else spec


def is_node_class(resource: Resource) -> bool:
    """Whether it says what Karpenter's nodes on AWS are made of."""
    return fnmatchcase(resource.type, NODE_CLASS)


def spot_requirement(pool: Node) -> Node | None:
    """The requirement that lets spot capacity in; None where there is none: then Karpenter starts on-demand nodes only.

    Raises:
        UnknownValueError: the requirement is not known.
    """
    for requirement in _nodes(pool).each("requirements"):
        if requirement.get("key") != _CAPACITY:
            continue
        values = requirement.get("values", default=[])
        lets_in = {"In": _SPOT in values, "NotIn": _SPOT not in values, "Exists": True}
        if lets_in.get(requirement.get("operator"), False):
            return requirement
    return None


def has_gpus(pool: Node) -> bool:
    """Whether the pool is one of GPU nodes, by its limits, taints or requirements.

    Raises:
        UnknownValueError: they are not known.
    """
    limits = pool.get("spec", "limits", default={})
    limits = limits.get("resources") or limits
    taints = [taint.get("key", default="") for taint in _nodes(pool).each("taints")]
    if any(_GPU.search(name) for name in [*limits, *taints]):
        return True
    return any(_of_gpus(requirement) for requirement in _nodes(pool).each("requirements"))


def _of_gpus(requirement: Node) -> bool:
    key, operator = str(requirement.get("key", default="")), requirement.get("operator")
    values = [str(value) for value in requirement.get("values", default=[])]
    if _GPU.search(key):
        return operator not in {"DoesNotExist", "NotIn", "Lt"}
    if operator != "In":
        return False
    if key.endswith("/instance-category"):
        return not _CATEGORIES.isdisjoint(values)
    if key.endswith("/instance-family"):
        return any(map(is_gpu_family, values))
    return key.endswith("/instance-type") and any(map(is_gpu_type, values))

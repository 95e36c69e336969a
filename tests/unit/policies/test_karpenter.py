"""Pools of nodes that Karpenter starts: of which capacity, and whether they have GPUs."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import Node
from policies.readers.kubernetes.karpenter import has_gpus, is_node_class, is_pool, spot_requirement
from policies.resources import Resource


def pool(*requirements: tuple[str, str, list[str]], **spec: Any) -> Node:
    said = [{"key": key, "operator": operator, "values": values} for key, operator, values in requirements]
    return Node({"spec": {"template": {"spec": {"requirements": said, **spec}}}})


@pytest.mark.parametrize(
    ("operator", "values", "lets_in"),
    [
        ("In", ["spot", "on-demand"], True),
        ("In", ["on-demand", "reserved"], False),
        ("NotIn", ["on-demand"], True),
        ("NotIn", ["spot"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_requirements_that_let_spot_in(operator: str, values: list[str], lets_in: bool) -> None:
    other = ("kubernetes.io/arch", "In", ["spot"])
    found = spot_requirement(pool(other, ("karpenter.sh/capacity-type", operator, values)))
    assert (None if found is None else found.path) == ("spec.template.spec.requirements[1]" if lets_in else None)


@pytest.mark.parametrize(
    ("requirement", "gpus"),
    [
        (("karpenter.k8s.aws/instance-gpu-name", "In", ["l40s"]), True),
        (("karpenter.k8s.aws/instance-gpu-count", "Exists", []), True),
        (("karpenter.k8s.aws/instance-gpu-count", "Gt", ["0"]), True),
        (("karpenter.k8s.aws/instance-gpu-count", "Lt", ["1"]), False),
        (("karpenter.k8s.aws/instance-gpu-name", "DoesNotExist", []), False),
        (("karpenter.k8s.aws/instance-gpu-manufacturer", "NotIn", ["nvidia"]), False),
        (("karpenter.k8s.aws/instance-category", "In", ["c", "g"]), True),
        (("karpenter.k8s.aws/instance-category", "In", ["c", "m"]), False),
        (("karpenter.k8s.aws/instance-category", "NotIn", ["g", "p"]), False),
        (("karpenter.k8s.aws/instance-family", "In", ["m7i", "g6e"]), True),
        (("karpenter.k8s.aws/instance-family", "In", ["m7i"]), False),
        (("node.kubernetes.io/instance-type", "In", ["m7i.large", "p5.48xlarge"]), True),
        (("node.kubernetes.io/instance-type", "In", ["m7i.large"]), False),
        (("example.com/pool", "In", ["g", "g6e", "p5.48xlarge"]), False),
    ],
)
def test_pools_of_gpus_by_a_requirement(requirement: tuple[str, str, list[str]], gpus: bool) -> None:
    assert has_gpus(pool(requirement)) is gpus


def test_pools_of_gpus_by_limits_and_taints() -> None:
    assert has_gpus(pool(taints=[{"key": "nvidia.com/gpu"}]))
    assert not has_gpus(pool(taints=[{"key": "dedicated"}]))
    assert has_gpus(Node({"spec": {"limits": {"cpu": 100, "nvidia.com/gpu": 8}}}))
    assert has_gpus(Node({"spec": {"limits": {"resources": {"nvidia.com/gpu": 8}}}}))
    assert not has_gpus(Node({"spec": {"limits": {"cpu": 100}}}))


@pytest.mark.parametrize(
    ("kind", "is_one", "is_class"),
    [
        ("karpenter.sh/v1:NodePool", True, False),
        ("karpenter.sh/v1alpha5:Provisioner", True, False),
        ("karpenter.k8s.aws/v1:EC2NodeClass", False, True),
        ("karpenter.sh/v1:NodeClaim", False, False),
    ],
)
def test_kinds_of_karpenters_resources(kind: str, is_one: bool, is_class: bool) -> None:
    resource = Resource.plain(f"kubernetes:{kind}", "it", {})
    assert (is_pool(resource), is_node_class(resource)) == (is_one, is_class)

"""Which GPU instances a resource starts, where, and at what price."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.aws.gpu_groups import (
    AUTOSCALING_GROUP,
    INSTANCE,
    LAUNCH_CONFIGURATION,
    LAUNCH_TEMPLATE,
    NODE_GROUP,
    SPOT_FLEET,
    cost,
    gpu_types,
    region,
)
from policies.resources import Provider, Resource, Stack

BIG = {"instanceType": "p5.48xlarge"}
TEMPLATE = Resource.plain(LAUNCH_TEMPLATE, "t", {"name": "gpus", **BIG}, outputs=Node({"id": "lt-1"}))
CONFIGURATION = Resource.plain(LAUNCH_CONFIGURATION, "c", {"name": "old", "instanceType": "g5.xlarge"})
STACK = Stack(resources=(TEMPLATE, CONFIGURATION))


@pytest.mark.parametrize(
    ("kind", "inputs", "types"),
    [
        (INSTANCE, BIG, ["p5.48xlarge"]),
        (INSTANCE, {"launchTemplate": {"id": "lt-1"}}, ["p5.48xlarge"]),
        (INSTANCE, {"launchTemplate": {"name": "gpus"}, "instanceType": "m7i.large"}, []),
        (NODE_GROUP, {"launchTemplate": {"name": "gpus"}}, ["p5.48xlarge"]),
        (AUTOSCALING_GROUP, {"launchConfiguration": "old"}, ["g5.xlarge"]),
        (AUTOSCALING_GROUP, {"launchTemplate": {"name": "another"}}, []),
        (AUTOSCALING_GROUP, {"launchTemplate": {"id": "lt-2", "version": UNKNOWN}}, []),
        (SPOT_FLEET, {"launchTemplateConfigs": [{"overrides": [{"subnetId": "s"}, BIG]}]}, ["p5.48xlarge"]),
    ],
)
def test_types_are_its_own_or_its_templates(kind: str, inputs: dict[str, Any], types: list[str]) -> None:
    assert gpu_types(Resource.plain(kind, "it", inputs), STACK) == types


@pytest.mark.parametrize(
    ("inputs", "where"),
    [
        ({"launchTemplate": UNKNOWN}, "launchTemplate"),
        ({"launchTemplate": {"id": UNKNOWN}}, "launchTemplate.id"),
        ({"launchTemplate": {"name": UNKNOWN}}, "launchTemplate.name"),
        ({"launchConfiguration": UNKNOWN}, "launchConfiguration"),
    ],
)
def test_a_template_that_is_not_known_leaves_the_types_open_unless_it_is_referred_to(
    inputs: dict[str, Any], where: str
) -> None:
    with pytest.raises(UnknownValueError) as unknown:
        gpu_types(Resource.plain(AUTOSCALING_GROUP, "it", inputs), STACK)
    assert unknown.value.path == where
    refers = {where.partition(".")[0]: (TEMPLATE.urn,)}
    assert gpu_types(Resource.plain(AUTOSCALING_GROUP, "it", inputs, dependencies=refers), STACK) == ["p5.48xlarge"]


@pytest.mark.parametrize(
    ("inputs", "provider", "config", "where"),
    [
        ({"region": "eu-west-1", "availabilityZone": "eu-west-2a"}, "eu-west-3", "eu-south-2", "eu-west-1"),
        ({"availabilityZone": "eu-west-2a"}, "eu-west-3", "eu-south-2", "eu-west-2"),
        ({}, "eu-west-3", "eu-south-2", "eu-west-3"),
        ({}, None, "eu-south-2", "eu-south-2"),
        ({}, None, None, None),
    ],
)
def test_where_a_resource_is(
    inputs: dict[str, Any], provider: str | None, config: str | None, where: str | None
) -> None:
    made = None if provider is None else Provider("pulumi:providers:aws", "p", Node({"region": provider}))
    resource = Resource.plain(INSTANCE, "it", inputs, provider=made)
    assert region(resource, Stack(config=Node({"aws:region": config}))) == where


@pytest.mark.parametrize(
    ("types", "dearest", "price"),
    [
        (["g5.xlarge", "p5.48xlarge"], "p5.48xlarge", 55.04),
        (["p5.48xlarge", "p9.nobody"], "p9.nobody", None),
        (["g5.xlarge", "own.of"], "g5.xlarge", 1.006),
        (["p5.48xlarge", "g6.own"], "g6.own", 99.0),
    ],
)
def test_a_group_costs_what_its_dearest_type_does(types: list[str], dearest: str, price: float | None) -> None:
    group = Resource.plain(NODE_GROUP, "it", {"instanceTypes": types, "scalingConfig": {"desiredSize": 2}})
    found = cost(group, Stack(config=Node({"aws:region": "us-east-1"})), {"g6.own": 99.0})
    assert found is not None
    assert (found.type, found.usd_per_hour, found.usd_per_month) == (dearest, price, 2 * (price or 0) * 730)


def test_a_region_without_a_price_has_the_dearest_that_is_known() -> None:
    for config, price in (({"aws:region": "us-east-1"}, 1.006), ({"aws:region": "eu-west-1"}, 1.3359), ({}, 1.3359)):
        found = cost(Resource.plain(INSTANCE, "it", {"instanceType": "g5.xlarge"}), Stack(config=Node(config)), {})
        assert found is not None
        assert found.usd_per_hour == price

"""AWS resources that start GPU instances: of which types, how many, what they cost, and whether they are spot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil

from policies.node import Node
from policies.resources import Resource, Stack
from slipway.catalog import Instance, load

INSTANCE = "aws:ec2/instance:Instance"
LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
LAUNCH_CONFIGURATION = "aws:ec2/launchConfiguration:LaunchConfiguration"
AUTOSCALING_GROUP = "aws:autoscaling/group:Group"
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
RESERVATION = "aws:ec2/capacityReservation:CapacityReservation"
SCHEDULE = "aws:autoscaling/schedule:Schedule"
SPOT_REQUEST = "aws:ec2/spotInstanceRequest:SpotInstanceRequest"
SPOT_FLEET = "aws:ec2/spotFleetRequest:SpotFleetRequest"
FLEET = "aws:ec2/fleet:Fleet"
BATCH = "aws:batch/computeEnvironment:ComputeEnvironment"

HOURS = 730
"""Of a month, as AWS's own calculator has it."""

_FAMILY = re.compile(r"^(p|g|gr)\d[a-z0-9-]*$")
"""AWS's families with GPUs; no other begins so. Inferentia and Trainium are none."""


def is_gpu_family(family: str) -> bool:
    """Whether instances of this family (`p5`, `g6e`) have GPUs."""
    return _FAMILY.match(family) is not None


def is_gpu_type(name: str) -> bool:
    """Whether this instance type (`p5.48xlarge`) has GPUs."""
    return is_gpu_family(name.partition(".")[0])


def gpu_types(resource: Resource, stack: Stack) -> list[str]:
    """The GPU instance types that the resource may start; those of its launch template where it names none itself.

    A launch template that is not in the stack says nothing.

    Raises:
        UnknownValueError: a type is not known.
    """
    return sorted({name for node in _types(resource, stack) if is_gpu_type(name := str(node.get(default="")))})


def _types(resource: Resource, stack: Stack) -> Iterator[Node]:
    own = list(_own_types(resource))
    if own:
        yield from own
        return
    templates = launch_templates(resource, stack)
    for template in templates:
        yield template.inputs.node("instanceType")
    if not templates:
        for keys in (("launchTemplate", "id"), ("launchTemplate", "name"), ("launchConfiguration",)):
            resource.inputs.get(*keys)


def _own_types(resource: Resource) -> Iterator[Node]:
    inputs = resource.inputs
    if resource.type == AUTOSCALING_GROUP:
        lists = [inputs.each("mixedInstancesPolicy", "launchTemplate", "overrides")]
    elif resource.type in {SPOT_FLEET, FLEET}:
        configurations = [each.each("overrides") for each in inputs.each("launchTemplateConfigs")]
        lists = [inputs.each("launchSpecifications"), *configurations]
    elif resource.type == NODE_GROUP:
        yield from inputs.each("instanceTypes")
        return
    elif resource.type == BATCH:
        # Families (`p5`) as well as types.
        yield from inputs.each("computeResources", "instanceTypes")
        return
    else:
        lists = [iter((inputs,))]
    for nodes in lists:
        for node in nodes:
            if node.has("instanceType"):
                yield node.node("instanceType")


def launch_templates(resource: Resource, stack: Stack) -> list[Resource]:
    """Launch templates and launch configurations of the stack that the resource starts from."""
    inputs = resource.inputs
    names = {
        inputs.node("launchTemplate").show("name"),
        inputs.node("launchTemplate").show("id"),
        inputs.show("launchConfiguration"),
    }
    names = {name.strip('"') for name in names} - {"not set", "[unknown]"}
    return [
        template
        for template in stack.of_type(LAUNCH_TEMPLATE, LAUNCH_CONFIGURATION)
        if resource.refers_to(template)
        or template.inputs.node("name").data in names
        or template.outputs.node("id").data in names
    ]


def market(options: Node) -> str:
    """How instances are bought by `instanceMarketOptions` below: `on-demand`, `spot` or `capacity-block`."""
    return str(options.get("instanceMarketOptions", "marketType", default="on-demand"))


def on_demand(resource: Resource, stack: Stack) -> int:
    """How many instances the resource runs on demand.

    Raises:
        UnknownValueError: the number, or how they are bought, is not known.
    """
    inputs = resource.inputs
    sources = [inputs, *(template.inputs for template in launch_templates(resource, stack))]
    if any(market(source) != "on-demand" for source in sources):
        return 0
    if resource.type == NODE_GROUP:
        bought = inputs.get("capacityType", default="ON_DEMAND")
        return int(inputs.number("scalingConfig", "desiredSize", default=0)) if bought == "ON_DEMAND" else 0
    if resource.type == RESERVATION:
        return int(inputs.number("instanceCount", default=0))
    if resource.type == AUTOSCALING_GROUP:
        wanted = int(inputs.number("desiredCapacity", default=inputs.number("minSize", default=0)))
        base, percent = distribution(inputs)
        return min(wanted, base) + ceil(max(0, wanted - base) * percent / 100)
    return 1


def distribution(group: Node) -> tuple[int, int]:
    """Of an autoscaling group: instances that are on demand in any case, and percent of the others that are."""
    spread = group.node("mixedInstancesPolicy", "instancesDistribution")
    return (
        int(spread.number("onDemandBaseCapacity", default=0)),
        int(spread.number("onDemandPercentageAboveBaseCapacity", default=100)),
    )


def region(resource: Resource, stack: Stack) -> str | None:
    """Where the resource is: by itself, its availability zone, its provider, or the stack's configuration."""
    zone = resource.inputs.get("availabilityZone")
    places = (
        resource.inputs.get("region"),
        None if zone is None else str(zone).rstrip("abcdefghijklmnopqrstuvwxyz"),
        None if resource.provider is None else resource.provider.inputs.get("region"),
        stack.config.get("aws:region"),
    )
    return next((str(place) for place in places if place), None)


@dataclass(frozen=True)
class Cost:
    """What one resource's GPU instances cost on demand."""

    resource: Resource
    type: str
    count: int
    usd_per_hour: float | None
    """Of one instance; None where nobody knows the price."""

    @property
    def usd_per_month(self) -> float:
        """Of all of them; 0 where the price is not known."""
        return self.count * (self.usd_per_hour or 0) * HOURS


def cost(resource: Resource, stack: Stack, own: Mapping[str, float]) -> Cost | None:
    """What the resource costs, by the dearest of the types that it may start; None where it runs no GPU on demand.

    Args:
        resource: of one of the types above.
        stack: all that it may refer to.
        own: the site's prices by type, in USD an hour; they go before the catalogue's.

    Raises:
        UnknownValueError: types or numbers are not known.
    """
    types = gpu_types(resource, stack)
    count = on_demand(resource, stack) if types else 0
    if not count:
        return None
    where = region(resource, stack)
    prices = {name: own.get(name, _price(name, where)) for name in types}
    dearest = max(types, key=lambda name: float("inf") if prices[name] is None else prices[name] or 0)
    return Cost(resource, dearest, count, prices[dearest])


def _price(name: str, where: str | None) -> float | None:
    """On demand in that region; the dearest known where the catalogue has no price for it."""
    instance = _instances().get(name)
    if instance is None:
        return None
    known = {price.region: price.usd_per_hour for price in instance.prices}
    return known.get(where or "", max(known.values(), default=None))


@cache
def _instances() -> Mapping[str, Instance]:
    return load().instances

"""GPU instances of AWS cost no more a month than the stack's budget, at on-demand prices.

Counted: instances, autoscaling groups and EKS node groups at their wanted size, and capacity reservations, of each type
whichever is more, what runs or what is reserved: instances run in reservations of their type. A group of several types counts
as the dearest. Not counted: spot and capacity blocks, what Karpenter may start, EC2 Fleets, AWS Batch, endpoints and
notebooks of SageMaker, hosts of one's own. Prices are the catalogue's
for the region; where it has none for that region, the dearest that it knows.
"""

from collections.abc import Iterable, Iterator

from policies.node import Node, UnknownValueError
from policies.readers.aws.gpu_groups import AUTOSCALING_GROUP, INSTANCE, NODE_GROUP, RESERVATION, Cost, cost
from policies.resources import STACK
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation

_RUNNING = (INSTANCE, AUTOSCALING_GROUP, NODE_GROUP)


def check(root: Node, about: About) -> Iterator[Violation]:
    """The sum is within the budget, and every price is known."""
    budget, own = about.parameters["usdPerMonth"], about.parameters["prices"]
    if not budget:
        return
    costs: list[Cost] = []
    unknown: list[str] = []
    for resource in about.stack.of_type(*_RUNNING, RESERVATION):
        try:
            found = cost(resource, about.stack, own)
        except UnknownValueError as error:
            unknown.append(f"{resource.name}: {error.path}")
        else:
            costs += [found] if found is not None else []
    for name in sorted({each.type for each in costs if each.usd_per_hour is None}):
        yield violation(
            root,
            what=f"{name} has no price in the catalogue, so that the sum is more than can be said",
            mend=f"give the price of {name} in the parameter prices",
        )
    counted = sorted(_counted(costs), key=lambda each: -each.usd_per_month)
    total = sum(each.usd_per_month for each in counted)
    if total > budget:
        parts = "; ".join(
            f"{each.resource.name} {each.count} x {each.type} {each.usd_per_month:,.0f}" for each in counted
        )
        yield violation(
            root, what=f"GPUs on demand cost {total:,.0f} USD a month ({parts}), and the budget is {budget:,.0f}"
        )
    # What is known was judged; what is not is told.
    for where in unknown:
        raise UnknownValueError(where)


def _counted(costs: Iterable[Cost]) -> Iterator[Cost]:
    """By type the instances, or their reservations where these cost more."""
    costs = [each for each in costs if each.usd_per_hour is not None]
    for name in dict.fromkeys(each.type for each in costs):
        running = [each for each in costs if each.type == name and each.resource.type in _RUNNING]
        reserved = [each for each in costs if each.type == name and each.resource.type == RESERVATION]
        yield from max(running, reserved, key=lambda some: sum(each.usd_per_month for each in some))


RULE = Rule(
    id="gpu-budget",
    title="GPUs on demand cost no more than the stack's budget",
    group=Group.CAPACITY,
    severity=Severity.MEDIUM,
    reason="an instance is paid by the hour whether anybody asks it or not, and the bill comes at the end of the month",
    mend="run fewer or smaller instances, or have the budget raised",
    source="Amazon EC2 On-Demand Pricing; Amazon EC2 User Guide, Capacity Reservation pricing and billing",
    url="https://aws.amazon.com/ec2/pricing/on-demand/",
    types=(STACK,),
    scope=Scope.STACK,
    check=check,
    parameters={
        "usdPerMonth": {
            "type": "number",
            "minimum": 0,
            "default": 0,
            "description": "What GPU instances may cost a month of 730 hours, in USD; with 0 nothing is judged. Fleets, Batch, "
            "SageMaker and Karpenter's nodes are not counted.",
        },
        "prices": {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0},
            "default": {},
            "description": "The site's own prices by instance type, in USD an hour; they go before the catalogue's.",
        },
    },
)

"""Groups of GPU instances that are never empty have a schedule, or a reason.

Outside production only: there a group that is always on is the normal case.
"""

from collections.abc import Iterator

from policies.node import Node
from policies.resources import Resource
from policies.rule import About, Group, Level, Rule, Scope, Severity, Violation, violation
from policies.subjects.doubt import same
from policies.subjects.gpu_groups import AUTOSCALING_GROUP, NODE_GROUP, SCHEDULE, gpu_types


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """It can be empty at times, or says why not."""
    if about.stack.production:
        return
    keys = ("scalingConfig", "minSize") if about.resource.type == NODE_GROUP else ("minSize",)
    least = inputs.number(*keys, default=0)
    if not least or not (types := gpu_types(about.resource, about.stack)):
        return
    reason = about.parameters["reasonTag"]
    if _tag(inputs, reason) or any(_empties(each, about, least) for each in about.stack.of_type(SCHEDULE)):
        return
    yield violation(
        inputs,
        *keys,
        what=f"{least} of {' or '.join(types)} run day and night",
        mend=f"lower it to 0, add an autoscaling schedule that does, or give the reason in the tag {reason}",
    )


def _tag(inputs: Node, name: str) -> str:
    """The tag's text; autoscaling groups have a list of tags, others a map."""
    for tag in inputs.each("tags"):
        if tag.get("key") == name:
            return str(tag.get("value", default="")).strip()
    return str(inputs.node("tags").get(name, default="")).strip()


def _empties(schedule: Resource, about: About, least: int) -> bool:
    """Whether a schedule lowers the group; one that names no size sets 0, and -1 leaves it as it is."""
    group = schedule.inputs.node("autoscalingGroupName")
    mine = schedule.refers_to(about.resource) or same(about.resource.inputs.node("name"), group)
    return mine and 0 <= schedule.inputs.number("minSize", default=0) < least


RULE = Rule(
    id="gpu-idle",
    title="Groups of GPU instances that are always on have a schedule or a reason",
    group=Group.CAPACITY,
    severity=Severity.LOW,
    level=Level.ADVISORY,
    reason="nights and weekends are two thirds of the hours that are paid",
    mend="let the group be empty at times, or say why not",
    source="AWS Well-Architected Framework, Cost Optimization Pillar, COST09-BP03 Supply resources dynamically",
    url="https://docs.aws.amazon.com/wellarchitected/latest/cost-optimization-pillar/cost_manage_demand_resources_dynamic.html",
    types=(AUTOSCALING_GROUP, NODE_GROUP),
    scope=Scope.STACK,
    check=check,
    parameters={
        "reasonTag": {
            "type": "string",
            "minLength": 1,
            "default": "always-on-reason",
            "description": "The tag whose text says why a group is always on.",
        }
    },
)

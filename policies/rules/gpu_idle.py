"""GPUs have something to do: groups of instances that are never empty have a schedule or a reason, and a platform uses its GPUs.

Groups are judged outside production only: there one that is always on is the normal case.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.aws.gpu_groups import AUTOSCALING_GROUP, NODE_GROUP, SCHEDULE, gpu_types
from policies.readers.engines.platform import taken_gpus
from policies.readers.unknown import each, same
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Level, Rule, Scope, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The pools of a platform; of AWS the group."""
    if resource.type == PLATFORM:
        yield from each(resource.inputs, "pools")
    else:
        yield resource.inputs


def check(node: Node, about: About) -> Iterator[Violation]:
    """A pool uses its GPUs, and a group can be empty at times."""
    if about.resource.type == PLATFORM:
        yield from _pool(node, about.resource.inputs)
    else:
        yield from _group(node, about)


def _pool(pool: Node, platform: Node) -> Iterator[Violation]:
    """Every GPU of its machines has an engine."""
    has = int(pool.number("gpus", default=0))
    taken = set(taken_gpus(platform))
    idle = {
        machine: free
        for machine in [str(node.get()) for node in pool.each("machines")]
        if (free := [index for index in range(has) if (machine, index) not in taken])
    }
    if idle:
        said = "; ".join(f"{', '.join(map(str, free))} of {machine}" for machine, free in idle.items())
        yield violation(
            pool,
            "gpus",
            what=f"no engine uses GPU {said}",
            mend="give them to a model (gpus, replicas), or make the pool smaller",
        )


def _group(inputs: Node, about: About) -> Iterator[Violation]:
    """It can be empty at times, or says why not."""
    if about.stack.production:
        return
    keys = ("scalingConfig", "minSize") if about.resource.type == NODE_GROUP else ("minSize",)
    least = inputs.number(*keys, default=0)
    if not least or not (types := gpu_types(about.resource, about.stack)):
        return
    reason = about.parameters["reasonTag"]
    if _tag(inputs, reason) or any(_empties(found, about, least) for found in about.stack.of_type(SCHEDULE)):
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
    title="GPUs have work: groups that are always on have a schedule or a reason, and engines use the GPUs of their pool",
    group=Group.CAPACITY,
    severity=Severity.LOW,
    level=Level.ADVISORY,
    reason="an idle GPU is paid for as a busy one is, and nights and weekends are two thirds of the hours",
    mend="let the group be empty at times, or say why not",
    source="AWS Well-Architected Framework, Cost Optimization Pillar, COST09-BP03 Supply resources dynamically",
    url="https://docs.aws.amazon.com/wellarchitected/latest/cost-optimization-pillar/cost_manage_demand_resources_dynamic.html",
    types=(AUTOSCALING_GROUP, NODE_GROUP, PLATFORM),
    scope=Scope.STACK,
    items=items,
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

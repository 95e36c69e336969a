"""GPUs are spot capacity only where the site allows it.

Only GPUs: runners of a CI may be spot without asking here. A resource whose instance type is not in the stack is not judged;
a Karpenter pool is one of GPUs where its requirements, limits or taints say so.

Not judged: pods that may run on spot nodes but do not demand them (the pools are), a demand beside another that is not known.
"""

from collections.abc import Iterator

from policies.node import Node
from policies.readers.aws import gpu_groups as aws
from policies.readers.kubernetes.karpenter import NODE_POOL, has_gpus, is_pool, spot_requirement
from policies.readers.kubernetes.pods import ANY, Pod, containers_of
from policies.readers.kubernetes.workloads import running
from policies.resources import Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation

_AFFINITY = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
_SPOT_LABELS = {
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-preemptible": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
}


def items(resource: Resource) -> Iterator[Node]:
    """An AWS resource or a pool of nodes; of other resources of Kubernetes each pod."""
    if resource.type.startswith("aws:") or is_pool(resource):
        yield resource.inputs
    else:
        yield from running(resource)


def check(node: Node, about: About) -> Iterator[Violation]:
    """No GPU that may be taken away."""
    if about.parameters["allowed"]:
        return
    if isinstance(node, Pod):
        yield from _pod(node)
        return
    if is_pool(about.resource):
        found = spot_requirement(node)
        if found is not None and has_gpus(node):
            yield violation(found, what="the pool starts GPU nodes of spot capacity")
        return
    keys = _spot(node, about.resource.type)
    if keys is not None and (types := aws.gpu_types(about.resource, about.stack)):
        yield violation(node, *keys, what=f"{' or '.join(types)} may be spot capacity")


def _spot(inputs: Node, kind: str) -> tuple[str, ...] | None:
    """Where an AWS resource asks for spot capacity; None where it does not."""
    if kind in {aws.SPOT_REQUEST, aws.SPOT_FLEET}:
        return ()
    if kind == aws.FLEET:
        wanted: tuple[str, ...] = ("targetCapacitySpecification", "spotTargetCapacity")
        if inputs.number(*wanted, default=0) > 0:
            return wanted
        keys: tuple[str, ...] = ("targetCapacitySpecification", "defaultTargetCapacityType")
        return keys if inputs.get(*keys) == "spot" else None
    if kind == aws.BATCH:
        keys = ("computeResources", "type")
        return keys if inputs.get(*keys) == "SPOT" else None
    if kind == aws.NODE_GROUP:
        return ("capacityType",) if inputs.get("capacityType") == "SPOT" else None
    if kind == aws.AUTOSCALING_GROUP:
        keys = ("mixedInstancesPolicy", "instancesDistribution", "onDemandPercentageAboveBaseCapacity")
        return keys if inputs.number(*keys, default=100) < 100 else None
    if kind == aws.LAUNCH_CONFIGURATION:
        return ("spotPrice",) if inputs.has("spotPrice") else None
    return ("instanceMarketOptions", "marketType") if aws.market(inputs) == "spot" else None


def _pod(pod: Pod) -> Iterator[Violation]:
    """It demands spot nodes, by a selector or by an affinity; where it only may run on them, the pools are judged."""
    for place in _demanded(pod):
        if any(container.gpus() for container in containers_of(pod)):
            yield violation(place, what="the pod's GPUs are spot capacity")


def _demanded(pod: Pod) -> Iterator[Node]:
    selector = pod.node("nodeSelector")
    for label, value in _SPOT_LABELS.items():
        if selector.get(label) == value:
            yield selector.node(label)
    for term in pod.each(*_AFFINITY):
        for demand in term.each("matchExpressions"):
            spot = _SPOT_LABELS.get(str(demand.get("key")))
            if demand.get("operator") == "In" and demand.get("values") == [spot]:
                yield demand


RULE = Rule(
    id="spot-allowed",
    title="GPUs are spot capacity only where that is allowed",
    group=Group.CAPACITY,
    severity=Severity.MEDIUM,
    reason="the cloud takes spot GPUs away at two minutes' notice, and a model takes longer to load on the next",
    mend="use on-demand or reserved capacity, or set the parameter allowed",
    source="Amazon EC2 User Guide, Best practices for Amazon EC2 Spot",
    url="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-best-practices.html",
    types=(
        aws.INSTANCE,
        aws.LAUNCH_TEMPLATE,
        aws.LAUNCH_CONFIGURATION,
        aws.AUTOSCALING_GROUP,
        aws.NODE_GROUP,
        aws.SPOT_REQUEST,
        aws.SPOT_FLEET,
        aws.FLEET,
        aws.BATCH,
        NODE_POOL,
        ANY,
    ),
    scope=Scope.STACK,
    items=items,
    check=check,
    parameters={
        "allowed": {
            "type": "boolean",
            "default": False,
            "description": "Whether GPUs of this stack may be spot capacity.",
        }
    },
)

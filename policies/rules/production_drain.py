"""In production what serves a model finishes its requests before it goes.

Pods: enough time to end, a disruption budget, no Recreate. AWS target groups: a pause before connections are cut (the default
is 300 s). Slipway's platform: the engine's own pause. Jobs serve nobody.
"""

from collections.abc import Iterator

from policies.node import Node
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation
from policies.subjects.kubernetes import ANY, Pod
from policies.subjects.serving import budgets, served_by, serves_engine
from policies.subjects.workloads import running

_TARGET_GROUPS = ("aws:lb/targetGroup:TargetGroup", "aws:alb/targetGroup:TargetGroup")
_JOBS = "kubernetes:batch/"
_GRACE = 30
"""Seconds that Kubernetes gives where a pod does not say."""


def items(resource: Resource) -> Iterator[Node]:
    """The resource, and then each of its pods."""
    yield resource.inputs
    if not resource.type.startswith(_JOBS):
        yield from running(resource)


def check(node: Node, about: About) -> Iterator[Violation]:
    """Whichever it is, it drains."""
    resource, seconds = about.resource, about.parameters["seconds"]
    if not about.stack.production:
        return
    if isinstance(node, Pod):
        yield from _pod(node, about)
    elif resource.type == PLATFORM:
        pause = node.number("engine", "drainSeconds", default=seconds)
        if pause < seconds:
            yield violation(node, "engine", "drainSeconds", what=f"the engine ends its requests after {pause} s")
    elif resource.type in _TARGET_GROUPS:
        if node.number("deregistrationDelay", default=300) == 0:
            yield violation(node, "deregistrationDelay", what="the load balancer cuts connections at once")
    elif node.node("spec", "strategy").get("type") == "Recreate" and served_by(resource) == "engine":
        yield violation(
            node,
            "spec",
            "strategy",
            "type",
            what="each update ends all pods before the first new one starts",
            mend="use RollingUpdate, with maxSurge 0 where no GPU is spare",
        )


def _pod(pod: Pod, about: About) -> Iterator[Violation]:
    if not serves_engine(pod):
        return
    seconds = about.parameters["seconds"]
    grace = pod.number("terminationGracePeriodSeconds", default=_GRACE)
    if grace < seconds:
        yield violation(pod, "terminationGracePeriodSeconds", what=f"the pod is ended after {grace} s")
    # Where the template has no metadata, as in KServe, the controller makes the labels up.
    if pod.metadata.data is not None and not any(budgets(pod, about.resource, about.stack)):
        yield violation(
            pod.metadata,
            "labels",
            what="no PodDisruptionBudget of the stack selects the pod",
            mend="add a PodDisruptionBudget with maxUnavailable 1 whose selector matches these labels",
        )


RULE = Rule(
    id="production-drain",
    title="In production what serves a model finishes its requests before it goes",
    group=Group.CAPACITY,
    severity=Severity.MEDIUM,
    reason="answers that are being written break off at each update and each drain of a node",
    mend="give it the time that the longest answers take, 60 s at least",
    source="Kubernetes documentation, Pod Lifecycle, Termination of Pods",
    url="https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
    types=(PLATFORM, *_TARGET_GROUPS, ANY),
    scope=Scope.STACK,
    items=items,
    check=check,
    parameters={
        "seconds": {
            "type": "integer",
            "minimum": 0,
            "default": 60,
            "description": "Seconds that a pod or an engine has at least to finish its requests.",
        }
    },
)

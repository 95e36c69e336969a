"""In production what serves a model finishes its requests before it goes.

Pods: enough time to end, a disruption budget, no Recreate. AWS target groups: a pause before connections are cut (the default
is 300 s). Slipway's platform: what each engine's unit waits. Jobs serve nobody.

Not judged: a budget that allows as many pods to go as there are; scripts of a preStop hook, besides a `sleep` in them.
"""

import re
from collections.abc import Iterator

from policies.node import Key, Node, UnknownValueError
from policies.readers.engines.platform import PlatformLaunch, served
from policies.readers.engines.sources import called
from policies.readers.kubernetes.pods import ANY, Pod
from policies.readers.kubernetes.selection import labels_place
from policies.readers.kubernetes.serving import budgets, served_by, serves_engine
from policies.readers.kubernetes.workloads import containers_with_image, running
from policies.readers.unknown import Question, unknown_as_item
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation

_TARGET_GROUPS = ("aws:lb/targetGroup:TargetGroup", "aws:alb/targetGroup:TargetGroup")
_JOBS = "kubernetes:batch/"
_GRACE = 30
"""Seconds that Kubernetes gives where a pod does not say."""


_SLEEP = re.compile(r"\bsleep\s+(\d+)")


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The resource, and then what is asked of each of its pods."""
    if resource.type == PLATFORM:
        for launch in unknown_as_item(served(resource.inputs)):
            yield launch if isinstance(launch, UnknownValueError) else Question(launch, _drain)
        return
    yield Question(resource.inputs, _strategy if resource.type.startswith("kubernetes:") else _pause)
    if not resource.type.startswith(_JOBS):
        for pod in running(resource):
            yield from (Question(pod, question) for question in (_grace, _hooks, _budget))


def check(asked: Question, about: About) -> Iterator[Violation]:
    """What is asked of the item holds, in production."""
    if about.stack.production:
        yield from asked.answers(about)


def _drain(launch: PlatformLaunch, about: About) -> Iterator[Violation]:
    """Of one model of Slipway's platform: what its units wait when they are stopped."""
    seconds = about.parameters["seconds"]
    pause = launch.number("engine", "drainSeconds", default=seconds)
    if pause < seconds:
        what = f"the engines of {called(launch)} end their requests after {pause} s"
        yield violation(
            launch, "engine", "drainSeconds", what=what, mend=f"raise gateway.request_timeout_s to {seconds} s"
        )


def _pause(node: Node, about: About) -> Iterator[Violation]:
    """Of a target group."""
    if node.number("deregistrationDelay", default=300) == 0:
        yield violation(node, "deregistrationDelay", what="the load balancer cuts connections at once")


def _strategy(node: Node, about: About) -> Iterator[Violation]:
    """Of a workload: not all pods go before the first new one is there."""
    keys: tuple[Key, ...] = ("spec", "strategy", "rollingUpdate", "maxUnavailable")
    if node.node("spec", "strategy").get("type") == "Recreate":
        keys = ("spec", "strategy", "type")
    elif node.get(*keys) != "100%":
        return
    if served_by(about.resource) == "engine":
        yield violation(
            node,
            *keys,
            what="each update ends all pods before the first new one starts",
            mend="use RollingUpdate with maxUnavailable 1, and maxSurge 0 where no GPU is spare",
        )


def _grace(pod: Pod, about: About) -> Iterator[Violation]:
    """Time to end."""
    seconds = about.parameters["seconds"]
    grace = pod.number("terminationGracePeriodSeconds", default=_GRACE)
    if grace < seconds and serves_engine(pod):
        yield violation(pod, "terminationGracePeriodSeconds", what=f"the pod is ended after {grace} s")


def _hooks(pod: Pod, about: About) -> Iterator[Violation]:
    """What waits before the signal to end leaves time after it."""
    for container in containers_with_image(pod):
        hook = container.node("lifecycle", "preStop")
        pause = hook.number("sleep", "seconds", default=0)
        found = _SLEEP.search(" ".join(map(str, hook.get("exec", "command", default=[]))))
        if found is not None:
            pause = int(found[1])
        # Without a pause there is nothing to say, whatever the time.
        if pause >= max(1, pod.number("terminationGracePeriodSeconds", default=_GRACE)) and serves_engine(pod):
            yield violation(
                container,
                *("lifecycle", "preStop"),
                what=f"the hook sleeps {pause} s, which is all the time that the pod has to end",
                mend="set terminationGracePeriodSeconds to the pause and the time that the longest answers take",
            )


def _budget(pod: Pod, about: About) -> Iterator[Violation]:
    """A disruption budget that holds something back."""
    # Where the template has no metadata, as in KServe, the controller makes the labels up.
    if pod.metadata.data is not None and serves_engine(pod) and not any(budgets(pod, about.resource, about.stack)):
        yield violation(
            labels_place(about.resource, pod),
            what="no PodDisruptionBudget of the stack selects the pod, and keeps one of them",
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

"""A production stack has two or more replicas of each engine and gateway.

An autoscaler that targets the workload decides, whatever `replicas` says. A workload that is switched off (0 replicas) serves
nobody, and is left alone. Workloads in Helm charts are judged where the chart is rendered into resources.
"""

from collections.abc import Iterator

from policies.node import Node
from policies.resources import PLATFORM
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation
from policies.subjects.serving import least_of_autoscaler, served_by

_INFERENCE_SERVICE = "kubernetes:serving.kserve.io/*:InferenceService"
_KSERVE = "kubernetes:serving.kserve.io/"
_LEAST = 2


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """Two at least."""
    resource = about.resource
    if not about.stack.production:
        return
    if resource.type == PLATFORM:
        count = inputs.number("engine", "replicas", default=_LEAST)
        if count < _LEAST:
            yield violation(
                inputs,
                "engine",
                "replicas",
                what=f"{count} host runs the engine",
                mend="run the engine on a second host",
            )
        return
    kind = served_by(resource)
    if kind is None:
        return
    keys = ("spec", "predictor", "minReplicas") if resource.type.startswith(_KSERVE) else ("spec", "replicas")
    scaler = least_of_autoscaler(resource, about.stack)
    if scaler is not None:
        by, least = scaler
        if least < _LEAST:
            yield violation(
                inputs,
                *keys,
                what=f"the autoscaler {by.name} leaves {least} of the {kind}",
                mend=f"let {by.name} leave two at least",
            )
    elif inputs.number(*keys, default=1) == 1:
        yield violation(inputs, *keys, what=f"one pod is the whole {kind}")


RULE = Rule(
    id="production-replicas",
    title="In production each engine and gateway has two replicas at least",
    group=Group.CAPACITY,
    severity=Severity.HIGH,
    reason="each drain of a node, each update and each fault of a GPU stops the service, for minutes while weights load",
    mend="set replicas to 2, or let an autoscaler leave two at least",
    source="Kubernetes documentation, Disruptions, Dealing with disruptions",
    url="https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#dealing-with-disruptions",
    types=(
        PLATFORM,
        "kubernetes:apps/v1:Deployment",
        "kubernetes:apps/v1:StatefulSet",
        "kubernetes:apps/v1:ReplicaSet",
        "kubernetes:argoproj.io/*:Rollout",
        "kubernetes:leaderworkerset.x-k8s.io/*:LeaderWorkerSet",
        _INFERENCE_SERVICE,
    ),
    scope=Scope.STACK,
    check=check,
)

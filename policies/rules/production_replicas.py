"""A production stack has two or more replicas of each engine and gateway.

Of Slipway's platform each model runs on two machines or more.

An autoscaler that targets the workload decides, whatever `replicas` says. A workload that is switched off (0 replicas) serves
nobody, and is left alone. Workloads in Helm charts are judged where the chart is rendered into resources.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.engines.platform import PlatformLaunch, served
from policies.readers.engines.sources import called
from policies.readers.kubernetes.serving import least_of_autoscaler, served_by
from policies.readers.unknown import unknown_as_item
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation

_INFERENCE_SERVICE = "kubernetes:serving.kserve.io/*:InferenceService"
_KSERVE = "kubernetes:serving.kserve.io/"
_LEAST = 2


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """Two at least."""
    resource = about.resource
    if not about.stack.production:
        return
    if isinstance(inputs, PlatformLaunch):
        yield from _machines(inputs)
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


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The models of a platform; of Kubernetes the resource."""
    if resource.type == PLATFORM:
        yield from unknown_as_item(served(resource.inputs))
    else:
        yield resource.inputs


def _machines(launch: PlatformLaunch) -> Iterator[Violation]:
    """Two replicas on one machine go together when that machine does."""
    # A replica that machines share is one: it goes with any of them.
    instances = [instance for instance in launch.instances() if instance.is_asked]
    machines = sorted({instance.machine for instance in instances})
    if instances and len(machines) < _LEAST:
        number = "one replica runs" if len(instances) == 1 else f"all {len(instances)} replicas run"
        what = f"{number} {called(launch)}, on machine {machines[0]}"
        mend = "have a second machine of the pool serve it as well"
        # The list itself would say too much.
        yield Violation(where=launch.at("instances"), value="", what=what, mend=mend)


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
    items=items,
    check=check,
)

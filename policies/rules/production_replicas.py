"""A production stack has two or more replicas of each engine and gateway.

Of Slipway's platform no machine has a part in all replicas of a model.

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
    """Replicas that have a machine in common go together when it does; one that machines share goes with any of them."""
    replicas: dict[str, set[str]] = {}
    for number, instance in enumerate(launch.instances()):
        replicas.setdefault(instance.replica or str(number), set()).add(instance.machine)
    common = sorted(set.intersection(*replicas.values())) if replicas else []
    if common:
        runs = "one replica runs" if len(replicas) == 1 else f"all {len(replicas)} replicas run"
        where = f"machine {common[0]}" if len(common) == 1 else f"machines {', '.join(common)} together"
        what = f"{runs} {called(launch)}, on {where}"
        mend = "have a second machine of the pool serve it as well, or as many more as share it"
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

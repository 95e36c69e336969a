"""Kubernetes pods that serve a model or its gateway, and what stands around them: autoscalers and disruption budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.engines.programs import runs_engine, runs_litellm
from policies.readers.kubernetes.pods import Container, Pod
from policies.readers.kubernetes.selection import labels_of, namespace, selects
from policies.readers.kubernetes.workloads import lasting, running
from policies.readers.unknown import any_known, partition_known
from policies.resources import Resource, Stack

DISRUPTION_BUDGET = "kubernetes:policy/v1:PodDisruptionBudget"
AUTOSCALER = "HorizontalPodAutoscaler"
SCALED_OBJECT = "ScaledObject"
"""KEDA's."""


def serves_engine(pod: Pod) -> bool:
    """Whether an inference engine runs in the pod.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    return _any(pod, runs_engine)


def served_by(resource: Resource) -> str | None:
    """What the resource's pods serve: `engine`, `gateway`, or neither.

    Raises:
        UnknownValueError: neither command nor image say it.
    """
    found = list(running(resource))
    if any_known(found, serves_engine):
        return "engine"
    return "gateway" if any_known(found, lambda pod: _any(pod, runs_litellm)) else None


def least_of_autoscaler(workload: Resource, stack: Stack) -> tuple[Resource, int] | None:
    """The autoscaler that targets `workload` and the fewest replicas that it leaves; None where there is none.

    Raises:
        UnknownValueError: that number is unknown.
    """
    for scaler in stack.cached(_autoscalers):
        if not _targets(scaler, workload, stack):
            continue
        kind = scaler.type.rpartition(":")[2]
        # Kubernetes leaves at least 1 where nothing is said, KEDA 0.
        key, default = ("minReplicas", 1) if kind == AUTOSCALER else ("minReplicaCount", 0)
        return scaler, int(scaler.inputs.get("spec", key, default=default))
    return None


def _autoscalers(stack: Stack) -> list[Resource]:
    return [resource for resource in stack.resources if resource.type.rpartition(":")[2] in {AUTOSCALER, SCALED_OBJECT}]


def _targets(scaler: Resource, workload: Resource, stack: Stack) -> bool:
    """Whether it is the workload that the autoscaler names.

    Raises:
        UnknownValueError: one of the names is unknown, and no reference tells.
    """
    referred = scaler.dependencies.get("spec", ())
    target = scaler.inputs.node("spec", "scaleTargetRef")
    if target.node("name").data is UNKNOWN and referred:
        return workload.urn in referred
    # A workload without a name of its own is given one that nobody knows.
    name, own = target.get("name"), workload.inputs.get("metadata", "name")
    if name is None or name != own:
        return False
    same_kind = target.get("kind", default="Deployment") == workload.type.rpartition(":")[2]
    return same_kind and namespace(scaler, stack) == namespace(workload, stack)


def budgets(pod: Pod, workload: Resource, stack: Stack) -> Iterator[Resource]:
    """The disruption budgets that cover the pod.

    Raises:
        UnknownValueError: none that is known covers it, and whether another one does is unknown.
    """
    by_namespace, elsewhere = stack.cached(_budgets)
    # No budget, no question: then it is no matter which namespace, and which labels, the pod has.
    near = by_namespace.get(namespace(workload, stack), []) if by_namespace else []
    labels = labels_of(workload, pod) if near else Node({})
    found, first_unknown = partition_known(
        near, lambda budget: selects(budget.inputs.node("spec", "selector"), labels) and not _lets_all_go(budget.inputs)
    )
    yield from found
    for unknown in (first_unknown, *elsewhere):
        if unknown is not None:
            raise unknown


def _budgets(stack: Stack) -> tuple[dict[str, list[Resource]], list[UnknownValueError]]:
    """The stack's budgets by namespace, and what is not known of the namespaces of others."""
    by_namespace: dict[str, list[Resource]] = {}
    elsewhere: list[UnknownValueError] = []
    for budget in stack.of_type(DISRUPTION_BUDGET):
        try:
            # One without a selector covers nothing; one with an empty selector covers the whole namespace.
            if budget.inputs.has("spec", "selector"):
                by_namespace.setdefault(namespace(budget, stack), []).append(budget)
        except UnknownValueError as unknown:
            elsewhere.append(unknown)
    return by_namespace, elsewhere


def _lets_all_go(budget: Node) -> bool:
    """Whether the budget holds nothing back."""
    least, most = budget.get("spec", "minAvailable"), budget.get("spec", "maxUnavailable")
    return str(least) in {"0", "0%"} or str(most) == "100%"


def _any(pod: Pod, runs: Callable[[Container], bool]) -> bool:
    """Whether it runs in one of the pod's containers; those that only prepare the pod are passed over."""
    return any_known(lasting(pod), runs)

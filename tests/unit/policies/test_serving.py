"""Pods that serve a model or its gateway, and what stands around them."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, UnknownValueError
from policies.readers.kubernetes.pods import pods
from policies.readers.kubernetes.serving import budgets, least_of_autoscaler, served_by
from policies.resources import Resource, Stack

VLLM = {"name": "vllm", "image": "vllm/vllm-openai:v0.32.0"}
LITELLM = {"name": "litellm", "image": "ghcr.io/berriai/litellm:v1.80.0"}
WEB = {"name": "web", "image": "nginx:1.29"}
OTHER = {"name": "other", "image": UNKNOWN}
POD = "kubernetes:core/v1:Pod"
SIDECAR = {"restartPolicy": "Always"}


def workload(*containers: Any, init: Any = (), **metadata: Any) -> Resource:
    spec = {"initContainers": list(init), "containers": list(containers)}
    template = {"metadata": {"labels": {"app": "it"}}, "spec": spec}
    inputs = {"metadata": {"name": "it", "namespace": "llm"} | metadata, "spec": {"template": template}}
    return Resource.plain("kubernetes:apps/v1:Deployment", "it", inputs)


@pytest.mark.parametrize(
    ("resource", "served"),
    [
        (workload(WEB), None),
        (workload(WEB, LITELLM), "gateway"),
        (workload(LITELLM, VLLM), "engine"),
        (workload(OTHER, VLLM), "engine"),
        (workload(WEB, init=[VLLM, LITELLM]), None),
        (workload(WEB, init=[VLLM | SIDECAR]), "engine"),
    ],
)
def test_what_pods_serve(resource: Resource, served: str | None) -> None:
    assert served_by(resource) == served


def test_a_container_that_is_not_known_may_serve_it() -> None:
    with pytest.raises(UnknownValueError, match="image"):
        served_by(workload(OTHER, LITELLM))


def test_a_pod_that_is_not_known_hides_no_engine_in_another() -> None:
    groups = {"leaderTemplate": {"spec": {"containers": [OTHER]}}, "workerTemplate": {"spec": {"containers": [VLLM]}}}
    kind = "kubernetes:leaderworkerset.x-k8s.io/v1:LeaderWorkerSet"
    assert served_by(Resource.plain(kind, "it", {"spec": {"leaderWorkerTemplate": groups}})) == "engine"


HPA, KEDA = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler", "kubernetes:keda.sh/v1alpha1:ScaledObject"
IT, ANOTHER = workload(VLLM), Resource.plain("kubernetes:apps/v1:Deployment", "another", {})


def scaler(kind: str, target: Any, *refers: Resource, **spec: Any) -> Resource:
    inputs = {"metadata": {"namespace": "llm"}, "spec": {"scaleTargetRef": target, **spec}}
    return Resource.plain(kind, "s", inputs, dependencies={"spec": tuple(each.urn for each in refers)})


@pytest.mark.parametrize(
    ("made", "least"),
    [
        (scaler(HPA, {"kind": "Deployment", "name": "it"}), 1),
        (scaler(KEDA, {"name": "it"}), 0),
        (scaler(HPA, {"kind": "Deployment", "name": "it"}, minReplicas=3, minReplicaCount=9), 3),
        (scaler(KEDA, {"name": "it"}, minReplicas=9, minReplicaCount=3), 3),
        (scaler(KEDA, {"kind": "StatefulSet", "name": "it"}), None),
        (scaler(KEDA, {"name": "other"}, IT), None),
        (scaler(KEDA, {"name": UNKNOWN}, IT), 0),
        (scaler(KEDA, {"name": UNKNOWN}, ANOTHER), None),
        (scaler("kubernetes:autoscaling.k8s.io/v1:VerticalPodAutoscaler", {"name": "it"}), None),
    ],
)
def test_the_fewest_that_an_autoscaler_leaves(made: Resource, least: int | None) -> None:
    found = least_of_autoscaler(IT, Stack(resources=(IT, made)))
    assert (None if found is None else found[1]) == least


def test_a_target_that_is_not_known_is_told() -> None:
    made = scaler(KEDA, {"name": UNKNOWN})
    with pytest.raises(UnknownValueError, match="name"):
        least_of_autoscaler(IT, Stack(resources=(IT, made)))


def test_a_workload_without_a_name_is_no_target_of_a_nameless_one() -> None:
    nameless = workload(VLLM, name=None)
    assert least_of_autoscaler(nameless, Stack(resources=(nameless, scaler(KEDA, {})))) is None


@pytest.mark.parametrize(
    ("spec", "covers"),
    [
        ({"minAvailable": 1}, True),
        ({"maxUnavailable": 0}, True),
        ({"maxUnavailable": "50%"}, True),
        ({"minAvailable": "10%"}, True),
        ({"minAvailable": 0}, False),
        ({"minAvailable": "0%"}, False),
        ({"maxUnavailable": "100%"}, False),
        ({"minAvailable": 1, "selector": {"matchLabels": {"app": "other"}}}, False),
        ({"minAvailable": 1, "selector": None}, False),
    ],
)
def test_budgets_that_cover_a_pod(spec: dict[str, Any], covers: bool) -> None:
    given = {"metadata": {"namespace": "llm"}, "spec": {"selector": {}} | spec}
    budget = Resource.plain("kubernetes:policy/v1:PodDisruptionBudget", "b", given)
    (pod,) = pods(IT)
    assert bool(list(budgets(pod, IT, Stack(resources=(IT, budget))))) is covers


def test_without_budgets_neither_namespace_nor_labels_matter() -> None:
    nowhere = workload(VLLM, namespace=UNKNOWN)
    (pod,) = pods(nowhere)
    assert list(budgets(pod, nowhere, Stack(resources=(nowhere,)))) == []
    far = {"metadata": {"namespace": "web"}, "spec": {"selector": {}}}
    budget = Resource.plain("kubernetes:policy/v1:PodDisruptionBudget", "b", far)
    (pod,) = pods(Resource.plain(POD, "it", {"metadata": {"labels": UNKNOWN}, "spec": {"containers": [VLLM]}}))
    assert list(budgets(pod, IT, Stack(resources=(IT, budget)))) == []

"""Pods are found wherever they stand, and what may hold one and is not known yet is told, and hides no other."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.kubernetes.pods import Container, Pod, image, pods
from policies.resources import Resource

SPEC = {"spec": {"containers": [{"name": "it", "image": "registry.example/it:1"}]}}


def found(kind: str, inputs: dict[str, Any]) -> tuple[list[str], str | None]:
    """Paths of the pods, and of what is not known."""
    paths = []
    try:
        for pod in pods(Resource.plain(f"kubernetes:{kind}", "it", inputs)):
            paths.append(pod.path)  # noqa: PERF401 -- those before the unknown count
    except UnknownValueError as unknown:
        return paths, unknown.path
    return paths, None


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("apps/v1:Deployment", ("spec",)),
        ("apps/v1:Deployment", ("spec", "template")),
        ("apps/v1:DaemonSet", ("spec", "template", "spec")),
        ("core/v1:Pod", ("spec",)),
        ("core/v1:PodTemplate", ("template",)),
        ("batch/v1:CronJob", ("spec", "jobTemplate", "spec", "template")),
        ("batch/v1:CronJob", ("spec", "jobTemplate", "spec", "template", "spec")),
        ("leaderworkerset.x-k8s.io/v1:LeaderWorkerSet", ("spec", "leaderWorkerTemplate")),
        ("leaderworkerset.x-k8s.io/v1:LeaderWorkerSet", ("spec", "leaderWorkerTemplate", "workerTemplate")),
        ("serving.kserve.io/v1beta1:InferenceService", ("spec", "predictor")),
        ("ray.io/v1:RayCluster", ("spec", "workerGroupSpecs")),
        ("kubeflow.org/v1:PyTorchJob", ("spec", "pytorchReplicaSpecs", "Worker")),
        ("example.com/v1:Engine", ("spec", "template")),
    ],
)
def test_what_may_hold_a_pod_and_is_unknown_is_told(kind: str, keys: tuple[str, ...]) -> None:
    inputs: Any = UNKNOWN
    for key in reversed(keys):
        inputs = {key: inputs}
    assert found(kind, inputs) == ([], ".".join(keys))


@pytest.mark.parametrize(
    ("kind", "inputs", "path"),
    [
        (
            "jobset.x-k8s.io/v1alpha2:JobSet",
            {"spec": {"replicatedJobs": [{"name": "a"}, {"template": {"spec": {"template": SPEC}}}]}},
            "spec.replicatedJobs[1].template.spec.template.spec",
        ),
        (
            "ray.io/v1:RayCluster",
            {"spec": {"workerGroupSpecs": [{"template": SPEC}]}},
            "spec.workerGroupSpecs[0].template.spec",
        ),
    ],
)
def test_pods_in_lists_are_found(kind: str, inputs: dict[str, Any], path: str) -> None:
    assert found(kind, inputs) == ([path], None)


def test_an_unknown_template_hides_no_other() -> None:
    group = {"leaderTemplate": UNKNOWN, "workerTemplate": SPEC}
    told = found("leaderworkerset.x-k8s.io/v1:LeaderWorkerSet", {"spec": {"leaderWorkerTemplate": group}})
    at = "spec.leaderWorkerTemplate"
    assert told == ([f"{at}.workerTemplate.spec"], f"{at}.leaderTemplate")


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("apps/v1:Deployment", {"spec": {"replicas": UNKNOWN, "template": SPEC}}),
        ("apps/v1:StatefulSet", {"spec": {"serviceName": UNKNOWN, "template": SPEC}}),
        ("apps/v1:StatefulSet", {"spec": {"volumeClaimTemplates": UNKNOWN, "template": SPEC}}),
        ("apps/v1:Deployment", {"metadata": {"labels": UNKNOWN}, "spec": {"template": SPEC}}),
    ],
)
def test_what_holds_no_pod_may_be_unknown(kind: str, inputs: dict[str, Any]) -> None:
    assert found(kind, inputs) == (["spec.template.spec"], None)


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("core/v1:ConfigMap", {"data": UNKNOWN}),
        ("external-secrets.io/v1:ExternalSecret", {"spec": {"target": {"template": UNKNOWN}}}),
        ("kyverno.io/v1:ClusterPolicy", {"spec": UNKNOWN}),
    ],
)
def test_other_resources_hold_none(kind: str, inputs: dict[str, Any]) -> None:
    assert found(kind, inputs) == ([], None)


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("vllm/vllm-openai", ("vllm/vllm-openai", None, None)),
        ("registry.example:5000/it:1.0", ("registry.example:5000/it", "1.0", None)),
        ("registry.example:5000/it", ("registry.example:5000/it", None, None)),
        (f"it:1.0@{DIGEST}", ("it", "1.0", DIGEST)),
        ("it:1.0@sha256:short", ("it:1.0@sha256:short", None, None)),
    ],
)
def test_parts_of_an_image_reference(reference: str, parts: tuple[str, str | None, str | None]) -> None:
    assert image(reference) == parts


def test_accelerators_are_counted_where_a_number_is_said() -> None:
    limits = {"nvidia.com/gpu": "2", "nvidia.com/mig-1g.5gb": 1, "amd.com/gpu": "{{ .gpus }}", "cpu": 4}
    limits |= {
        "nvidia.com/gpumem": 10000,
        "nvidia.com/gpucores": 30,
        "nvidia.com/gpumem-percentage": 50,
        "nvidia.com/hostdev": 1,
    }
    it = Container({"resources": {"limits": limits}}, "it", Pod({}, "", Node(None)))
    assert (it.gpus(), it.gpus(kind="requests")) == ({"nvidia.com/gpu": 2, "nvidia.com/mig-1g.5gb": 1}, {})

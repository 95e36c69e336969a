"""Starts of any engine, and of gateways, wherever they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.node import UNKNOWN, UnknownValueError
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.launches import gateways, launches
from policies.resources import PLATFORM, Resource

VLLM = {"name": "vllm", "image": "vllm/vllm-openai:v0.32.0"}
SGLANG = {"name": "sglang", "image": "lmsysorg/sglang:v0.5.20"}
TGI = {"name": "tgi", "image": "ghcr.io/huggingface/text-generation-inference:3.3.4"}
LITELLM = {"name": "litellm", "image": "ghcr.io/berriai/litellm:v1.80.0"}
OTHER = {"name": "other", "image": UNKNOWN}
WEB = {"name": "web", "image": "nginx:1.29"}
TASK, MACHINE, POD = "aws:ecs/taskDefinition:TaskDefinition", "aws:ec2/instance:Instance", "kubernetes:core/v1:Pod"


def told(kind: str, inputs: dict[str, Any]) -> list[str]:
    """The engines, and where what is not known stands."""
    return [
        found.path if isinstance(found, UnknownValueError) else found.terms.shown
        for found in launches(Resource.plain(kind, "it", inputs))
        if isinstance(found, UnknownValueError | ContainerLaunch)
    ]


def spec(*containers: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


SCRIPT = "docker run vllm/vllm-openai:v0.32.0 --model m\ndocker run lmsysorg/sglang:v0.5.20 --model-path m\n"


@pytest.mark.parametrize(
    ("kind", "inputs", "found"),
    [
        (POD, spec(VLLM, SGLANG, TGI, LITELLM, WEB), ["vLLM", "SGLang", "Text Generation Inference"]),
        (TASK, {"containerDefinitions": json.dumps([VLLM, SGLANG, TGI, WEB])}, [
            "vLLM",
            "SGLang",
            "Text Generation Inference",
        ]),
        (TASK, {"containerDefinitions": [WEB | {"entryPoint": ["vllm", "serve"]}, VLLM | {"entryPoint": ["sh"]}]}, [
            "vLLM",
        ]),
        (MACHINE, {"userData": SCRIPT + "docker run nginx"}, ["vLLM", "SGLang"]),
        (POD, spec(VLLM, OTHER), ["vLLM", "spec.containers[1].image"]),
        (POD, spec(VLLM | {"image": UNKNOWN, "args": ["--max-model-len=1"]}), ["vLLM"]),
        (TASK, {"containerDefinitions": UNKNOWN}, ["containerDefinitions"]),
        (TASK, {"containerDefinitions": [OTHER, VLLM]}, ["containerDefinitions[0].image", "vLLM"]),
        (MACHINE, {"userData": UNKNOWN}, ["userData"]),
        ("kubernetes:ray.io/v1:RayCluster", {"spec": {"headGroupSpec": {"template": spec(SGLANG)}}}, []),
        ("kubernetes:ray.io/v1:RayService", {"spec": {"serveConfigV2": "applications: []"}}, ["spec.serveConfigV2"]),
        ("kubernetes:ray.io/v1:RayService", {"spec": {}}, []),
        ("kubernetes:nvidia.com/v1alpha1:DynamoGraphDeployment", {"spec": {"services": {}}}, ["spec.services"]),
        ("kubernetes:example.com/v1:Engine", {"spec": {"services": {}}}, []),
    ],
)  # fmt: skip
def test_engines_wherever_they_start(kind: str, inputs: dict[str, Any], found: list[str]) -> None:
    assert sorted(told(kind, inputs)) == sorted(found)


def test_a_platform_starts_its_own() -> None:
    (one,) = launches(
        Resource.plain(PLATFORM, "it", {"models": [{"kind": "served", "id": "org/m"}, {"kind": "provided", "id": "a"}]})
    )
    assert not isinstance(one, UnknownValueError)
    assert one.model == "org/m"


def test_a_tasks_container_in_the_terms_of_kubernetes() -> None:
    task = {
        **VLLM,
        "command": ["--model", "m"],
        "environment": [{"name": "A", "value": "1"}],
        "secrets": [{"name": "VLLM_API_KEY", "valueFrom": "arn:aws:x"}],
        "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::x"}],
    }
    (one,) = launches(Resource.plain(TASK, "it", {"containerDefinitions": json.dumps([task])}))
    assert isinstance(one, ContainerLaunch)
    assert (one.path, one.model) == ("containerDefinitions[0]", "m")
    assert one.get("env") == [{"name": "A", "value": "1"}, {"name": "VLLM_API_KEY", "valueFrom": {}}]
    assert one.get("envFrom") == [{"secretRef": {}}]
    assert not one.has("command")
    (plain,) = launches(Resource.plain(TASK, "it", {"containerDefinitions": json.dumps([VLLM])}))
    assert isinstance(plain, ContainerLaunch)
    assert not any(map(plain.has, ("command", "args", "env", "envFrom")))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"storageUri": "hf://org/m", "env": [{"name": "A", "value": "1"}], "args": ["--x"]}, "hf://org/m"),
        ({"storageUri": "pvc://models/m", "args": ["--model-id=other"]}, "pvc://models/m"),
        ({"args": ["--model_id=org/m"]}, "org/m"),
    ],
)
def test_a_model_of_kserve(model: dict[str, Any], name: str) -> None:
    kind = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
    (one,) = launches(Resource.plain(kind, "it", {"spec": {"predictor": {"model": model}}}))
    assert isinstance(one, ContainerLaunch)
    assert (one.model, one.path, one.terms.key) == (name, "spec.predictor.model", ())
    assert one.get("env", default=[]) == model.get("env", [])


def test_only_kserve_has_such_models() -> None:
    model = {"spec": {"predictor": {"model": {"storageUri": "hf://org/m"}}}}
    assert told("kubernetes:serving.kserve.io/v1alpha1:TrainedModel", model) == []
    assert told("kubernetes:serving.kserve.io/v1beta1:InferenceService", {"spec": {"predictor": {}}}) == []


@pytest.mark.parametrize(
    ("kind", "inputs", "paths"),
    [
        (POD, spec(LITELLM, VLLM), ["spec.containers[0]"]),
        (TASK, {"containerDefinitions": json.dumps([VLLM, LITELLM])}, ["containerDefinitions[1]"]),
        (MACHINE, {"userData": "docker run ghcr.io/berriai/litellm:v1.80.0\ndocker run nginx"}, ["userData"]),
        (POD, spec(OTHER, LITELLM), ["spec.containers[0].image", "spec.containers[1]"]),
        (TASK, {"containerDefinitions": UNKNOWN}, ["containerDefinitions"]),
    ],
)
def test_gateways_wherever_they_start(kind: str, inputs: dict[str, Any], paths: list[str]) -> None:
    assert [found.path for found in gateways(Resource.plain(kind, "it", inputs))] == paths

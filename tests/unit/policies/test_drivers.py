"""Drivers and releases, compared as far as both say; what an image needs, and what a stack installs."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import Node
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.drivers import carries_its_own, container_needs, installed, selected
from policies.readers.kubernetes.pods import Container, Pod
from policies.resources import Resource, Stack
from slipway.versions import numbers, older


@pytest.mark.parametrize(
    ("one", "other", "is_older"),
    [
        ("550.144.03", "580.65.06", True),
        ("580.65.06", "580.65.06", False),
        ("580.65.05", "580.65.06", True),
        ("580.95.05", "580.65.06", False),
        ("580", "580.65.06", False),
        ("535", "580.65.06", True),
        ("595.12", "580.65.06", False),
        ("570.172.08-ubuntu22.04", "580.65.06", True),
        ("latest", "580.65.06", False),
    ],
)
def test_older(one: str, other: str, is_older: bool) -> None:
    assert older(one, other) is is_older


def test_numbers_end_at_the_build() -> None:
    assert numbers("580.65.06-ubuntu22.04") == [580, 65, 6]
    assert numbers("v0.10.1.1") == [0, 10, 1, 1]


def launch(pod: dict[str, Any] | None = None, **more: Any) -> ContainerLaunch:
    return ContainerLaunch(Container({"name": "it", **more}, "", Pod(pod or {}, "", Node(None))))


@pytest.mark.parametrize(
    ("image", "needs"),
    [
        ("vllm/vllm-openai:v0.32.0", ("13.0", "580.65.06", 7.5)),
        ("vllm/vllm-openai:v0.32.1", ("13.0", "580.65.06", 7.5)),
        ("vllm/vllm-openai:v0.32.0-cu130", ("13.0", "580.65.06", 7.5)),
        ("vllm/vllm-openai:v0.32.0-cu129", ("12", "525.60.13", 0.0)),
        ("vllm/vllm-openai:v0.32.0-cu118", None),
        ("vllm/vllm-openai:v0.32.0-cpu", None),
        ("vllm/vllm-openai-rocm:v0.32.0", None),
        ("vllm/vllm-openai:v0.1.0", None),
        ("vllm/vllm-openai:latest", None),
        ("vllm/vllm-openai", None),
    ],
)
def test_what_an_image_needs(image: str, needs: tuple[str, str, float] | None) -> None:
    found = container_needs(launch(image=image))
    assert (None if found is None else (found.cuda, found.driver, found.capability)) == needs


@pytest.mark.parametrize(
    ("name", "value", "its_own"),
    [
        ("VLLM_ENABLE_CUDA_COMPATIBILITY", "1", True),
        ("VLLM_ENABLE_CUDA_COMPATIBILITY", "True", True),
        ("VLLM_ENABLE_CUDA_COMPATIBILITY", "0", False),
        ("VLLM_USE_V1", "1", False),
    ],
)
def test_images_that_carry_their_own_driver(name: str, value: str, its_own: bool) -> None:
    assert carries_its_own(launch(env=[{"name": name, "value": value}])) is its_own


def test_the_driver_of_a_node_selector() -> None:
    labels = {"pool": "gpus", "nvidia.com/cuda.driver-version.major": 580}
    assert selected(launch({"nodeSelector": labels})) == "580"
    assert selected(launch({"nodeSelector": {"pool": "gpus"}})) is None
    assert selected(launch()) is None


@pytest.mark.parametrize(
    ("kind", "inputs", "drivers"),
    [
        ("helm.sh/v3:Release", {"chart": "gpu-operator", "values": {"driver": {"version": "580.1"}}}, ["580.1"]),
        ("helm.sh/v4:Chart", {"chart": "oci://x/gpu-operator/", "values": {"driver": {"version": 580}}}, ["580"]),
        ("helm.sh/v3:Release", {"chart": "my-gpu-operator", "values": {"driver": {"version": "580.1"}}}, []),
        ("helm.sh/v3:Release", {"chart": "gpu-operator", "values": {"driver": {"enabled": True}}}, []),
        ("helm.sh/v3:Release", {"chart": "gpu-operator"}, []),
        (
            "helm.sh/v3:Release",
            {"chart": "gpu-operator", "values": {"driver": {"enabled": False, "version": "580.1"}}},
            [],
        ),
        ("nvidia.com/v1:ClusterPolicy", {"spec": {"driver": {"version": "580.1"}}}, ["580.1"]),
        ("nvidia.com/v1:ClusterPolicy", {"spec": {"driver": {"version": "580.1", "enabled": False}}}, []),
        ("nvidia.com/v1:ClusterPolicy", {"spec": {"driver": {"enabled": True}}}, []),
        ("nvidia.com/v1alpha1:NVIDIADriver", {"spec": {"version": "580.1"}}, ["580.1"]),
        ("nvidia.com/v1alpha1:NVIDIADriver", {"spec": {"driverType": "gpu"}}, []),
    ],
)
def test_drivers_that_a_stack_installs(kind: str, inputs: dict[str, Any], drivers: list[str]) -> None:
    assert list(installed(Stack(resources=(Resource.plain(f"kubernetes:{kind}", "it", inputs),)))) == drivers

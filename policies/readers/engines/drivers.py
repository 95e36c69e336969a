"""What is known of NVIDIA drivers: what a release of an engine needs, and what a stack installs or selects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from policies.readers.kubernetes.pods import environment, image
from policies.resources import Stack
from slipway.versions import numbers

if TYPE_CHECKING:
    from policies.readers.engines.container import ContainerLaunch
    from slipway.engines.releases import Needs

RELEASES = ("kubernetes:helm.sh/v3:Release", "kubernetes:helm.sh/v4:Chart")
CLUSTER_POLICY = "kubernetes:nvidia.com/v1:ClusterPolicy"
NVIDIA_DRIVER = "kubernetes:nvidia.com/v1alpha1:NVIDIADriver"

_LABELS = (
    "nvidia.com/cuda.driver-version.full",
    "nvidia.com/cuda.driver-version.major",
    "nvidia.com/cuda.driver.major",
)
_OTHER_BUILDS = re.compile(r"rocm|cpu|tpu|xpu|hpu|gaudi|neuron|ascend")
_CUDA_TAG = re.compile(r"cu(\d\d)\d(?!\d)")


def in_release_table(engine: str, release: str) -> bool:
    """Whether it is known what the release needs of a host; also of an engine of which no release is known, and none asked."""
    # Slow to import, and only engines need it.
    from slipway.engines.releases import needs, releases

    return not releases(engine) or needs(engine, release) is not None


def container_needs(launch: ContainerLaunch) -> Needs | None:
    """What a container's release needs: its own row of the table, or that of the newest release before it.

    None where no row is that old, the image has no release in its tag, or is no build for CUDA. A tag such as v0.19.0-cu130
    says another CUDA than the release's usual one.

    Raises:
        UnknownValueError: the image is not known.
    """
    from slipway.engines.releases import Needs, drivers, releases

    name, tag, _ = image(str(launch.get("image", default="")))
    release = launch.release
    if release is None or _OTHER_BUILDS.search(f"{name}:{tag}"):
        return None
    rows = [row for row in releases(launch.engine) if numbers(row.release) <= numbers(release)]
    if not rows:
        return None
    row = max(rows, key=lambda found: numbers(found.release))
    said = _CUDA_TAG.search(tag or "")
    usual = row.cuda.partition(".")[0]
    major = usual if said is None else said[1]
    driver = next((found.driver for found in drivers() if str(found.cuda_major) == major), None)
    if driver is None:
        return None
    # Which kernels the build for another CUDA has, the table does not say.
    return Needs(row.cuda, driver, row.min_capability) if major == usual else Needs(major, driver, 0.0)


def carries_its_own(launch: ContainerLaunch) -> bool:
    """Whether the container runs with the forward compatibility libraries of its image instead of the host's driver alone.

    Raises:
        UnknownValueError: the variable is not known.
    """
    return any(
        name == "VLLM_ENABLE_CUDA_COMPATIBILITY" and str(entry.get("value", default="")).casefold() in {"1", "true"}
        for name, entry in environment(launch.container)
    )


def selected(launch: ContainerLaunch) -> str | None:
    """The driver that the pod selects its node by; None where it selects none.

    Raises:
        UnknownValueError: the node selector is not known.
    """
    selector = launch.container.pod.get("nodeSelector", default={})
    return next((str(selector[label]) for label in _LABELS if label in selector), None)


def installed(stack: Stack) -> Iterator[str]:
    """The drivers that GPU operators of the stack install.

    Raises:
        UnknownValueError: a version is not known.
    """
    for resource in stack.of_type(*RELEASES):
        chart = str(resource.inputs.get("chart", default=""))
        if chart.rstrip("/").rpartition("/")[2] == "gpu-operator":
            driver = resource.inputs.node("values", "driver")
            if driver.get("enabled", default=True) and driver.has("version"):
                yield str(driver.get("version"))
    for resource in stack.of_type(CLUSTER_POLICY):
        driver = resource.inputs.node("spec", "driver")
        if driver.get("enabled", default=True) and driver.has("version"):
            yield str(driver.get("version"))
    for resource in stack.of_type(NVIDIA_DRIVER):
        if resource.inputs.has("spec", "version"):
            yield str(resource.inputs.get("spec", "version"))

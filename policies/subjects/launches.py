"""Starts of an inference engine: by Slipway's own platform, or by a Kubernetes container that runs vLLM.

A script whose text is not in the stack is no launch.
"""

from __future__ import annotations

from collections.abc import Iterator

from policies.node import UnknownValueError
from policies.resources import PLATFORM, Resource
from policies.subjects.container_launch import ContainerLaunch
from policies.subjects.kubernetes import ANY, containers
from policies.subjects.launch import Launch
from policies.subjects.platform_launch import PlatformLaunch
from policies.subjects.programs import asked, runs_vllm

TYPES = (PLATFORM, ANY)
"""Types in which `launches` finds something."""


def launches(resource: Resource) -> Iterator[Launch | UnknownValueError]:
    """Every start of an engine in the resource; in the place of one of which nobody knows it, what is not known.

    Raises:
        UnknownValueError: what would hold one is not known yet.
    """
    if resource.type == PLATFORM:
        yield PlatformLaunch(resource.inputs.raw)
        return
    if resource.type.startswith("kubernetes:ray.io/"):
        return  # its operator writes the commands
    for container in asked(containers(resource), runs_vllm):
        if isinstance(container, UnknownValueError):
            yield container
        else:
            leads = container.path.startswith("spec.leaderWorkerTemplate.")
            group = resource.inputs.node("spec", "leaderWorkerTemplate", "size") if leads else None
            yield ContainerLaunch(container, group)

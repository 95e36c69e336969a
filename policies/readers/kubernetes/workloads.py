"""Pods that will run as they are written, and their containers."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from policies.readers.kubernetes.pods import Container, Pod, containers_of, pods
from policies.readers.unknown import known_first
from policies.resources import Resource

_PARTS = ("kubernetes:helm.sh/*", "kubernetes:yaml*", "kubernetes:kustomize*", "kubernetes:monitoring.coreos.com/*")
"""Types that hold parts of pods, or pods that are registered again as resources of their own."""


def running(resource: Resource) -> Iterator[Pod]:
    """The resource's pods, as far as it holds them whole.

    Raises:
        UnknownValueError: what would hold one is unknown.
    """
    if not any(fnmatchcase(resource.type, pattern) for pattern in _PARTS):
        yield from pods(resource)


def is_patch(resource: Resource) -> bool:
    """Whether it changes a part of an object that others own; what it does not say is no matter of its own."""
    return resource.type.endswith("Patch")


def running_containers(resource: Resource) -> Iterator[Container]:
    """Their containers, init containers included.

    Raises:
        UnknownValueError: what would hold one is unknown.
    """
    yield from known_first(map(containers_with_image, running(resource)))


def containers_with_image(pod: Pod) -> Iterator[Container]:
    """Those of its containers that name an image; the others are filled in by a controller.

    Raises:
        UnknownValueError: the list is unknown, or an element of it.
    """
    yield from known_first(map(_with_image, containers_of(pod)))


def lasting(pod: Pod) -> Iterator[Container]:
    """The same without those that only prepare the pod: init containers, unless they are sidecars.

    Raises:
        UnknownValueError: as `containers_with_image`, or whether one is a sidecar is unknown.
    """
    yield from known_first(map(_lasting, containers_with_image(pod)))


def _lasting(container: Container) -> Iterator[Container]:
    if ".initContainers[" not in container.path or container.get("restartPolicy") == "Always":
        yield container


def _with_image(container: Container) -> Iterator[Container]:
    if container.has("image"):
        yield container


def is_windows(pod: Pod) -> bool:
    """Whether it runs on Windows, which knows neither capabilities nor a read-only root."""
    names = (pod.get("os", "name"), pod.get("nodeSelector", "kubernetes.io/os"))
    return "windows" in names

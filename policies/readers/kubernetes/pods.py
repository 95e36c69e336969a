"""Pods and containers in whatever Kubernetes resource holds a pod template: workloads, jobs, custom resources."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.unknown import known_first, unknown_as_item
from policies.resources import Resource

ANY = "kubernetes:*"
"""Every type of the pulumi-kubernetes provider."""
GPU_RESOURCES = (
    *("nvidia.com/gpu", "nvidia.com/gpu[.-]*", "nvidia.com/mig-*", "nvidia.com/pgpu", "nvidia.com/vgpu"),
    *("amd.com/gpu", "gpu.intel.com/*", "habana.ai/gaudi*"),
)
"""Names of extended resources that are accelerators, as their device plugins register them. Others of the same makers are
network devices (`nvidia.com/hostdev`), or shares of one (`nvidia.com/gpumem` of HAMi)."""
_PATTERNS = ("kubernetes:kyverno.io/*", "kubernetes:policies.kyverno.io/*")
"""Types that hold patterns of pods, and no pods."""
_ABOVE = {"spec", "spec.template", "spec.template.spec", "spec.jobTemplate", "spec.jobTemplate.spec"}
"""Where pods usually stand, whatever the type."""
_WORKLOADS = (
    *("kubernetes:core/v1:Pod", "kubernetes:core/v1:PodTemplate", "kubernetes:core/v1:ReplicationController"),
    *(
        "kubernetes:apps/*",
        "kubernetes:batch/*",
        "kubernetes:extensions/*:DaemonSet",
        "kubernetes:extensions/*:Deployment",
    ),
    *("kubernetes:leaderworkerset.x-k8s.io/*", "kubernetes:jobset.x-k8s.io/*", "kubernetes:batch.volcano.sh/*"),
    *("kubernetes:argoproj.io/*:Rollout", "kubernetes:ray.io/*", "kubernetes:kubeflow.org/*"),
    *("kubernetes:serving.kserve.io/*", "kubernetes:serving.knative.dev/*"),
)
"""Types that are made to hold pods."""
_HOLDS_PODS = re.compile(
    r"""(^|\.)( spec | template | jobTemplate | (pod|leaderWorker|leader|worker)Template | (headGroup|rayCluster)Spec
        | workerGroupSpecs(\[\d+\])? | \w*ReplicaSpecs(\.\w+)? | predictor | (replicatedJobs|tasks)(\[\d+\])? | rayClusterConfig
    )$""",
    re.VERBOSE,
)
"""Ends of paths on the way to a pod in such a type."""
_IMAGE = re.compile(r"^(?P<name>[^@]*?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]{32,}))?$")


class Pod(Node):
    """The spec of a pod, or of a template that pods are made from."""

    __slots__ = ("metadata",)

    def __init__(self, data: Any, path: str, metadata: Node) -> None:
        super().__init__(data, path)
        self.metadata = metadata
        """The pod's labels and annotations."""


class Container(Node):
    """One container of a pod."""

    __slots__ = ("pod",)

    def __init__(self, data: Any, path: str, pod: Pod) -> None:
        super().__init__(data, path)
        self.pod = pod

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return str(self.get("name", default="?"))

    def gpus(self, *, kind: str = "limits") -> dict[str, int]:
        """Accelerators by the name of their resource, of `limits` or `requests`.

        Raises:
            UnknownValueError: the amounts are not known.
        """
        amounts = self.get("resources", kind, default={})
        return {
            name: int(amount)
            for name, amount in amounts.items()
            if any(fnmatchcase(name, pattern) for pattern in GPU_RESOURCES) and str(amount).isdigit()
        }


def pods(resource: Resource) -> Iterator[Pod]:
    """Every pod spec in the resource.

    Raises:
        UnknownValueError: what would hold one is unknown.
    """
    for pod in resource.cached(_all_pods):
        if isinstance(pod, UnknownValueError):
            raise UnknownValueError(pod.path)
        yield pod


def _all_pods(resource: Resource) -> list[Pod | UnknownValueError]:
    if any(fnmatchcase(resource.type, pattern) for pattern in _PATTERNS):
        return []
    workload = any(fnmatchcase(resource.type, pattern) for pattern in _WORKLOADS)
    return list(unknown_as_item(_pods(resource.inputs, Node(None), workload=workload)))


def _pods(node: Node, parent: Node, *, workload: bool) -> Iterator[Pod]:
    data = node.data
    if data is UNKNOWN and (node.path in _ABOVE or (workload and _HOLDS_PODS.search(node.path))):
        raise UnknownValueError(node.path)
    if isinstance(data, Mapping):
        # A schema of a custom resource has a map there, which says what containers look like.
        if data.get("containers") is UNKNOWN or isinstance(data.get("containers"), list):
            yield Pod(node.raw, node.path, parent.node("metadata"))
            return
        yield from known_first(_pods(below, node, workload=workload) for _, below in node.entries())
    elif isinstance(data, list):
        yield from known_first(_pods(below, node, workload=workload) for below in node.each())


def containers(resource: Resource) -> Iterator[Container]:
    """Every container of every pod in the resource, init containers included.

    Raises:
        UnknownValueError: what would hold one is unknown.
    """
    yield from known_first(map(containers_of, pods(resource)))


def containers_of(pod: Pod) -> Iterator[Container]:
    """The pod's containers, init containers first. An unknown list is told once all that is known has been.

    Raises:
        UnknownValueError: a list is unknown.
    """
    for node in known_first(pod.each(kind) for kind in ("initContainers", "containers")):
        yield Container(node.raw, node.path, pod)


def image(reference: str) -> tuple[str, str | None, str | None]:
    """Name, tag and digest of an image reference; tag and digest None where it has none."""
    found = _IMAGE.match(reference)
    return (reference, None, None) if found is None else (found["name"], found["tag"], found["digest"])


def own_name(reference: str) -> str:
    """An image's own name, without its registry and folders, tag and digest."""
    return image(reference)[0].rpartition("/")[2]


def environment(container: Node) -> Iterator[tuple[str, Node]]:
    """Name and place of each variable that the container sets itself; the place holds `value` or `valueFrom`.

    Raises:
        UnknownValueError: the list is unknown.
    """
    for entry in container.each("env"):
        yield str(entry.get("name", default="")), entry

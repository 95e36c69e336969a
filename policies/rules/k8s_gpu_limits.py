"""Containers get their GPUs as whole numbers of an extended resource, by limits."""

import re
from collections.abc import Iterator
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from policies.readers.engines.programs import on_cpu, runs_engine
from policies.readers.kubernetes.pods import ANY, GPU_RESOURCES, Container
from policies.readers.kubernetes.workloads import is_patch, running_containers
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_ACCELERATORS = re.compile(r"gpu|tpu|neuron|npu|gaudi|ascend|cuda|mlu|i915")
_SHARES = ("gpu-fraction", "gpu-memory")
"""Annotations of pods by which KAI Scheduler and Run:ai give a part of a GPU."""


def items(resource: Resource) -> Iterator[Container]:
    """Containers; a patch leaves most of them to others."""
    if not is_patch(resource):
        yield from running_containers(resource)


def check(container: Container, about: About) -> Iterator[Violation]:
    """Amounts are whole, requests equal limits, and an engine for GPUs has some."""
    limits = dict(container.entries("resources", "limits"))
    requests = dict(container.entries("resources", "requests"))
    for name in filter(_is_extended, {**limits, **requests}):
        yield from _of_resource(container, name)
    given = any(_is_gpu(name) and str(node.get()) != "0" for name, node in [*limits.items(), *requests.items()])
    if not given and not _otherwise(container) and runs_engine(container) and not on_cpu(container):
        yield violation(
            container,
            "resources",
            what="the container starts an inference engine for GPUs and has no GPU limit",
            mend='set resources.limits["nvidia.com/gpu"], or name a resource claim in resources.claims',
        )


def _of_resource(container: Container, name: str) -> Iterator[Violation]:
    """What is wrong with the amounts of one extended resource."""
    for kind in ("limits", "requests"):
        amount = _quantity(container.get("resources", kind, name, default=0))
        if amount is not None and amount != int(amount):
            yield violation(
                container,
                "resources",
                kind,
                name,
                what=f"{name} is no whole number",
                mend="give whole GPUs, or a slice of one by MIG (nvidia.com/mig-*) or time-slicing",
            )
            return
    limit, request = (container.get("resources", kind, name) for kind in ("limits", "requests"))
    if request is None:
        # The API server takes the limit for it.
        return
    if limit is None:
        yield violation(container, "resources", "requests", name, what=f"{name} is requested and not limited")
    elif _quantity(limit) != _quantity(request):
        what = f"the request for {name} differs from its limit, {limit}"
        yield violation(container, "resources", "requests", name, what=what)


def _quantity(amount: Any) -> Decimal | None:
    """A number, or a thousandth part of one; None where it is written in another way."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", str(amount))
    return None if found is None else Decimal(found[1]) / (1000 if found[2] else 1)


def _is_extended(name: str) -> bool:
    """Whether a device plugin gives it; Kubernetes knows the others itself."""
    return "/" in name and "kubernetes.io/" not in name


def _is_gpu(name: str) -> bool:
    """Whether it is an accelerator, as far as its name tells."""
    return any(fnmatchcase(name, pattern) for pattern in GPU_RESOURCES) or _ACCELERATORS.search(name) is not None


def _otherwise(container: Container) -> bool:
    """Whether GPUs come by a claim (dynamic resource allocation), or as a scheduler's share."""
    annotations = container.pod.metadata.get("annotations", default={})
    return bool(container.get("resources", "claims")) or any(share in annotations for share in _SHARES)


RULE = Rule(
    id="k8s-gpu-limits",
    title="Containers get whole GPUs by limits, and their requests equal them",
    group=Group.KUBERNETES,
    severity=Severity.HIGH,
    reason="the API server refuses such amounts, and without a limit the engine finds no GPU or takes another pod's",
    mend="set the same whole number in resources.limits and resources.requests, or leave the request out",
    source="Kubernetes documentation, Schedule GPUs: Using device plugins; Resource Management: Extended resources",
    url="https://kubernetes.io/docs/tasks/manage-gpus/scheduling-gpus/",
    types=(ANY,),
    items=items,
    check=check,
)

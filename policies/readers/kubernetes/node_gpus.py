"""The kind of GPU that a pod demands of its node, by the labels of those who label nodes."""

from __future__ import annotations

from collections.abc import Iterator

from policies.node import Node
from policies.readers.engines.flags import count
from slipway.catalog import Catalog
from slipway.catalog.load import find_or_none
from slipway.catalog.names import CatalogError, find_gpu
from slipway.catalog.types import Gpu

_PRODUCT = "nvidia.com/gpu.product"
"""GPU Feature Discovery's label."""
_GKE = "cloud.google.com/gke-accelerator"
_GKE_GPUS = {
    # Where GKE's own name is not the one that the catalogue has, or means another size of the memory.
    "nvidia-tesla-a100": "a100-sxm-40gb",
    "nvidia-tesla-v100": "v100-sxm2-16gb",
    "nvidia-h100-mega-80gb": "h100-sxm-80gb",
    "nvidia-rtx-pro-6000": "rtx-pro-6000-blackwell-server",
}
_GPU_NAMES = ("karpenter.k8s.aws/instance-gpu-name", "eks.amazonaws.com/instance-gpu-name")
"""Short names of AWS; `a100` and `v100` are sold with two sizes of memory, which another label tells apart (in MiB)."""
_TWO_SIZES = {"a100", "v100"}
_INSTANCE_LABELS = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")


def demanded_gpu(pod: Node, catalog: Catalog) -> Gpu | None:
    """None where nothing says it, or more than one kind would do.

    Raises:
        UnknownValueError: a label's value is not known.
    """
    found = {gpu.id: gpu for gpu in _gpus(_demanded(pod), catalog)}
    return next(iter(found.values())) if len(found) == 1 else None


def _demanded(pod: Node) -> dict[str, set[str]]:
    """By label of the node, the values of which the pod demands one."""
    wanted: dict[str, set[str]] = {}
    labels = (_PRODUCT, _GKE, *_GPU_NAMES, *map(_memory_label, _GPU_NAMES), *_INSTANCE_LABELS)
    for label in labels:
        value = pod.node("nodeSelector").get(label)
        if value is not None:
            wanted[label] = {str(value)}
    required = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    terms = list(pod.each(*required))
    if len(terms) == 1:  # of several, any one will do
        for expression in terms[0].each("matchExpressions"):
            label = expression.get("key")
            if label in labels and expression.get("operator") == "In":
                wanted.setdefault(label, set(map(str, expression.get("values", default=[]))))
    return wanted


def _gpus(wanted: dict[str, set[str]], catalog: Catalog) -> Iterator[Gpu]:
    """The GPUs of the nodes that a pod may be put on, by the first label that says; none where one of them is not known."""
    found: list[Gpu | None] = []
    for label in (_PRODUCT, _GKE, *_GPU_NAMES, *_INSTANCE_LABELS):
        for value in sorted(wanted.get(label, ())):
            if label in _INSTANCE_LABELS:
                instance = find_or_none(catalog.instances, value)
                found.append(None if instance is None else catalog.gpus[instance.gpu])
            elif label in _GPU_NAMES:
                found.append(_sized(catalog, value, wanted.get(_memory_label(label), set())))
            else:
                found.append(find_or_none(catalog.gpus, _GKE_GPUS.get(value, value)))
        if found:
            break
    if None not in found:
        yield from filter(None, found)


def _sized(catalog: Catalog, name: str, memories: set[str]) -> Gpu | None:
    """The GPU that AWS calls `name`, told from others of that name by its memory in MiB."""
    memory = count(next(iter(memories))) if len(memories) == 1 else None
    if memory is None:
        return None if name in _TWO_SIZES else find_or_none(catalog.gpus, name)
    try:
        return find_gpu(catalog.gpus, name, memory / 1024)
    except CatalogError:
        return None


def _memory_label(label: str) -> str:
    return label.removesuffix("name") + "memory"

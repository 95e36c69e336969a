"""Whether a GPU runs a quantization at all."""

from __future__ import annotations

from slipway.catalog import Catalog, Gpu
from slipway.catalog.load import find_or_none
from slipway.catalog.types import Quantization
from slipway.sizing.architecture import Architecture


def unsupported(architecture: Architecture, quantization: str | None, gpu: Gpu, catalog: Catalog) -> str | None:
    """Why `gpu` cannot run the model with `quantization` (or the checkpoint's own); None when it can, or nobody knows."""
    own = architecture.quantization
    name = quantization or (own.method if own is not None else None)
    if name is None:
        return None
    entry = find_or_none(catalog.quantizations, name)
    if entry is None:
        return None
    return _refusal(entry, gpu)


def _refusal(entry: Quantization, gpu: Gpu) -> str | None:
    capability = gpu.nvidia_capability
    if capability is None:
        return None if entry.amd else f"{entry.name} does not run on {gpu.name}; choose another quantization or GPU"
    low, high = entry.nvidia_min_capability, entry.nvidia_max_capability
    if low is None:
        return f"{entry.name} does not run on NVIDIA GPUs; choose another quantization or GPU"
    if capability < low or (high is not None and capability > high):
        bounds = f"{low:g} or later" if high is None else f"{low:g} to {high:g}"
        return (
            f"{entry.name} needs compute capability {bounds}, and {gpu.name} has {gpu.compute_capability}; the engine would not "
            "start: choose another quantization or GPU"
        )
    return None

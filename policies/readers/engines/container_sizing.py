"""What Slipway's sizing says of a container that starts vLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.readers.engines.launch import Figures
from policies.readers.engines.terms import VLLM
from policies.readers.kubernetes.pods import environment
from slipway.catalog.types import Gpu
from slipway.sizing.architecture import Architecture
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size

if TYPE_CHECKING:
    from policies.readers.engines.container import ContainerLaunch

_UNMODELLED = {
    "kv-cache-memory-bytes",
    "enable-expert-parallel",
    "kv-transfer-config",
    "kv-offloading-size",
    "rope-scaling",
}
"""Flags of memory that the platform refuses or sets otherwise, besides `slipway.engines.vllm.memory.UNCOUNTED`."""
_TAKE_MORE = {
    "decode-context-parallel-size",
    "disable-hybrid-kv-cache-manager",
    "enable-expert-parallel",
    "enable-lora",
    "kv-cache-memory-bytes",
    "kv-transfer-config",
    "spec-method",
    "spec-model",
    "speculative-config",
}
"""Those of them that make no weights smaller."""
_LONGER = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
"""A variable with which the engine takes contexts that the model does not know."""


def figures(launch: ContainerLaunch) -> Figures | None:
    """What fits, for the release that the image names where it is known.

    None where model or GPU are not known, or a flag changes memory that the sizing does not count with, or asks for what it
    does not know.
    """
    from slipway.engines.vllm.memory import UNCOUNTED  # slow to import, and only needed here

    architecture, gpu = launch.architecture, launch.gpu
    if launch.terms is not VLLM or architecture is None or gpu is None or not launch.gpus:
        return None
    shared_experts = launch.count_of("data-parallel-size") is not None and any(
        layer.experts for layer in architecture.layers
    )
    if (UNCOUNTED | _UNMODELLED) & launch.flags.keys() or launch.hosts > 1 or shared_experts or _is_fitted(launch):
        return None
    if any(name == _LONGER for name, _ in environment(launch.container)):
        return None
    sizing = _sizing(launch, architecture, gpu)
    return None if sizing is None else _of(sizing)


def uncounted(launch: ContainerLaunch) -> list[str]:
    """Flags for which the sizing has no figures, though it knows model and GPU."""
    from slipway.engines.vllm.memory import UNCOUNTED  # slow to import, and only needed here

    if (
        launch.terms is not VLLM
        or launch.architecture is None
        or launch.gpu is None
        or not launch.gpus
        or launch.hosts > 1
    ):
        return []
    return sorted((UNCOUNTED | _UNMODELLED) & launch.flags.keys())


def weights(launch: ContainerLaunch) -> tuple[float, float] | None:
    """GiB of the weights on the fullest GPU, and what the engine may take there; None where nobody knows."""
    architecture, gpu = launch.architecture, launch.gpu
    if launch.terms is not VLLM or architecture is None or gpu is None or not set(uncounted(launch)) <= _TAKE_MORE:
        return None
    sizing = _sizing(launch, architecture, gpu)
    memory = None if sizing is None else sizing.memory
    return None if memory is None else (memory.weights.value, memory.requested.value)


def _sizing(launch: ContainerLaunch, architecture: Architecture, gpu: Gpu) -> Sizing | None:
    pipeline = launch.count_of("pipeline-parallel-size") or 1
    try:
        request = Request(
            architecture=architecture,
            gpu=gpu,
            count=launch.tensor_parallel * pipeline,
            tensor_parallel=launch.tensor_parallel,
            pipeline_parallel=pipeline,
            context=launch.max_model_len,
            dtype=launch.value_of("dtype") or "auto",
            quantization=_plain_quantization(launch.value_of("quantization")),
            kv_cache_dtype=launch.value_of("kv-cache-dtype") or "auto",
            gpu_memory_utilization=_share(launch.value_of("gpu-memory-utilization")),
            max_num_batched_tokens=launch.count_of("max-num-batched-tokens"),
            max_num_seqs=launch.max_num_seqs,
            block_size=launch.count_of("block-size"),
            prefix_caching=False if launch.flags.given("no-enable-prefix-caching") else None,
            enforce_eager=launch.is_set("enforce-eager"),
            engine_version=launch.release,
        )
        return size(request)
    except SizingError:
        return None


def _is_fitted(launch: ContainerLaunch) -> bool:
    """Whether the engine itself lowers the context to what fits."""
    return launch.value_of("max-model-len") in {"auto", "-1"}


def _plain_quantization(name: str | None) -> str | None:
    """Without the kernel that the engine is told to use: `awq_marlin` runs checkpoints of `awq`, and loads them so."""
    plain = None if name is None else name.removesuffix("_marlin")
    return None if plain in {"awq", "gptq", "compressed-tensors", "none"} else plain


def _share(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _of(sizing: Sizing) -> Figures:
    memory = sizing.memory
    return Figures(
        fits=sizing.fits,
        errors=sizing.errors,
        kv_cache_tokens=sizing.kv_cache_tokens if sizing.fits else None,
        gpu_gib=None if memory is None else memory.total.value,
        requested_gib=None if memory is None else memory.requested.value,
        kv_cache_gib=None if memory is None else memory.kv_cache.value,
    )

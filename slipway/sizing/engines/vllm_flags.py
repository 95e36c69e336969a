"""vLLM's flags that decide about memory: what sizing recommends and what is deployed come from here alike."""

from __future__ import annotations


def flags(
    *,
    max_model_len: int,
    max_num_seqs: int,
    dtype: str = "auto",
    gpu_memory_utilization: float | None = None,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    data_parallel: int = 1,
    decode_context_parallel: int = 1,
    expert_parallel: bool = False,
    max_num_batched_tokens: int | None = None,
    kv_cache_dtype: str | None = None,
    quantization: str | None = None,
    cpu_kv_cache_bytes: int | None = None,
) -> dict[str, str | int | float | bool]:
    """The flags without dashes.

    Args:
        max_model_len: tokens of the context window.
        max_num_seqs: requests at once, of each copy.
        dtype: of weights and activations.
        gpu_memory_utilization: the part of each GPU's memory; None on the CPU.
        tensor_parallel: GPUs that share each layer.
        pipeline_parallel: groups of GPUs that share the layers.
        data_parallel: copies of the model.
        decode_context_parallel: ranks that share a sequence's tokens.
        expert_parallel: whole experts on each rank.
        max_num_batched_tokens: tokens of one step; None for the engine's own.
        kv_cache_dtype: None or auto for that of the weights.
        quantization: one that the engine makes at run time.
        cpu_kv_cache_bytes: room for the KV cache on the CPU.
    """
    found: dict[str, str | int | float | bool] = {"max-model-len": max_model_len, "max-num-seqs": max_num_seqs}
    if gpu_memory_utilization is not None:
        found["gpu-memory-utilization"] = gpu_memory_utilization
        found["tensor-parallel-size"] = tensor_parallel
    if cpu_kv_cache_bytes is not None:
        # In bytes: the variable of the same purpose takes whole GiB only, and fails at 0.5.
        found["kv-cache-memory-bytes"] = cpu_kv_cache_bytes
    optional: dict[str, tuple[str | int | bool | None, str | int | bool | None]] = {
        "max-num-batched-tokens": (max_num_batched_tokens, None),
        "pipeline-parallel-size": (pipeline_parallel, 1),
        # One process per copy, and as many that answer on the one port; each hands requests to all the copies.
        "data-parallel-size": (data_parallel, 1),
        "enable-expert-parallel": (expert_parallel, False),
        "decode-context-parallel-size": (decode_context_parallel, 1),
        "kv-cache-dtype": (None if kv_cache_dtype == "auto" else kv_cache_dtype, None),
        "quantization": (quantization or None, None),
        "dtype": (dtype, "auto"),
    }
    return found | {
        name: value for name, (value, default) in optional.items() if value is not None and value != default
    }

"""Which layouts a plan knows: copies of a model within one host, side by side or alone.

What one engine over several hosts (docs/multi-host.md) loses to the network between them was not measured. Several copies on a
host are the engine's data parallelism, which makes independent engines of a dense model. Of a mixture of experts it makes one
engine whose experts are spread over all ranks, data parallel times tensor parallel, and which computes every step together:
neither its memory nor its speed is that of copies (https://docs.vllm.ai/en/latest/serving/data_parallel_deployment/; of vLLM
0.32.0, EngineCoreProc.run_engine_core and FusedMoEParallelConfig.flatten_tp_across_dp_and_pcp).
"""

from __future__ import annotations

from slipway.sizing.architecture import Architecture

SEVERAL_HOSTS = "how fast one engine over several hosts answers is not predicted"


def is_mixture(architecture: Architecture) -> bool:
    """Whether the model has routed experts, so that data parallelism makes no copies of it."""
    return any(layer.experts for layer in architecture.layers)

"""Which layouts Slipway can deploy: copies of a model within one host, side by side or alone.

An engine runs on one host. Several copies on a host are the engine's data parallelism, which makes independent engines of
a dense model. Of a mixture of experts it makes one engine whose experts are spread over all ranks, data parallel times
tensor parallel, and which computes every step together: neither its memory nor its speed is that of copies
(https://docs.vllm.ai/en/latest/serving/data_parallel_deployment/; of vLLM 0.32.0, EngineCoreProc.run_engine_core and
FusedMoEParallelConfig.flatten_tp_across_dp_and_pcp).
"""

from __future__ import annotations

from slipway.sizing.architecture import Architecture

SEVERAL_HOSTS = "one engine over several hosts is not to be had yet"


def is_mixture(architecture: Architecture) -> bool:
    """Whether the model has routed experts, so that data parallelism makes no copies of it."""
    return any(layer.experts for layer in architecture.layers)

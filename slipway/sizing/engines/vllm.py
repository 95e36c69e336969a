"""vLLM's way of counting a GPU's memory, release by release.

Read in vLLM's sources (vllm/v1/worker/gpu_worker.py, gpu_model_runner.py, v1/sample/ops/topk_topp_sampler.py,
v1/core/kv_cache_utils.py, model_executor/layers/fused_moe, engine/arg_utils.py) of 0.10.1.1, 0.11.0, 0.16.0, 0.17.0,
0.19.0, 0.20.0, 0.21.0, 0.24.0 to 0.28.0 and 0.32.0; the few figures that no source gives are constants below, each with the
start-ups that it was measured in.

    KV cache = utilization x total - (weights + peak of the profiling run + non-torch) [- CUDA graphs, from 0.20]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from slipway.catalog.types import Gpu
from slipway.sizing.architecture import Architecture, Layer
from slipway.sizing.engines.base import Amount
from slipway.sizing.kv_cache import Layout, layout
from slipway.sizing.parallel import refusals
from slipway.sizing.result import Request
from slipway.units import BYTES_PER_GIB, GiB

_T = TypeVar("_T")
_GIB = BYTES_PER_GIB
_SOURCE = "vLLM's source"

# Bytes per logit that are alive at the sampler's peak, for each of max_num_seqs x vocabulary logits:
# 16-bit logits (2), 32-bit logits (4), and then
_SORT = 38  # until 0.16: sorted values (4), indices (8), radix sort's own pairs (8) and double buffers (12)
_GUMBEL = 14  # from 0.17 (Triton's top-k/top-p needs no sort): probabilities (4), exponential noise (4)
_FLASHINFER_010 = 10  # 0.9 and 0.10 with FlashInfer, which their images bring: probabilities (4)
_TRITON_PROGRAMS = 132  # Triton's kernel keeps one 32-bit row of the vocabulary per multiprocessor; an H100 has 132

_RESIDUE = 0.055 * _GIB
"""Input buffers, rotary tables and the allocator's rounding: 0.04 to 0.07 GiB remained in 14 start-ups of dense models."""

_CONTEXT = {(0, 18): 0.25 * _GIB, (0, 0): 0.13 * _GIB}
"""Non-torch memory on one GPU: 0.24 to 0.26 GiB in 0.18 and 0.19, 0.13 to 0.14 in 0.11 to 0.17 (H100)."""

_NVSWITCH = {(0, 12): 1.82 * _GIB, (0, 0): 0.42 * _GIB}
"""Communication buffers from two ranks on, with NVSwitch: non-torch was 2.06 to 2.10 GiB with two ranks in 0.19 on H100,
0.55 in 0.11. The newer releases hold buffers of NCCL's NVLS, symmetric memory and the fused all-reduce."""
_NVSWITCH_PER_RANK = 0.035 * _GIB  # 2.13 to 2.21 with four ranks
_OTHER_LINKS = 0.42 * _GIB
"""The same over PCIe or NVLink bridges: 0.10.1.1 on two A100."""

_GRAPH_DENSE = 0.022 * _GIB
_GRAPH_EXPERTS = 0.045 * _GIB
"""CUDA graphs per layer, as the engine estimates them: 0.55 to 0.84 GiB for 28 to 42 dense layers, 1.82 for 80, 1.04 to 1.39
for 24 to 27 layers with experts (0.19, H100, 51 sizes)."""

_LEFT = {"bitsandbytes": (0, 28)}
"""Quantizations, and the first release that was found without them (vllm/model_executor/layers/quantization)."""

_WORKSPACE_TOKENS = 64 * 1024  # MLA: the most context that one chunk of a prefill looks back at
_A100 = "a100"
_BIG = GiB(70)
_BIGGEST = GiB(160)


@dataclass(frozen=True)
class Vllm:
    """See `slipway.sizing.engines.base.MemoryModel`."""

    deployed_version: str = "0.32.0"

    def filled(self, request: Request) -> Request:
        """Defaults as vllm/engine/arg_utils.py has them for the API server."""
        version = request.engine_version or self.deployed_version
        if request.gpu is None:
            batched, seqs = 2048, 128
        else:
            total = request.gpu_memory or total_memory(request.gpu)
            if total >= _BIGGEST and _release(version) >= (0, 28):
                batched, seqs = 16384, 1024
            elif total >= _BIG and _A100 not in request.gpu.id.casefold():
                batched, seqs = 8192, 1024
            else:
                batched, seqs = 2048, 256
        context = request.context or request.architecture.context
        batched = request.max_num_batched_tokens or min(batched, (request.max_num_seqs or seqs) * context)
        seqs = request.max_num_seqs or min(seqs, batched)
        utilization = request.gpu_memory_utilization or (0.92 if _release(version) >= (0, 20) else 0.9)
        prefixes = request.prefix_caching
        if prefixes is None:
            # Models that keep states were left out until 0.26 (ModelConfig.is_prefix_caching_supported).
            prefixes = _release(version) >= (0, 26) or not _keeps_states(request.architecture)
        block = request.block_size or (_cpu_block(request) if request.gpu is None else 16)
        return request.but(
            engine_version=version,
            context=context,
            context_used=request.context_used or context,
            max_num_batched_tokens=batched,
            max_num_seqs=seqs,
            gpu_memory_utilization=utilization,
            prefix_caching=prefixes,
            block_size=block,
            tensor_parallel=request.tensor_parallel or 1,
            pipeline_parallel=request.pipeline_parallel or 1,
        )

    def refusals(self, request: Request) -> list[str]:
        """Shapes that vLLM asserts, and quantizations that the release does not have."""
        said = refusals(request)
        own = request.architecture.quantization
        method = request.quantization or (own.method if own else "")
        release = _release(_given(request.engine_version))
        if method in _LEFT and release >= _LEFT[method]:
            last = ".".join(map(str, _LEFT[method]))
            said.append(
                f"vLLM {request.engine_version} no longer has {method}, which left it before {last}; the engine would not "
                "start: use another quantization, such as fp8, or an older release"
            )
        return said

    def activation(self, request: Request, layers: tuple[Layer, ...], *, last: bool) -> Amount:
        """The larger of the forward pass's and the sampler's peak, with what stays allocated between the two."""
        architecture = request.architecture
        tokens, seqs = _given(request.max_num_batched_tokens), _given(request.max_num_seqs)
        ranks = _given(request.tensor_parallel)
        element = element_bytes(request)
        hidden = tokens * architecture.hidden_size * element
        cuts = 1 if request.expert_parallel else ranks
        experts = max(
            (_experts_workspace(layer, tokens, architecture.hidden_size, cuts) for layer in layers), default=0
        )
        if architecture.quantization is not None and architecture.quantization.method == "mxfp4":
            experts = 0  # its kernels take what they need inside, and give it back
        experts *= element
        release = _release(_given(request.engine_version))
        kept = experts if release >= (0, 14) else 0  # older releases gave the experts' buffers back after each layer
        if architecture.encoders:
            # The outputs of the largest items stay in the encoder's cache during the run.
            items = max(tokens, *(encoder.tokens_per_item for encoder in architecture.encoders))
            kept += items * architecture.hidden_size * element
        forward = 2 * hidden + max((_layer_peak(request, layer, tokens, ranks, element) for layer in layers), default=0)
        forward += kept if release >= (0, 14) else experts
        per_logit = _bytes_per_logit(release)
        vocabulary = architecture.vocabulary
        sampler = 0.0
        if last and not architecture.pooling:
            sampler = hidden + kept + seqs * vocabulary * per_logit
            if per_logit == _GUMBEL:
                sampler += min(_TRITON_PROGRAMS, seqs) * vocabulary * 4
        peak = max(forward, sampler) + _RESIDUE
        which = "sampler" if sampler >= forward else "forward pass"
        return Amount(
            peak,
            f"max(forward, sampler) + residue; the {which} decides: "
            + (
                "tokens x hidden x bytes + buffers kept + seqs x vocabulary x bytes per logit"
                if which == "sampler"
                else "2 x tokens x hidden x bytes + the widest layer's intermediates"
            ),
            f"tokens {tokens}, seqs {seqs}, hidden {architecture.hidden_size}, vocabulary {vocabulary}, "
            f"{per_logit} bytes per logit, buffers kept {kept / _GIB:.2f} GiB",
            f"{_SOURCE}: GPUModelRunner.profile_run, TopKTopPSampler",
        )

    def non_torch(self, request: Request) -> tuple[Amount, Amount]:
        """Communication buffers by the way the GPUs are linked, and the CUDA context beyond the first snapshot."""
        release = _release(_given(request.engine_version))
        ranks, stages = _given(request.tensor_parallel), _given(request.pipeline_parallel)
        context = _by_release(_CONTEXT, release)
        rest = Amount(
            context, "constant of the release", f"{context / _GIB:.2f} GiB", "start-up logs on H100, 0.11 to 0.19"
        )
        if ranks * stages == 1 or request.gpu is None:
            return Amount(0, "one rank", "0", _SOURCE), rest
        if request.gpu.interconnect.kind == "nvswitch" and ranks > 1:
            amount = _by_release(_NVSWITCH, release) + max(0, ranks - 2) * _NVSWITCH_PER_RANK
        else:
            amount = _OTHER_LINKS
        return Amount(
            amount,
            "constant of the release and the link + ranks beyond two x 0.035 GiB",
            f"{request.gpu.interconnect.kind}, {ranks} ranks",
            "start-up logs with 1, 2 and 4 ranks, 0.11 and 0.19",
        ), rest

    def cuda_graphs(self, request: Request, layers: tuple[Layer, ...]) -> Amount:
        """By the layer; smaller batches need fewer graphs."""
        if request.enforce_eager or request.gpu is None or request.architecture.pooling:
            return Amount(0, "none captured", "0", _SOURCE)
        largest = min(512, 2 * _given(request.max_num_seqs))
        share = 0.4 + 0.6 * largest / 512
        dense = sum(1 for layer in layers if not layer.experts)
        experts = len(layers) - dense
        amount = (dense * _GRAPH_DENSE + experts * _GRAPH_EXPERTS) * share
        return Amount(
            amount,
            "(dense layers x 0.022 GiB + layers with experts x 0.045 GiB) x (0.4 + 0.6 x largest batch / 512)",
            f"{dense} dense, {experts} with experts, largest batch {largest}",
            "CUDA graph memory profiling in 0.19's start-up logs on H100",
        )

    def subtracts_graphs(self, request: Request) -> bool:
        """VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS is on from 0.20."""
        return _release(_given(request.engine_version)) >= (0, 20)

    def room(self, request: Request, total: GiB, taken: float) -> float:
        """Worker.determine_available_memory."""
        return (total * _given(request.gpu_memory_utilization)).bytes - taken

    def layout(self, request: Request, layers: tuple[Layer, ...]) -> Layout:
        """The blocks of the stage of `layers`."""
        release = _release(_given(request.engine_version))
        return layout(
            request.architecture,
            layers,
            tensor_parallel=_given(request.tensor_parallel),
            element_bytes=cache_bytes(request),
            model_bytes=element_bytes(request),
            block_size=_given(request.block_size),
            chunk=_given(request.max_num_batched_tokens),
            context_ranks=request.decode_context_parallel,
            # MambaSpec.max_memory_usage_bytes: prefix caching keeps a second copy at the last whole block.
            state_blocks=2 if request.prefix_caching else 1,
            # VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE is off until 0.11.
            chunks_are_full=release < (0, 12),
        )

    def tokens_by_concurrency(self, request: Request) -> bool:
        """get_kv_cache_capacity, from 0.21."""
        return _release(_given(request.engine_version)) >= (0, 21)

    def flags(self, request: Request) -> dict[str, str | int | float | bool]:
        """What differs from the engine's own defaults, and what a reader wants to see anyway."""
        flags: dict[str, str | int | float | bool] = {
            "max-model-len": _given(request.context),
            "max-num-seqs": _given(request.max_num_seqs),
        }
        if request.gpu is not None:
            flags["gpu-memory-utilization"] = _given(request.gpu_memory_utilization)
            flags["tensor-parallel-size"] = _given(request.tensor_parallel)
            flags["max-num-batched-tokens"] = _given(request.max_num_batched_tokens)
        if _given(request.pipeline_parallel) > 1:
            flags["pipeline-parallel-size"] = _given(request.pipeline_parallel)
        if request.expert_parallel:
            flags["enable-expert-parallel"] = True
        if request.decode_context_parallel > 1:
            flags["decode-context-parallel-size"] = request.decode_context_parallel
        if request.kv_cache_dtype != "auto":
            flags["kv-cache-dtype"] = request.kv_cache_dtype
        if request.quantization:
            flags["quantization"] = request.quantization
        if request.dtype != "auto":
            flags["dtype"] = request.dtype
        if request.enforce_eager:
            flags["enforce-eager"] = True
        return flags


MODEL = Vllm()

_RESERVED, _RESERVED_PER_GIB, _RESERVED_MOST = GiB(0.4), 0.0042, GiB(0.75)
"""What CUDA keeps of the memory that nvidia-smi shows, by its size: 0.44 to 0.50 GiB were measured up to 32 GB, 0.59 to 0.62
at 48 GB, 0.75 on an A100 80 GB and 0.71 on a B200; the H100 with 0.46 is below the line."""


def total_memory(gpu: Gpu) -> GiB:
    """Total memory as CUDA reports it: measured, else from the driver's figure."""
    if gpu.cuda_gib is not None:
        return GiB(gpu.cuda_gib)
    driver = GiB.of_mib(gpu.driver_mib)
    return driver - min(_RESERVED + _RESERVED_PER_GIB * driver, _RESERVED_MOST)


def element_bytes(request: Request) -> int:
    """Bytes of an activation."""
    dtype = request.architecture.dtype if request.dtype == "auto" else request.dtype
    # A checkpoint in 32 bits is served in 16 unless 32 are asked for.
    return 4 if dtype in ("float32", "float") and request.dtype != "auto" else 2


def cache_bytes(request: Request) -> int:
    """Bytes of a cached key's or value's element."""
    if request.kv_cache_dtype == "auto":
        return element_bytes(request)
    if request.kv_cache_dtype.startswith(("fp8", "int8")):
        return 1
    return 4 if request.kv_cache_dtype.startswith(("float32", "fp32")) else 2


def _cpu_block(request: Request) -> int:
    mla = any(layer.cache.kind == "mla" for layer in request.architecture.layers)
    return 16 if mla else 128


def _keeps_states(architecture: Architecture) -> bool:
    return any(layer.cache.kind == "state" for layer in architecture.layers)


def _bytes_per_logit(release: tuple[int, int]) -> int:
    if release < (0, 11):
        return _FLASHINFER_010
    return _SORT if release < (0, 17) else _GUMBEL


def _experts_workspace(layer: Layer, tokens: int, hidden: int, ranks: int) -> int:
    """Elements of the fused experts' two buffers: tokens x top_k x (max(I, hidden) + max(2 I, hidden)), I per rank."""
    if not layer.experts:
        return 0
    inner = -(-layer.expert_intermediate // ranks)
    return tokens * layer.top_k * (max(inner, hidden) + max(2 * inner, hidden))


def _layer_peak(request: Request, layer: Layer, tokens: int, ranks: int, element: int) -> float:
    """Bytes of the widest intermediates of one layer on one rank."""
    cache = layer.cache
    attention = 0.0
    if layer.heads:
        heads = layer.heads / ranks
        kv_heads = max(1, cache.kv_heads // ranks) if cache.kv_heads else 0
        width = cache.value_dim or cache.head_dim
        attention = tokens * (heads * (cache.head_dim + width) + kv_heads * (cache.head_dim + width)) * element
    if cache.kind == "mla":
        context, seqs = _given(request.context), _given(request.max_num_seqs)
        block = _given(request.block_size)
        looked_at = max(min(max(8 * context, 4 * seqs * block), _WORKSPACE_TOKENS), seqs * block)
        attention += looked_at * (layer.heads / ranks) * (cache.head_dim + cache.value_dim) * element
    inner = max(layer.intermediate, layer.shared_intermediate) / ranks
    return max(attention, tokens * 3 * inner * element)


def _release(version: str) -> tuple[int, int]:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _by_release(table: dict[tuple[int, int], float], release: tuple[int, int]) -> float:
    return next(value for since, value in sorted(table.items(), reverse=True) if release >= since)


def _given(value: _T | None) -> _T:
    """A field that `filled` has filled."""
    if value is None:
        raise AssertionError("the request was not filled")
    return value

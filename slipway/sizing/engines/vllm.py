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
from slipway.sizing.architecture import Architecture, Encoder, Layer, Split
from slipway.sizing.engines.base import Amount
from slipway.sizing.engines.vllm_flags import flags
from slipway.sizing.kv_cache import Layout, layout
from slipway.sizing.parallel import refusals
from slipway.sizing.result import Request, SizingError
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

_HOPPER, _AMPERE = 9.0, 8.0
_OLDEST = {(0, 20): 7.5, (0, 0): 7.0}
"""Lowest compute capability that the release is built for: CUDA 13 since 0.20 knows nothing below 7.5."""

_LEFT = {"bitsandbytes": (0, 28)}
"""Quantizations, and the first release that was found without them (vllm/model_executor/layers/quantization)."""

_CACHE_DTYPES = ("auto", "float16", "bfloat16", "float32", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla")
"""CacheDType in vllm/config/cache.py, but for the packed formats of late releases, which are not modelled."""
_SECOND_RUNNER = (0, 30)
_FIRST_ON_SECOND_RUNNER = ("qwen3", "llama", "mistral", "deepseek_v2", "qwen2_moe", "granitemoe")
"""Model runner V2 (vllm/config/vllm.py, 0.24 and 0.32)."""
_LOGITS_ONLY = 2  # its profiling run samples from the 16-bit logits as they are (v1/worker/gpu/sample/sampler.py)
_PENALTIES = 4.125
"""Bytes per sequence and word that it keeps for penalties: a 32-bit counter and a bit (v1/worker/gpu/sample/penalties.py);
inside the measured memory from 0.28 on."""
_PADDING = {(0, 19): 1.5, (0, 12): 1.25, (0, 0): 1.0}
"""get_kv_cache_groups: read in 0.11, 0.14, 0.16, 0.17 and 0.19."""
_SPARSE_LATENT = 656
"""Bytes of a token in fp8_ds_mla: 512 of latent, 16 of scales, 128 of positions."""
_MAMBA_CHUNK = 256
"""chunk_size of published Mamba 2 models; a cached state lies at a multiple of it."""

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
        if not re.match(r"v?\d+\.\d+", version):
            raise SizingError(f"engine version {version!r} is none of vLLM's; write it like {self.deployed_version}")
        if request.kv_cache_dtype not in _CACHE_DTYPES:
            raise SizingError(f"kv_cache_dtype is {request.kv_cache_dtype!r}; known are {', '.join(_CACHE_DTYPES)}")
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
        if request.gpu is not None:
            said += _unfit_for(request, request.gpu, release)
        batched, seqs = _given(request.max_num_batched_tokens), _given(request.max_num_seqs)
        if batched < seqs:
            said.append(
                f"max_num_batched_tokens {batched} is less than max_num_seqs {seqs}; the engine would not start: raise the one "
                "or lower the other"
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
        # What the profiling run lets each tower see.
        seen = [(encoder, _items(encoder, tokens, _given(request.context))) for encoder in architecture.encoders]
        if seen:
            # The outputs of the largest items stay in the encoder's cache during the run.
            outputs = max(tokens, *(items * encoder.tokens_per_item for encoder, items in seen))
            kept += outputs * architecture.hidden_size * element
        forward = 2 * hidden + max((_layer_peak(request, layer, tokens, ranks, element) for layer in layers), default=0)
        forward += kept if release >= (0, 14) else experts
        second = _second_runner(request, release)
        per_logit = _LOGITS_ONLY if second else _bytes_per_logit(release)
        vocabulary = architecture.vocabulary
        sampler = lasting = 0.0
        if last and not architecture.pooling:
            sampler = hidden + kept + seqs * vocabulary * per_logit
            if per_logit == _GUMBEL:
                sampler += min(_TRITON_PROGRAMS, seqs) * vocabulary * 4
            if second and release >= (0, 28):
                lasting = seqs * vocabulary * _PENALTIES
        towers = max((_tower_peak(encoder, items, ranks, element) for encoder, items in seen), default=0.0)
        peak = max(forward, sampler, towers) + lasting + _RESIDUE
        which = (
            "vision tower" if towers > max(forward, sampler) else "sampler" if sampler >= forward else "forward pass"
        )
        return Amount(
            peak,
            f"max(forward, sampler, towers) + counters + residue; the {which} decides: {_PEAKS[which]}",
            f"tokens {tokens}, seqs {seqs}, hidden {architecture.hidden_size}, vocabulary {vocabulary}, "
            f"{per_logit} bytes per logit, buffers kept {kept / _GIB:.2f} GiB, counters {lasting / _GIB:.2f} GiB",
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
        # NVLS and symmetric memory need Hopper; older GPUs behind NVSwitch keep to the plain buffers.
        if request.gpu.interconnect.kind == "nvswitch" and ranks > 1 and _at_least(request.gpu, _HOPPER):
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
        states = {layer.cache.state_kind for layer in request.architecture.layers if layer.cache.kind == "state"}
        every_block = bool(states & {"mamba1", "mamba2"}) and (0, 19) <= release < (0, 28) and request.prefix_caching
        return layout(
            request.architecture,
            layers,
            tensor_parallel=_given(request.tensor_parallel),
            element_bytes=cache_bytes(request),
            model_bytes=element_bytes(request),
            block_size=_given(request.block_size),
            chunk=_given(request.max_num_batched_tokens) * _steps_under_way(request, release),
            context_ranks=request.decode_context_parallel,
            # MambaSpec.max_memory_usage_bytes: prefix caching keeps a second copy at the last whole block, or, for Mamba's
            # own layers in some releases, one at every block.
            state_blocks=(0 if every_block else 2) if request.prefix_caching else 1,
            state_step=_MAMBA_CHUNK if every_block else 16,
            padding=_by_release(_PADDING, release),
            sparse_latent=_SPARSE_LATENT if _packs_latents(request, release) else 0,
            # VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE is off until 0.13.
            chunks_are_full=release < (0, 14),
        )

    def tokens_by_concurrency(self, request: Request) -> bool:
        """get_kv_cache_capacity, from 0.21."""
        return _release(_given(request.engine_version)) >= (0, 21)

    def flags(self, request: Request) -> dict[str, str | int | float | bool]:
        """What differs from the engine's own defaults, and what a reader wants to see anyway."""
        on_gpu = request.gpu is not None
        found = flags(
            max_model_len=_given(request.context),
            max_num_seqs=_given(request.max_num_seqs),
            dtype=request.dtype,
            gpu_memory_utilization=_given(request.gpu_memory_utilization) if on_gpu else None,
            tensor_parallel=_given(request.tensor_parallel),
            pipeline_parallel=_given(request.pipeline_parallel),
            decode_context_parallel=request.decode_context_parallel,
            expert_parallel=request.expert_parallel,
            max_num_batched_tokens=_given(request.max_num_batched_tokens) if on_gpu else None,
            kv_cache_dtype=request.kv_cache_dtype,
            quantization=request.quantization,
        )
        return found | {"enforce-eager": True} if request.enforce_eager else found


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


def _unfit_for(request: Request, gpu: Gpu, release: tuple[int, int]) -> list[str]:
    """What the GPU is too old for."""
    has, oldest = gpu.nvidia_capability, _by_release(_OLDEST, release)
    if has is None:
        return []
    if has < oldest:
        return [
            (
                f"vLLM {request.engine_version} is built for compute capability {oldest:g} and later, and {gpu.name} has "
                f"{has:g}; the engine would not start: use a newer GPU"
            )
        ]
    if has < _AMPERE and request.dtype == "bfloat16":
        return [f"{gpu.name} has no bfloat16; the engine would not start: set dtype to float16 or auto"]
    return []


def _steps_under_way(request: Request, release: tuple[int, int]) -> int:
    """Steps whose tokens a window must hold at once: from 0.26 on the next is scheduled while one runs."""
    stages = _given(request.pipeline_parallel)
    if release < (0, 26) or request.architecture.pooling:
        return 1
    if stages == 1:
        return 2
    return stages + 1 if release >= _SECOND_RUNNER else stages


def _packs_latents(request: Request, release: tuple[int, int]) -> bool:
    """Whether sparse MLA keeps 8-bit latents with their scales and 16-bit positions (fp8_ds_mla)."""
    return request.kv_cache_dtype.startswith("fp8") or (request.kv_cache_dtype == "auto" and release == (0, 11))


def _second_runner(request: Request, release: tuple[int, int]) -> bool:
    """Whether model runner V2 is the default: for all from 0.30 on, for some families since 0.24."""
    return release >= _SECOND_RUNNER or (
        release >= (0, 24) and request.architecture.model_type in _FIRST_ON_SECOND_RUNNER
    )


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


_PEAKS = {
    "sampler": "tokens x hidden x bytes + buffers kept + seqs x vocabulary x bytes per logit",
    "forward pass": "2 x tokens x hidden x bytes + the widest layer's intermediates",
    "vision tower": "patches x (pixels + 2 x hidden + network's intermediates) x bytes",
}


def _items(encoder: Encoder, tokens: int, context: int) -> int:
    """Images that the profiling run gives a tower: as many as a batch has room for, or the frames of the longest video."""
    size = max(1, encoder.tokens_per_item)
    return max(1, tokens // size, min(encoder.most_images, context // size))


def _tower_peak(encoder: Encoder, items: int, ranks: int, element: int) -> float:
    """Bytes of a vision tower at work, which the profiling run lets it do before anything else.

    Alive at once are the pixels, a layer's input and its norm, and what its network makes of them.
    """
    first = next((line for line in encoder.weights if line.name == "vision.patch"), None)
    pixels = first.parameters / encoder.hidden_size if first else 0
    up = next((line for line in encoder.weights if line.name == "vision.up"), None)
    down = next((line for line in encoder.weights if line.name == "vision.down"), None)
    if up is None or down is None:
        return 0.0
    cut = 1 if up.split is Split.COPIED else ranks
    inner = (up.parameters + down.parameters) / encoder.hidden_size / cut
    return items * encoder.patches_per_item * (pixels + 2 * encoder.hidden_size + inner) * element


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


def _at_least(gpu: Gpu, capability: float) -> bool:
    """Whether a GPU has what NVIDIA's of this compute capability have; AMD's are taken to."""
    return gpu.nvidia_capability is None or gpu.nvidia_capability >= capability


def _by_release(table: dict[tuple[int, int], float], release: tuple[int, int]) -> float:
    return next(value for since, value in sorted(table.items(), reverse=True) if release >= since)


def _given(value: _T | None) -> _T:
    """A field that `filled` has filled."""
    if value is None:
        raise AssertionError("the request was not filled")
    return value

"""The time of one step of an engine, from bytes to read, operations to do, and fixed times between them.

A decoding step reads all weights once (of routed experts those that the batch touches), and the KV cache of every running
sequence; a prompt is so many products per token. Both go against what the data sheet promises, times the factors of
data/efficiency.yaml. No queueing here, no cost, and nothing of a model's name.

The formulas are those of Pope et al., "Efficiently Scaling Transformer Inference" (arXiv:2211.05102), sections 2 and 3;
for the all-reduce, of NVIDIA/nccl-tests, doc/PERFORMANCE.md: 2 (n - 1) / n of the data over each link.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod

from slipway.catalog.types import Gpu
from slipway.performance.efficiency import Efficiency, efficiency
from slipway.performance.types import PredictionError, StepTime
from slipway.sizing.architecture import Architecture, QuantizedWeights, Weights
from slipway.sizing.modules import excluded, targeted
from slipway.sizing.result import Request, Sizing
from slipway.sizing.weights import UNQUANTIZED, quantized_bytes, run_time, share, width_of

_STATE_BYTES = 4
_ALL_REDUCES_PER_LAYER = 2
_MLA_HEAD = (192, 128)
"""Key and value size of a head in DeepSeek's MLA before it is absorbed (arXiv:2412.19437, table 1), where not given."""
_WEIGHT_ONLY = {"gptq", "awq", "bitsandbytes", "auto-round"}
"""Methods that multiply 16-bit activations, whatever the weights are stored in."""
_FP4 = {"mxfp4", "nvfp4", "modelopt", "modelopt_fp4"}
_SPARSE_TOKENS = 2048
"""Tokens that sparse MLA attends to (DeepSeek-V3.2's index_topk)."""


@dataclass(frozen=True)
class _Attention:
    """Layers that keep the same per sequence; of one rank."""

    layers: int
    window: int
    """Tokens; 0 for all."""
    bytes_per_token: float
    """Read from the cache for each token of context, by all the layers together."""
    flops_per_pair: float
    """Of a prompt's token with one before it, in all the layers together."""

    def seen(self, context: float) -> float:
        return min(context, self.window) if self.window else context


@dataclass(frozen=True)
class _Experts:
    """Routed experts of alike layers; of one rank."""

    experts: int
    top_k: int
    bytes: float

    def read(self, tokens: float) -> float:
        """Bytes that a batch touches: each token chooses `top_k`, so an expert is missed by all with (1 - k/E)^tokens."""
        return self.bytes * float(1 - (1 - self.top_k / self.experts) ** tokens)


@dataclass(frozen=True)
class Roofline:
    """One copy of a model on its GPUs, as times."""

    tensor_parallel: int
    pipeline_parallel: int
    weight_bytes: float
    """Dense weights that every step reads, of one rank of tensor parallelism over all pipeline stages."""
    head_flops: float
    """Of the output head, per sequence that is sampled."""
    token_flops: float
    """Of all other weights, per token; dense and routed experts' apart."""
    expert_flops: float
    experts: tuple[_Experts, ...]
    attention: tuple[_Attention, ...]
    state_bytes: float
    """Read and written per sequence and step by layers that keep a state."""
    all_reduces: int
    all_reduce_bytes: float
    """Of one token in one all-reduce."""
    bandwidth: float
    """Bytes a second."""
    cache_bandwidth: float
    expert_bandwidth: float
    dense_rate: float
    """Operations a second, of one GPU; the products of dense weights, of experts, and attention."""
    expert_rate: float
    attention_rate: float
    link_rate: float
    """Bytes a second."""
    link_latency: float
    """Seconds, as are those that follow."""
    step_overhead: float
    sequence_overhead: float
    request_overhead: float

    @classmethod
    def of(cls, architecture: Architecture, gpu: Gpu, sizing: Sizing) -> Roofline:
        """Of a deployment that fits.

        Raises:
            PredictionError: The data sheet lacks a peak for 16-bit products.
        """
        factors = efficiency()
        request = sizing.request
        tp, pp = request.tensor_parallel or 1, request.pipeline_parallel or 1
        held = _Held.of(architecture, request)
        head = sum(line.parameters for line in _head(architecture))
        attention, state_bytes = _attention(architecture, request, tp)
        bandwidth = gpu.bandwidth_gb_s * 1e9 * factors.bandwidth[gpu.architecture].share
        rate, peak16 = _rates(architecture, gpu, request, factors)
        link = factors.links[gpu.interconnect.kind]
        columns = max((layer.expert_intermediate for layer in architecture.layers), default=0) / tp
        narrow = columns / (columns + factors.engine.expert_columns.value) if columns else 1.0
        with_attention = sum(layer.cache.kind != "none" for layer in architecture.layers)
        return cls(
            tensor_parallel=tp,
            pipeline_parallel=pp,
            weight_bytes=_dense_bytes(architecture, held),
            head_flops=2 * head / tp,
            token_flops=2
            * sum(line.parameters for layer in architecture.layers for line in layer.weights if not line.expert)
            / tp,
            expert_flops=2
            * sum(
                line.parameters * layer.top_k / layer.experts
                for layer in architecture.layers
                for line in layer.weights
                if line.expert
            )
            / tp,
            experts=_experts(architecture, held),
            attention=attention,
            state_bytes=state_bytes,
            all_reduces=(_ALL_REDUCES_PER_LAYER * with_attention if tp > 1 else 0),
            all_reduce_bytes=2 * architecture.hidden_size * 2 * (tp - 1) / tp,
            bandwidth=bandwidth,
            cache_bandwidth=bandwidth * factors.engine.kv_cache.share,
            expert_bandwidth=bandwidth * factors.engine.expert_bandwidth.share * narrow,
            dense_rate=rate,
            expert_rate=rate * factors.engine.experts.share,
            attention_rate=peak16 * factors.engine.attention.share,
            link_rate=gpu.interconnect.gb_s * 1e9 * link.share,
            link_latency=link.latency_us / 1e6,
            step_overhead=factors.overhead.step_ms.value / 1e3,
            sequence_overhead=factors.overhead.sequence_us.value / 1e6
            + 4 * architecture.vocabulary * factors.overhead.sampler_passes.value / bandwidth,
            request_overhead=factors.overhead.request_ms.value / 1e3,
        )

    def decode(self, sequences: float, context: float) -> StepTime:
        """One step of `sequences` that hold `context` tokens each, as the mean.

        With pipeline parallelism the stages work on a part of the sequences each, and a token passes all of them.
        """
        here = sequences / self.pipeline_parallel
        return StepTime(
            weights_ms=1e3 * self._products(here, sampled=here),
            kv_cache_ms=1e3 * self._cache(here, context),
            communication_ms=1e3 * self._communication(here),
            overhead_ms=1e3 * (self.step_overhead * self.pipeline_parallel + self.sequence_overhead * sequences),
        )

    def prefill(self, tokens: float, position: float) -> float:
        """Seconds for `tokens` of prompts that lie at `position` in their prompts, as the mean, in one chunk.

        The stages of a pipeline work on chunks one after the other, so its throughput is that of all its GPUs.
        """
        pairs = sum(group.flops_per_pair * group.seen(position) for group in self.attention)
        work = self._products(tokens, sampled=0) + tokens * pairs / self.attention_rate + self._communication(tokens)
        return work / self.pipeline_parallel

    def mixed(self, sequences: float, context: float, tokens: float, position: float) -> float:
        """Seconds of one step that decodes `sequences` and takes `tokens` of prompts along."""
        if not tokens:
            return self.decode(sequences, context).total_ms / 1e3
        if not sequences:
            return self.prefill(tokens, position) + self.step_overhead
        together = self._products(sequences / self.pipeline_parallel + tokens, sampled=sequences)
        pairs = sum(group.flops_per_pair * group.seen(position) for group in self.attention)
        return (
            together
            + self._cache(sequences, context)
            + tokens * pairs / self.attention_rate
            + self._communication(sequences + tokens)
            + self.step_overhead
            + self.sequence_overhead * sequences
        )

    def _products(self, tokens: float, *, sampled: float) -> float:
        """Reading weights and multiplying with them, one after the other.

        Kernels overlap the two only where one of them is negligible; near the ridge, where batches of decoding lie, the
        sum is nearer to measurements than the larger of both.
        """
        dense = self.weight_bytes / self.bandwidth
        dense += (tokens * self.token_flops + sampled * self.head_flops) / self.dense_rate
        if not self.experts:
            return dense
        touched = sum(group.read(tokens) for group in self.experts)
        return dense + touched / self.expert_bandwidth + tokens * self.expert_flops / self.expert_rate

    def _cache(self, sequences: float, context: float) -> float:
        per_sequence = sum(group.bytes_per_token * group.seen(context) for group in self.attention) + self.state_bytes
        return sequences * per_sequence / self.cache_bandwidth

    def _communication(self, tokens: float) -> float:
        return self.all_reduces * (self.link_latency + tokens * self.all_reduce_bytes / self.link_rate)


def _head(architecture: Architecture) -> list[Weights]:
    """The output head, which tied models read their embedding for."""
    heads = [line for line in architecture.outside if "lm_head" in line.name]
    if heads or not architecture.tied:
        return heads
    return [line for line in architecture.outside if "embed" in line.name][:1]


def _dense_bytes(architecture: Architecture, held: _Held) -> float:
    """What every step reads; of the embedding only single rows are."""
    layers = sum(
        held.bytes(line, number)
        for number, layer in enumerate(architecture.layers)
        for line in layer.weights
        if not line.expert
    )
    return layers + sum(held.bytes(line, None) for line in _head(architecture))


def _experts(architecture: Architecture, held: _Held) -> tuple[_Experts, ...]:
    groups: Counter[tuple[int, int]] = Counter()
    for number, layer in enumerate(architecture.layers):
        count = sum(held.bytes(line, number) for line in layer.weights if line.expert)
        if count:
            groups[layer.experts, layer.top_k] += round(count)
    return tuple(_Experts(experts, top_k, count) for (experts, top_k), count in groups.items())


@dataclass(frozen=True)
class _Held:
    """How the engine holds weights, on one rank of tensor parallelism."""

    scheme: QuantizedWeights | None
    width: int
    ranks: int

    @classmethod
    def of(cls, architecture: Architecture, request: Request) -> _Held:
        scheme = run_time(architecture, request.quantization)
        return cls(scheme, width_of(request.dtype), request.tensor_parallel or 1)

    def bytes(self, line: Weights, number: int | None) -> float:
        """Of a line of layer `number`, or outside the layers."""
        parameters, rows = share(line, self.ranks)
        if self.scheme is not None and line.linear and line.name not in UNQUANTIZED:
            modules = line.modules or (line.name,)
            paths = tuple(f"layers.{number}.{module}" if number is not None else module for module in modules)
            for scheme in (self.scheme, *self.scheme.further):
                if scheme.quantizes and line.name not in scheme.quantizes:
                    continue
                if excluded(scheme.excluded, paths):
                    break
                if targeted(scheme.targets, paths):
                    return quantized_bytes(scheme, parameters, rows)
        return parameters * self.width


def _attention(architecture: Architecture, request: Request, tp: int) -> tuple[tuple[_Attention, ...], float]:
    element = 1 if "fp8" in request.kv_cache_dtype else (4 if request.dtype == "float32" else 2)
    groups: Counter[tuple[int, float, float]] = Counter()
    state = 0.0
    for layer in architecture.layers:
        cache = layer.cache
        if cache.kind == "state":
            state += 2 * _STATE_BYTES * sum(prod(shape) for shape in cache.state_elements) / tp
        elif cache.kind == "mla":
            key, value = (cache.head_dim or _MLA_HEAD[0], cache.value_dim or _MLA_HEAD[1])
            # Each rank reads the whole latent; a prompt is worked on with the latent unfolded again.
            window = _SPARSE_TOKENS if cache.index_dim else cache.window
            groups[window, cache.latent * element, 2 * layer.heads * (key + value) / tp] += 1
        elif cache.kind != "none":
            width = cache.head_dim + (cache.value_dim or cache.head_dim)
            heads = max(1.0, cache.kv_heads / tp)
            groups[cache.window, heads * width * element, 2 * layer.heads * width / tp] += 1
    return tuple(
        _Attention(layers, window, layers * held, layers * flops) for (window, held, flops), layers in groups.items()
    ), state


def _rates(architecture: Architecture, gpu: Gpu, request: Request, factors: Efficiency) -> tuple[float, float]:
    """Operations a second that products with the weights reach in an engine, and those of 16-bit matrix products alone."""
    peak = gpu.tflops.bf16 or gpu.tflops.fp16
    if peak is None:
        raise PredictionError(f"the catalogue has no 16-bit peak of {gpu.name}; no speed can be computed: add it")
    share = factors.matmul[gpu.architecture].share
    scheme = run_time(architecture, request.quantization)
    method, width = (scheme.method, scheme.bits) if scheme else ("", 16)
    fast: float | None = None
    if width == 8 and method not in _WEIGHT_ONLY:
        fast = gpu.tflops.int8 if "int8" in method else gpu.tflops.fp8
    elif width <= 4 and method in _FP4:
        fast = gpu.tflops.fp4
    if width >= 16 or (fast is None and method == "mxfp4"):
        # The kernels for MXFP4 unpack beside the products.
        rate = peak
    elif fast is None:
        rate = peak * factors.engine.unpacked.share
    else:
        rate = max(peak, fast * factors.engine.fp8.share)
    engine = 1 / (1 + peak / factors.engine.rest_tflops.value)
    return rate * 1e12 * share * engine, peak * 1e12 * share

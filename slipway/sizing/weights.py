"""Memory that a rank's weights take, as vLLM's log prints it at "Model loading took".

That is what PyTorch's allocator hands out for them: the tensors of the inventory, split over ranks, each in the width of
its scheme with its scales, and rounded as the allocator rounds. It doesn't say whether a configuration would start; a
count that a rank cannot divide evenly is rounded up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import zip_longest

from slipway.sizing.allocator import allocated, up
from slipway.sizing.architecture import Architecture, Layer, QuantizedWeights, Split, Weights
from slipway.sizing.modules import excluded, paths_of, targeted
from slipway.sizing.mxfp4 import expert_bytes, kernel
from slipway.sizing.parallel import VOCABULARY_PADDING, stage_layers
from slipway.sizing.result import SizingError

WIDTHS = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2}
"""Bytes by dtype. `auto` is 2: vLLM runs checkpoints in float32 at 16 bits."""
UNQUANTIZED = {"router", "router.correction_bias", "shared_expert_gate", "indexer.router", "lm_head"}
"""Linear lines that no scheme is applied to: vLLM builds routers without one, and its head only takes GGUF's and GPTQ's."""
FUSED = ({"q_proj", "kv_proj"}, {"q_a_proj", "kv_a_proj_with_mqa"})
"""Lines that vLLM holds as one tensor."""

NUMBER = re.compile(r"\d")
Tensors = tuple[float, ...]
"""Bytes of each."""
NOT_LOADED = {"pooler", "rotary_frequencies"}
"""Lines that checkpoints have and the engine leaves out; a pooler is loaded where classes are scored with it."""
MLA_WORKSPACE = 128 << 20
"""Bytes that vLLM's modules of FlashInfer's and CUTLASS's MLA kernels allocate as they are imported."""


def weights_per_rank(
    architecture: Architecture,
    *,
    tensor_parallel: int,
    pipeline_parallel: int = 1,
    dtype: str = "auto",
    quantization: str | None = None,
    engine_version: str = "0.19.0",
    capability: float = 9.0,
) -> list[int]:
    """Bytes of weights on the fullest tensor rank of each pipeline stage.

    Args:
        architecture: The model.
        tensor_parallel: Ranks that a layer is split over.
        pipeline_parallel: Stages that the layers are spread over.
        dtype: Of what is not quantized; `auto` is the checkpoint's, float32 becoming 16 bits.
        quantization: A scheme that the engine makes at run time; a checkpoint's own goes before it.
        engine_version: Of vLLM, for its paddings.
        capability: CUDA compute capability, for the kernels that MXFP4 is laid out for.

    Raises:
        SizingError: More stages than layers, or an unknown dtype or scheme.
    """
    if tensor_parallel < 1:
        raise SizingError(f"tensor_parallel: {tensor_parallel}; it must be at least 1")
    plan = _Plan(
        architecture,
        tensor_parallel,
        width_of(dtype),
        run_time(architecture, quantization),
        _release(engine_version),
        capability,
    )
    stages = stage_layers(len(architecture.layers), pipeline_parallel)
    last = len(stages) - 1
    return [
        plan.held(start, stop) + plan.outside(first=stage == 0, last=stage == last) + plan.workspaces(start, stop)
        for stage, (start, stop) in enumerate(stages)
    ]


def width_of(dtype: str) -> int:
    """Bytes of a weight that is not quantized.

    Raises:
        SizingError: No such type.
    """
    if dtype == "auto":
        return 2
    if dtype not in WIDTHS:
        raise SizingError(f"dtype: {dtype!r}; auto, bfloat16, float16 or float32 is wanted")
    return WIDTHS[dtype]


def run_time(architecture: Architecture, quantization: str | None) -> QuantizedWeights | None:
    """The scheme that holds: the checkpoint's, else the one asked for.

    Raises:
        SizingError: The engine cannot make it of 16-bit weights.
    """
    if architecture.quantization is not None or quantization in {None, "", "none"}:
        return architecture.quantization
    if quantization not in RUN_TIME:
        raise SizingError(
            f"quantization: {quantization!r} is not made at run time, and the checkpoint is not quantized; "
            f"{', '.join(RUN_TIME)} are, or take a checkpoint in it"
        )
    return RUN_TIME[quantization]


RUN_TIME = {
    "fp8": QuantizedWeights("fp8", 8, None, scale_bits=32),
    "fp8_per_tensor": QuantizedWeights("fp8", 8, None, scale_bits=32),
    "fp8_per_block": QuantizedWeights("fp8", 8, None, scale_bits=32, block=(128, 128)),
    "mxfp8": QuantizedWeights("mxfp8", 8, 32, scale_bits=8),
    "bitsandbytes": QuantizedWeights("bitsandbytes", 4, 64, scale_bits=32),
    "experts_int8": QuantizedWeights(
        "experts_int8",
        8,
        None,
        scale_bits=32,
        per_channel=True,
        quantizes=("experts.gate_up_proj", "experts.down_proj"),
    ),
}
"""Schemes that vLLM makes of 16-bit weights as it loads them (layers/quantization/{fp8,mxfp8,bitsandbytes,experts_int8}.py)."""


@dataclass
class _Plan:
    """One way to hold a model."""

    architecture: Architecture
    ranks: int
    width: int
    scheme: QuantizedWeights | None
    release: tuple[int, ...]
    capability: float

    def held(self, start: int, stop: int) -> int:
        """By the layers of a stage. Equal layers take as much, unless the scheme may go by their numbers."""
        schemes = (self.scheme, *self.scheme.further) if self.scheme else ()
        patterns = (pattern for scheme in schemes for pattern in (*scheme.excluded, *scheme.targets))
        if any(NUMBER.search(pattern) for pattern in patterns):
            return sum(self._layer(number) for number in range(start, stop))
        known: dict[int, int] = {}
        total = 0
        for number in range(start, stop):
            key = id(self.architecture.layers[number])
            if key not in known:
                known[key] = self._layer(number)
            total += known[key]
        return total

    def outside(self, *, first: bool, last: bool) -> int:
        """By a stage beside its layers."""
        total = 0
        scores = any(line.name == "score" for line in self.architecture.outside)
        for line in self.architecture.outside:
            if line.name in NOT_LOADED and not scores:
                continue
            if self.architecture.pooling and line.name.startswith("lm_head"):
                continue
            if line.name == "rotary_table":
                holds = True
            elif line.name.startswith(("lm_head", "norm", "score", "pooler")):
                holds = last
            else:
                holds = first or (line.name == "embed_tokens" and last and self.architecture.tied)
            if holds:
                total += _held(self._line(line, (line.name,)))
        for encoder in self.architecture.encoders:
            names = tuple(line.modules[0] if line.modules else line.name for line in encoder.weights)
            total += sum(_held(self._line(line, (name,))) for line, name in zip(encoder.weights, names, strict=True))
        return total

    def workspaces(self, start: int, stop: int) -> int:
        """What the engine allocates while it builds attention layers, and counts with the weights.

        Since 0.12 it imports every kernel that its list for the GPU has (vllm/platforms/cuda.py, get_valid_backends),
        before only the one it takes: for MLA, FlashInfer's on all GPUs, and CUTLASS's too on Blackwell.
        """
        if not any(layer.cache.kind == "mla" for layer in self.architecture.layers[start:stop]):
            return 0
        blackwell = 10 <= self.capability < 11
        if self.release >= (0, 12):
            return MLA_WORKSPACE * (2 if blackwell else 1)
        return MLA_WORKSPACE if blackwell else 0

    def _layer(self, number: int) -> int:
        layer = self.architecture.layers[number]
        total = 0
        together: list[Tensors] = [()] * len(FUSED)
        packed = self._packed_experts(layer, number)
        if packed:
            total += packed
        for line in layer.weights:
            if line.name in NOT_LOADED or (packed and line.expert):
                continue
            tensors = self._line(line, tuple(paths_of(line, number)))
            for place, names in enumerate(FUSED):
                if line.name in names:
                    together[place] = tuple(map(sum, zip_longest(together[place], tensors, fillvalue=0.0)))
                    break
            else:
                total += _held(tensors)
        return total + sum(map(_held, together))

    def _line(self, line: Weights, paths: tuple[str, ...]) -> Tensors:
        """Bytes of a line's tensors on one rank, before the allocator: the matrix, its scales, what is kept beside them."""
        parameters, rows = share(line, self.ranks)
        scheme = self._scheme(line, paths)
        if scheme is None:
            return (parameters * self.width,)
        if scheme.zero_point_bits and self._machete(line, scheme):
            # It holds zero points multiplied with their scales.
            scheme = replace(scheme, zero_point_bits=16)
        matrix = parameters * scheme.bits / 8
        scales = quantized_bytes(scheme, parameters, rows) - matrix
        zeros, indices = self._kept_by_gptq(line, scheme, parameters)
        # vLLM keeps MLA's up-projection a second time, at 16 bits, for decoding (layers/attention/mla_attention.py).
        copy = parameters * self.width if line.name == "kv_b_proj" else 0
        return matrix, scales, zeros, indices, copy

    def _scheme(self, line: Weights, paths: tuple[str, ...]) -> QuantizedWeights | None:
        if self.scheme is None or not line.linear or line.name in UNQUANTIZED:
            return None
        for scheme in (self.scheme, *self.scheme.further):
            if scheme.quantizes and line.name not in scheme.quantizes:
                continue
            if excluded(scheme.excluded, paths):
                return None
            if targeted(scheme.targets, paths):
                return scheme
        return None

    def _kept_by_gptq(self, line: Weights, scheme: QuantizedWeights, parameters: float) -> tuple[float, float]:
        """Bytes of zero points and of group indices that a symmetric GPTQ checkpoint has without need.

        Marlin's layers drop them; Machete's, which Hopper gets, and Marlin's experts keep the zero points, Machete the
        indices too (vllm/model_executor/kernels/linear/mixed_precision/, layers/quantization/gptq_marlin.py, 0.19.0).
        """
        if scheme.method != "gptq" or scheme.zero_point_bits:
            return 0, 0
        machete = self._machete(line, scheme)
        if not machete and not line.expert:
            return 0, 0
        zeros = parameters / (scheme.group_size or parameters) * scheme.bits / 8
        indices = 4 * line.parameters / line.rows if machete and line.rows else 0
        # Queries, keys and values are one layer with one list of indices.
        return zeros, 0 if line.name == "kv_proj" else indices

    def _machete(self, line: Weights, scheme: QuantizedWeights) -> bool:
        """Whether the kernel for a linear layer is Machete's: on Hopper, and for AWQ since 0.18 or so (not 0.11, but 0.19)."""
        return 9 <= self.capability < 10 and not line.expert and (scheme.method != "awq" or self.release >= (0, 18))

    def _packed_experts(self, layer: Layer, number: int) -> int:
        """Bytes of a layer's routed experts in MXFP4; 0 where it has none."""
        line = next((line for line in layer.weights if line.expert and line.linear), None)
        scheme = self._scheme(line, tuple(paths_of(line, number))) if line else None
        if scheme is None or scheme.method != "mxfp4":
            return 0
        gate = next(line for line in layer.weights if line.name == "experts.gate_up_proj")
        return expert_bytes(
            experts=layer.experts,
            hidden=self.architecture.hidden_size,
            inner=-(-layer.expert_intermediate // self.ranks),
            biased=any(line.name == "experts.gate_up_proj.bias" for line in layer.weights),
            gated=gate.rows > layer.experts * layer.expert_intermediate,
            chosen=kernel(self.release, self.capability),
        )


def _held(tensors: Tensors) -> int:
    return sum(allocated(size) for size in tensors)


def share(line: Weights, ranks: int) -> tuple[float, float]:
    """Parameters and rows of a line on one rank."""
    if line.split is Split.COPIED:
        return line.parameters, line.rows
    if line.split is Split.KV_HEADS:
        heads = line.kv_heads or ranks
        part = -(-heads // ranks) / heads
        return line.parameters * part, line.rows * part
    if line.split is Split.VOCABULARY:
        rows = -(-up(line.rows, VOCABULARY_PADDING) // ranks)
        return line.parameters // line.rows * rows, rows
    return line.parameters / ranks, line.rows / ranks


def quantized_bytes(scheme: QuantizedWeights, parameters: float, rows: float) -> float:
    """Bytes of quantized weights with their scales and zero points."""
    bits = parameters * scheme.bits
    if scheme.block:
        bits += parameters / (scheme.block[0] * scheme.block[1]) * scheme.scale_bits
    elif scheme.group_size:
        bits += parameters / scheme.group_size * (scheme.scale_bits + scheme.zero_point_bits)
    elif scheme.per_channel:
        bits += rows * (scheme.scale_bits + scheme.zero_point_bits)
    return bits / 8


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3]) or (0,)

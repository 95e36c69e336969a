"""What is asked of sizing, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

from slipway.catalog.types import Gpu
from slipway.errors import UserMistake
from slipway.sizing.architecture import Architecture
from slipway.units import GiB


class SizingError(UserMistake):
    """A question that makes no sense: one line with what is wrong and what would be right."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One deployment on one kind of GPU. What is None takes the default of that engine's version.

    `gpu` None is the engine's CPU build; then `cpu_kv_cache` is the room for the KV cache, which there is given and not
    what is left over.
    """

    architecture: Architecture
    gpu: Gpu | None
    count: int = 1
    """GPUs for one copy of the model, all hosts together."""
    hosts: int = 1
    """That share the copy, each with as many of its GPUs."""
    tensor_parallel: int | None = None
    """Default: the largest that the GPUs of one host and the model's shapes allow."""
    pipeline_parallel: int | None = None
    """Default: count / tensor_parallel."""
    decode_context_parallel: int = 1
    """Tensor ranks that share out the tokens of a sequence, where its KV cache would be the same on all of them."""
    expert_parallel: bool = False
    """Each rank holds whole experts and not a part of each."""
    context: int | None = None
    """max-model-len in tokens. Default: what the model knows."""
    concurrency: int | None = None
    """Requests at once that there is to be room for at `context_used`."""
    context_used: int | None = None
    """Tokens, prompt and completion, that a request really uses. Default: `context`."""
    dtype: str = "auto"
    quantization: str | None = None
    """One that the engine makes at run time (fp8, bitsandbytes…); a checkpoint's own is in `architecture`."""
    kv_cache_dtype: str = "auto"
    gpu_memory_utilization: float | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    block_size: int | None = None
    prefix_caching: bool | None = None
    """Whether the KV cache of common beginnings is kept; costs room only where layers keep states."""
    enforce_eager: bool = False
    engine: str = "vllm"
    engine_version: str | None = None
    """Default: the release that Slipway deploys."""
    gpu_memory: GiB | None = None
    """What CUDA reports as total, where it is known better than the catalogue's figure."""
    cpu_kv_cache: GiB | None = None
    host_memory: GiB | None = None
    """Of a host without a GPU, which weights and KV cache share; None where it is not known."""

    def but(self, **changes: Any) -> Self:
        """The same question with `changes`."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Memory of one GPU, the fullest of all ranks. The parts and `free` add up to `total`."""

    total: GiB
    """What CUDA reports."""
    requested: GiB
    """What the engine may take: total times its utilization."""
    weights: GiB
    activation: GiB
    """Peak of a forward pass and the sampler, as the engine's profiling run measures it."""
    communication: GiB
    """Buffers of NCCL and of the engine's own all-reduce; 0 on one GPU."""
    context: GiB
    """CUDA context, libraries and whatever else does not pass through PyTorch's allocator."""
    cuda_graphs: GiB
    kv_cache: GiB
    """0 where nothing is left."""
    free: GiB
    """Never touched by the engine, or left to CUDA graphs; negative when they do not fit."""

    @property
    def non_torch(self) -> GiB:
        """What vLLM's log calls non-torch memory."""
        return self.communication + self.context


@dataclass(frozen=True, kw_only=True)
class Term:
    """One formula with its numbers, for `--explain`."""

    name: str
    formula: str
    numbers: str
    value: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One change that makes a deployment fit that does not, or the price of it."""

    change: str
    """In the words of the settings: `tensor_parallel: 4`, `kv_cache_dtype: fp8`."""
    effect: str
    request: Request


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """The answer."""

    request: Request
    """As asked, with every default filled in."""
    fits: bool
    errors: tuple[str, ...]
    """Why it does not fit, or would not start; empty when it fits."""
    warnings: tuple[str, ...]
    memory: Breakdown | None
    """Of the rank with the least room. None where the engine would refuse the configuration before it looks at memory, and
    on CPU."""
    first: Breakdown | None
    """Of the first pipeline stage, which the engine's log prints first."""
    kv_cache_tokens: int
    """As the engine's log prints it: room for so many tokens."""
    max_concurrency: float
    """Requests of `context` tokens each that fit at once, as the engine's log prints it."""
    concurrency_at_use: float
    """Requests of `context_used` tokens each."""
    kv_bytes_per_token: int
    """On one rank, over all its layers, for a long sequence's next token."""
    flags: dict[str, str | int | float | bool] = field(default_factory=dict)
    """Of the engine, without dashes."""
    terms: tuple[Term, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()

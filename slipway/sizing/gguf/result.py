"""What is asked of sizing for a GGUF model, and what it answers. The engine's arithmetic is not here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from slipway.catalog.types import Gpu
from slipway.sizing.gguf.model import GgufModel
from slipway.sizing.result import Term
from slipway.units import GiB

GgufEngine = Literal["llama_cpp", "ollama"]
"""Engines that are sized with a GGUF file, the usual one first."""


@dataclass(frozen=True, kw_only=True)
class GgufRequest:
    """One engine with one GGUF model on one machine."""

    model: GgufModel
    engine: GgufEngine = "llama_cpp"
    gpu: Gpu | None = None
    """None: all of it on the CPU."""
    gpus: int = 1
    """GPUs that share its layers; of no meaning without `gpu`."""
    gpu_layers: int | None = None
    """Layers on the GPUs, the output counted as one more. Default: all."""
    gpu_memory: GiB | None = None
    """What CUDA reports as total, where it is known better than the catalogue's figure."""
    context: int | None = None
    """Tokens of the longest request, prompt and answer. Default: what the model was trained on."""
    parallel: int = 1
    """Requests at once (slots), each with room for `context`."""
    cache_type: str = "f16"
    """Of keys and values alike."""
    swa_full: bool = False
    """Layers with a window keep all tokens, so that prompts can be used again from any place."""
    pooling: str | None = None
    """For embedding and reranking: none, mean, cls, last, rank; empty to generate. Default: what the file says."""
    ubatch: int | None = None
    """Tokens of one forward pass. Default: 512, or `context` where the pooling needs all of a text at once."""
    host_memory: GiB | None = None
    """What it may have of the host's memory; None where that is not known."""
    prompt_cache: GiB | None = None
    """Room for old prompts on the host. Default: llama.cpp's 8 GiB, or half of what is left where that is less."""
    checkpoints: int | None = None
    """Saved states per slot, for models with windows or states. Default: llama.cpp's 32, or what half of the rest holds."""

    def but(self, **changes: Any) -> Self:
        """The same question with `changes`."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class KvCache:
    """One cache as llama.cpp's log prints it: layers with windows have their own."""

    kind: Literal["full", "window", "state"]
    cells: int
    """Tokens of one slot that it holds; 1 for states."""
    layers: int
    bytes: int
    """All slots together, on all devices."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """Memory of one GPU, or of the host. The parts add up to `used`."""

    name: str
    total: GiB | None
    """None where it is not known."""
    weights: GiB
    kv_cache: GiB
    compute: GiB
    other: GiB
    """GPU: what CUDA takes. Host: the program, outputs, saved prompts and states."""

    @property
    def used(self) -> GiB:
        """All parts together."""
        return self.weights + self.kv_cache + self.compute + self.other

    @property
    def free(self) -> GiB | None:
        """What is left; negative when it does not fit."""
        return None if self.total is None else self.total - self.used


@dataclass(frozen=True, kw_only=True)
class GgufSizing:
    """The answer."""

    request: GgufRequest
    """As asked, with every default filled in."""
    fits: bool
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    host: Device
    gpus: tuple[Device, ...]
    weights: GiB
    """Of the whole model, wherever they lie, as the engine loads it."""
    caches: tuple[KvCache, ...]
    kv_cache_tokens: int
    """Tokens that there is room for, all slots together."""
    kv_bytes_per_token: int
    """Of a long sequence's next token, over all layers."""
    max_concurrency: float
    """Requests of `context` tokens at once: the slots."""
    flags: dict[str, str | int | bool] = field(default_factory=dict)
    """Of llama-server without dashes; of Ollama its variables and parameters."""
    terms: tuple[Term, ...] = ()

    @property
    def kv_cache(self) -> GiB:
        """All caches together, wherever they lie."""
        return GiB.of_bytes(sum(cache.bytes for cache in self.caches))

    def plan(self) -> dict[str, float]:
        """What `slipway.deployment.actual` compares with the engine's log, under its names; empty where it does not fit."""
        if not self.fits:
            return {}
        return {
            "weights_gib": round(self.weights.value, 2),
            "kv_cache_gib": round(self.kv_cache.value, 2),
            "kv_cache_tokens": self.kv_cache_tokens,
            "max_concurrency": round(self.max_concurrency, 2),
        }

"""Parts that decoders and encoders are made of, as lines of the inventory.

How each is split over tensor-parallel ranks is that of vLLM's linear layers (vllm/model_executor/layers/linear.py,
0.19.0): column-parallel matrices by their outputs with the bias, row-parallel ones by their inputs with the bias on every
rank, QKV by whole KV heads, replicated ones and norms on every rank.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.sizing.architecture import Cache, Encoder, Layer, Split, Weights

Lines = tuple[Weights, ...]


def column(name: str, inputs: int, outputs: int, *, bias: bool = False, at: tuple[str, ...] = ()) -> Lines:
    """A matrix split by its outputs."""
    return _matrix(name, inputs, outputs, Split.RANKS, Split.RANKS if bias else None, at)


def row(name: str, inputs: int, outputs: int, *, bias: bool = False, at: tuple[str, ...] = ()) -> Lines:
    """A matrix split by its inputs; every rank holds the bias."""
    return _matrix(name, inputs, outputs, Split.RANKS, Split.COPIED if bias else None, at)


def copied(name: str, inputs: int, outputs: int, *, bias: bool = False, at: tuple[str, ...] = ()) -> Lines:
    """A matrix that every rank holds."""
    return _matrix(name, inputs, outputs, Split.COPIED, Split.COPIED if bias else None, at)


def _matrix(  # noqa: PLR0917 - a matrix is that much
    name: str, inputs: int, outputs: int, split: Split, bias: Split | None, at: tuple[str, ...]
) -> Lines:
    line = Weights(name, inputs * outputs, split, linear=True, rows=outputs, modules=at or (name,))
    return (line,) if bias is None else (line, Weights(f"{name}.bias", outputs, bias))


def vector(name: str, size: int, split: Split = Split.COPIED) -> Lines:
    """A norm, a bias, a convolution: never quantized."""
    return (Weights(name, size, split),)


def norm(name: str, size: int, *, bias: bool = False) -> Lines:
    """Weight and perhaps bias, on every rank."""
    return vector(name, size * (2 if bias else 1))


def table(name: str, rows: int, width: int) -> Lines:
    """An embedding split by its rows."""
    return (Weights(name, rows * width, Split.VOCABULARY, rows=rows, modules=(name,)),)


@dataclass(frozen=True)
class Mixer:
    """What one layer mixes tokens with: attention, or a recurrent part."""

    cache: Cache
    weights: Lines
    heads: int = 0


@dataclass(frozen=True)
class FeedForward:
    """What one layer does with each token alone."""

    weights: Lines
    intermediate: int = 0
    experts: int = 0
    top_k: int = 0
    expert_intermediate: int = 0
    shared_intermediate: int = 0

    def __add__(self, other: FeedForward) -> FeedForward:
        """Both in one layer, as a dense network beside routed experts."""
        return FeedForward(
            self.weights + other.weights,
            self.intermediate + other.intermediate,
            self.experts + other.experts,
            self.top_k + other.top_k,
            self.expert_intermediate + other.expert_intermediate,
            self.shared_intermediate + other.shared_intermediate,
        )


def layer(mixer: Mixer, feed_forward: FeedForward, norms: Lines) -> Layer:
    """One layer of a mixer, a feed-forward network and norms."""
    return Layer(
        cache=mixer.cache,
        weights=mixer.weights + feed_forward.weights + norms,
        heads=mixer.heads,
        intermediate=feed_forward.intermediate,
        experts=feed_forward.experts,
        top_k=feed_forward.top_k,
        expert_intermediate=feed_forward.expert_intermediate,
        shared_intermediate=feed_forward.shared_intermediate,
    )


@dataclass(frozen=True)
class Draft:
    """What a family makes of a config.json; `slipway.sizing.config` adds name, context, dtype and quantization."""

    hidden_size: int
    vocabulary: int
    layers: tuple[Layer, ...]
    outside: Lines
    tied: bool
    encoders: tuple[Encoder, ...] = ()
    logit_softcap: bool = False
    pooling: bool = False
    notes: tuple[str, ...] = field(default=())

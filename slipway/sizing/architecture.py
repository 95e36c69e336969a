"""What memory and speed follow from: a model as layers that keep state, and an inventory of its weights.

`slipway.sizing.config.read_config` makes an `Architecture` of a config.json; everything else in sizing and performance
starts from here and knows no model by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Literal


class Split(StrEnum):
    """How tensor parallelism spreads a tensor over its ranks."""

    RANKS = "ranks"
    """Each rank holds an equal part."""
    KV_HEADS = "kv_heads"
    """Each rank holds whole KV heads; with more ranks than heads, several ranks hold the same head."""
    VOCABULARY = "vocabulary"
    """Each rank holds an equal part of the rows, after the engine has padded their number."""
    COPIED = "copied"
    """Every rank holds all of it."""


@dataclass(frozen=True)
class Weights:
    """Tensors of one kind in one layer (or outside the layers): one line of the inventory."""

    name: str
    """What it is, in the words of the checkpoint: q_proj, kv_proj, experts, router, norm, embed_tokens, lm_head, vision…"""
    parameters: int
    """In all ranks together, as in the checkpoint."""
    split: Split
    linear: bool = False
    """A linear layer's matrix, so that a quantization may apply to it; false for norms, biases, embeddings, convolutions."""
    rows: int = 0
    """Output features of a linear matrix or rows of an embedding, 0 where it has none; scales per channel follow from it."""
    expert: bool = False
    """Belongs to a routed expert: only `top_k` of `experts` are read for a token."""
    on_disk: bool = True
    """False for what the engine holds and the checkpoint does not (tables of rotary positions)."""
    kv_heads: int = 0
    """Of a line split by KV heads: how many heads it has."""
    modules: tuple[str, ...] = ()
    """Names of the checkpoint's modules in it, from the layer on (`self_attn.k_proj`): a quantization excludes by them."""


CacheKind = Literal["full", "sliding", "chunked", "mla", "state", "none"]


@dataclass(frozen=True)
class Cache:
    """What one layer keeps of a sequence.

    full, sliding and chunked keep keys and values of `kv_heads` heads; sliding and chunked only for `window` tokens. mla
    keeps one latent of `latent` values, the same on every rank. state keeps a fixed amount per sequence, however long.
    """

    kind: CacheKind
    kv_heads: int = 0
    head_dim: int = 0
    """Size of a key."""
    value_dim: int = 0
    """Size of a value; mostly that of a key."""
    window: int = 0
    """Tokens; 0 where the kind has none."""
    latent: int = 0
    """mla: kv_lora_rank + qk_rope_head_dim."""
    index_dim: int = 0
    """mla with sparse attention (DeepSeek V3.2): size of the indexer's key, kept beside the latent; 0 without."""
    state_elements: tuple[tuple[int, ...], ...] = ()
    """state: shapes of what is kept per sequence in all ranks together (convolution state first, then the recurrent one)."""
    state_bytes: tuple[int, ...] = ()
    """state: bytes of an element of each shape; 0, or none given, is the model's own type."""
    state_kind: Literal["", "mamba1", "mamba2", "gdn", "linear", "short_conv"] = ""


@dataclass(frozen=True)
class Layer:
    """One decoder layer."""

    cache: Cache
    weights: tuple[Weights, ...]
    heads: int = 0
    """Query heads; 0 in layers without attention."""
    intermediate: int = 0
    """Inner size of the dense feed-forward network, 0 where the layer has none."""
    experts: int = 0
    top_k: int = 0
    expert_intermediate: int = 0
    """Inner size of one routed expert."""
    shared_intermediate: int = 0
    """Inner size of the shared experts together; 0 without."""


@dataclass(frozen=True)
class Encoder:
    """A vision or audio tower beside the language model, with its projector."""

    modality: Literal["image", "audio"]
    weights: tuple[Weights, ...]
    hidden_size: int
    tokens_per_item: int
    """The most tokens that one item (image, clip) becomes for the language model."""
    patches_per_item: int = 0
    """The most patches that the tower itself works on for one item."""
    most_images: int = 1
    """Images that a video may come to; 1 where videos are no larger than an image."""


@dataclass(frozen=True)
class QuantizedWeights:
    """How a checkpoint stores its linear layers, from `quantization_config`."""

    method: str
    """In the words of vLLM: fp8, gptq, awq, compressed-tensors, mxfp4, modelopt, auto-round, bitsandbytes…"""
    bits: float
    group_size: int | None
    """Weights per scale; None for a scale per channel or tensor."""
    scale_bits: int = 16
    zero_point_bits: float = 0
    """Bits of a zero point per group; 0 for symmetric schemes."""
    block: tuple[int, int] | None = None
    """Block of a block-wise scale, as (rows, columns): DeepSeek's FP8 has (128, 128)."""
    per_channel: bool = False
    dynamic_activations: bool = True
    excluded: tuple[str, ...] = ()
    """Names, or patterns beginning with `re:`, of modules that stay unquantized, as the checkpoint gives them."""
    quantizes: tuple[str, ...] = ()
    """Names of inventory lines that are quantized; empty: every linear one that `excluded` does not name."""
    targets: tuple[str, ...] = ()
    """Modules that it is for, as names, patterns beginning with `re:`, or classes (`Linear`); empty: all."""
    further: tuple[QuantizedWeights, ...] = ()
    """Schemes of other modules in the same checkpoint; the first whose targets name a module holds."""


@dataclass(frozen=True)
class Architecture:
    """A model as the engine will hold it."""

    name: str
    model_type: str
    hidden_size: int
    vocabulary: int
    layers: tuple[Layer, ...]
    outside: tuple[Weights, ...]
    """Embeddings, final norm, output head: what is on the first or last pipeline rank only."""
    context: int
    """max_position_embeddings, or what the rope scaling makes of it."""
    dtype: str
    """Of the checkpoint: bfloat16, float16, float32."""
    tied: bool
    """The output head is the embedding."""
    encoders: tuple[Encoder, ...] = ()
    quantization: QuantizedWeights | None = None
    pooling: bool = False
    """An embedding or reranking model: no token is sampled."""
    logit_softcap: bool = False
    notes: tuple[str, ...] = field(default=())
    """What the reader of the config could not know and assumed."""

    @property
    def inventory(self) -> Iterator[Weights]:
        """All weights, layer by layer, then what is outside them."""
        for layer in self.layers:
            yield from layer.weights
        yield from self.outside
        for encoder in self.encoders:
            yield from encoder.weights

    @cached_property
    def parameters(self) -> int:
        """Of the checkpoint."""
        return sum(weights.parameters for weights in self.inventory if weights.on_disk)

    @cached_property
    def active_parameters(self) -> int:
        """Those that one token passes: of the routed experts only the chosen; without encoders; embeddings counted once."""
        total = 0
        for layer in self.layers:
            for weights in layer.weights:
                share = layer.top_k / layer.experts if weights.expert else 1
                total += round(weights.parameters * share)
        return total + sum(weights.parameters for weights in self.outside if weights.on_disk)

    @cached_property
    def attention_layers(self) -> tuple[Layer, ...]:
        """Layers that keep something for every token, or for a window of them."""
        return tuple(layer for layer in self.layers if layer.cache.kind not in ("state", "none"))

    @cached_property
    def heads(self) -> int:
        """Query heads of the attention layers; the most, where they differ."""
        return max((layer.heads for layer in self.layers), default=0)

    @cached_property
    def kv_heads(self) -> int:
        """KV heads of the attention layers; the most, where they differ. 1 for MLA."""
        return max((layer.cache.kv_heads for layer in self.attention_layers), default=0)

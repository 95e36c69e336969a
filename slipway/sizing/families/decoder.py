"""The decoder that most families are variations of, and its usual parts.

Parameter counts follow the modelling files of Hugging Face Transformers (4.57 and 5), splits those of vLLM 0.19.0's
models (vllm/model_executor/models/).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from slipway.sizing.architecture import Cache, Layer, Split, Weights
from slipway.sizing.families.keys import MOST_LAYERS, Keys
from slipway.sizing.families.parts import (
    Draft,
    FeedForward,
    Lines,
    Mixer,
    column,
    copied,
    layer,
    norm,
    row,
    table,
    vector,
)
from slipway.sizing.families.rotary import rotary_positions, rotary_table

QkNorm = Literal["", "head", "full"]
ATTENTION = ("full_attention", "sliding_attention", "chunked_attention")
"""Kinds of attention, in the words of `layer_types`."""


def hidden_size(keys: Keys) -> int:
    """Width of the residual stream."""
    return keys.count("hidden_size", "n_embd", "d_model", "n_embed")


def layer_count(keys: Keys) -> int:
    """Decoder layers."""
    return keys.count("num_hidden_layers", "n_layer", "n_layers", "num_layers", most=MOST_LAYERS)


def vocabulary(keys: Keys) -> int:
    """Rows of the embedding."""
    return keys.count("vocab_size", "padded_vocab_size")


def head_counts(keys: Keys, *, kv: int | None = None) -> tuple[int, int]:
    """Query heads and KV heads; `kv` is the class's default, else as many as query heads.

    Raises:
        SizingError: KV heads do not divide the query heads.
    """
    heads = keys.count("num_attention_heads", "n_head", "n_heads", most=1 << 16)
    kv_heads = keys.count("num_key_value_heads", "num_kv_heads", default=kv or heads, most=1 << 16)
    if heads % kv_heads:
        name = "num_key_value_heads" if "num_key_value_heads" in keys else "num_kv_heads"
        raise keys.wrong(name, f"is {kv_heads}; it must divide the {heads} attention heads")
    return heads, kv_heads


def head_size(keys: Keys, *, default: int | None = None) -> int:
    """Size of a head: head_dim, else the class's default, else hidden size / heads.

    Raises:
        SizingError: There is no head_dim and the heads do not divide the hidden size.
    """
    if "head_dim" in keys or default:
        return keys.count("head_dim", default=default, most=1 << 16)
    hidden, (heads, _) = hidden_size(keys), head_counts(keys)
    if hidden % heads:
        raise keys.wrong(
            "num_attention_heads", f"is {heads}, which does not divide hidden_size {hidden}; head_dim is missing"
        )
    return hidden // heads


def attention(
    keys: Keys,
    *,
    kind: str = "full_attention",
    window: int = 0,
    heads: int | None = None,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    bias: bool = False,
    out_bias: bool = False,
    qk_norm: QkNorm = "",
    sinks: bool = False,
    gated: bool = False,
    key_is_value: bool = False,
    shares_cache: bool = False,
    at: str = "self_attn",
    names: tuple[str, str, str, str] = ("q_proj", "k_proj", "v_proj", "o_proj"),
) -> Mixer:
    """Attention with separate or grouped KV heads.

    Args:
        keys: Of the decoder; heads and their size come from there unless given.
        kind: In the words of `layer_types`.
        window: Tokens that sliding and chunked layers keep.
        heads: Query heads.
        kv_heads: KV heads.
        head_dim: Size of a head.
        bias: Of q, k and v.
        out_bias: Of the output.
        qk_norm: A norm of q and k over each head, or over all of them.
        sinks: One learned logit per head.
        gated: The query's matrix also makes a gate for the output.
        key_is_value: There is no matrix for values.
        shares_cache: It reads an earlier layer's keys and values and keeps none of its own.
        at: Module's name in the layer.
        names: Modules of q, k, v and o in it.
    """
    if kind not in ATTENTION:
        raise keys.wrong("layer_types", f"has {kind!r}; for this model_type {', '.join(ATTENTION)} are known")
    count, kv_count = head_counts(keys) if heads is None or kv_heads is None else (heads, kv_heads)
    size = head_dim or head_size(keys)
    hidden = hidden_size(keys)
    q, k, v, o = (f"{at}.{name}" for name in names)
    kv_rows = kv_count * size * (1 if key_is_value else 2)
    at_kv = (k,) if key_is_value else (k, v)
    weights = column("q_proj", hidden, count * size * (2 if gated else 1), bias=bias, at=(q,))
    weights += kv_lines(hidden, kv_rows, kv_count, bias=bias, at=at_kv)
    weights += row("o_proj", count * size, hidden, bias=out_bias, at=(o,))
    if qk_norm == "head":
        weights += norm("q_norm", size) + norm("k_norm", size)
    elif qk_norm == "full":
        weights += norm("q_norm", count * size) + norm("k_norm", kv_count * size)
    if sinks:
        weights += vector("sinks", count, Split.RANKS)
    return Mixer(kv_cache(kind, kv_count, size, window, shares_cache=shares_cache), weights, count)


def kv_lines(hidden: int, rows: int, kv_heads: int, *, bias: bool, at: tuple[str, ...]) -> Lines:
    """Matrices of keys and values."""
    lines: Lines = (
        Weights("kv_proj", hidden * rows, Split.KV_HEADS, linear=True, rows=rows, kv_heads=kv_heads, modules=at),
    )
    return (*lines, Weights("kv_proj.bias", rows, Split.KV_HEADS, kv_heads=kv_heads)) if bias else lines


def kv_cache(kind: str, kv_heads: int, head_dim: int, window: int, *, shares_cache: bool = False) -> Cache:
    """Cache of a layer of this kind, in the words of `layer_types`."""
    if shares_cache:
        return Cache("none", kv_heads=kv_heads, head_dim=head_dim, value_dim=head_dim)
    if kind == "full_attention" or not window:
        return Cache("full", kv_heads=kv_heads, head_dim=head_dim, value_dim=head_dim)
    return Cache(
        "chunked" if kind == "chunked_attention" else "sliding",
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=head_dim,
        window=window,
    )


def mlp(
    hidden: int,
    intermediate: int,
    *,
    gated: bool = True,
    bias: bool = False,
    at: str = "mlp",
    names: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj"),
) -> FeedForward:
    """A dense feed-forward network; `names` are those of its modules, the last being the output's."""
    inward, outward = tuple(f"{at}.{name}" for name in names[:-1]), f"{at}.{names[-1]}"
    name = "gate_up_proj" if gated else "up_proj"
    weights = column(name, hidden, intermediate * (2 if gated else 1), bias=bias, at=inward)
    return FeedForward(weights + row("down_proj", intermediate, hidden, bias=bias, at=(outward,)), intermediate)


def experts(
    hidden: int,
    count: int,
    top_k: int,
    intermediate: int,
    *,
    shared: int = 0,
    shared_gate: bool = False,
    router_bias: bool = False,
    correction: bool = False,
    bias: bool = False,
    gated: bool = True,
    at: str = "mlp",
    router: str = "gate",
    names: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj"),
    shared_at: str = "shared_experts",
) -> FeedForward:
    """Routed experts, perhaps with shared ones of inner size `shared` together.

    Args:
        hidden: Width of the residual stream.
        count: Routed experts.
        top_k: Of them for a token.
        intermediate: Inner size of one.
        shared: Inner size of the shared experts together.
        shared_gate: A scalar gate on the shared ones.
        router_bias: The router has a bias.
        correction: The router has a correction bias for each expert (DeepSeek V3).
        bias: The experts have biases.
        gated: They have a gate.
        at: Module's name in the layer.
        router: The router's name in it.
        names: Of an expert's modules; the last is the output's.
        shared_at: Name of the shared experts' module.
    """
    inner = intermediate * (2 if gated else 1)
    inward = tuple(f"{at}.experts.0.{name}" for name in names[:-1])
    outward = f"{at}.experts.0.{names[-1]}"
    weights = copied("router", hidden, count, bias=router_bias, at=(f"{at}.{router}",))
    if correction:
        weights += vector("router.correction_bias", count)
    weights += _expert("experts.gate_up_proj", count, hidden, inner, inward)
    weights += _expert("experts.down_proj", count, intermediate, hidden, (outward,))
    if bias:
        weights += (
            Weights("experts.gate_up_proj.bias", count * inner, Split.RANKS, expert=True),
            Weights("experts.down_proj.bias", count * hidden, Split.COPIED, expert=True),
        )
    if shared:
        part = mlp(hidden, shared, gated=gated, at=f"{at}.{shared_at}", names=names)
        weights += tuple(replace(line, name=f"shared_experts.{line.name}") for line in part.weights)
        if shared_gate:
            weights += copied("shared_expert_gate", hidden, 1, at=(f"{at}.shared_expert_gate",))
    return FeedForward(
        weights,
        experts=count,
        top_k=min(top_k, count),
        expert_intermediate=intermediate,
        shared_intermediate=shared,
    )


def _expert(name: str, count: int, inputs: int, outputs: int, at: tuple[str, ...]) -> Lines:
    return (
        Weights(
            name, count * inputs * outputs, Split.RANKS, linear=True, rows=count * outputs, expert=True, modules=at
        ),
    )


def kinds(keys: Keys, usual: Callable[[int], str] | None = None) -> tuple[str, ...]:
    """What each layer is, in the words of `layer_types`: that key, else `usual` of the layer's number.

    Without either, `sliding_window` makes all layers sliding, as vLLM reads it.
    """
    count = layer_count(keys)
    listed = keys.per_layer("layer_types", count)
    if listed:
        for item in listed:
            if not isinstance(item, str):
                raise keys.wrong("layer_types", f"has {item!r}; names of kinds are wanted")
        return tuple(listed)
    if usual is None:
        everywhere = "sliding_attention" if "sliding_window" in keys else "full_attention"
        return (everywhere,) * count
    return tuple(usual(number) for number in range(count))


def sliding_window(keys: Keys, default: int = 0) -> int:
    """Tokens of the window; 0 where there is none."""
    return keys.count("sliding_window", default=default, least=0)


def decoder(
    keys: Keys,
    mixer: Callable[[int], Mixer],
    feed_forward: Callable[[int], FeedForward],
    *,
    norms: int = 2,
    norm_bias: bool = False,
    tied: bool = False,
    head_bias: bool = False,
    final_norm: bool = True,
    embedding: Lines = (),
    rotary: int = 0,
    softcap: bool = False,
    notes: tuple[str, ...] = (),
) -> Draft:
    """A decoder of these layers.

    Args:
        keys: Of the decoder.
        mixer: Attention of a layer by its number.
        feed_forward: Feed-forward network of a layer by its number.
        norms: Of the hidden size in each layer.
        norm_bias: They have a bias, as LayerNorm does.
        tied: Default of tie_word_embeddings.
        head_bias: The output head has a bias.
        final_norm: There is one after the last layer.
        embedding: Lines beside the table of tokens (positions, a norm).
        rotary: Size of what is rotated of a head; 0 without rotary positions.
        softcap: The logits pass through a tanh.
        notes: What was assumed.
    """
    hidden, words = hidden_size(keys), vocabulary(keys)
    is_tied = keys.flag("tie_word_embeddings", tied)
    inner = norm("norms", norms * hidden, bias=norm_bias) if norms else ()
    outside = table("embed_tokens", words, hidden) + embedding
    if final_norm:
        outside += norm("norm", hidden, bias=norm_bias)
    if not is_tied:
        outside += tuple(replace(line, linear=True) for line in table("lm_head", words, hidden))
    if head_bias:
        outside += table("lm_head.bias", words, 1)
    if rotary:
        outside += rotary_table(rotary_positions(keys), rotary)
    return Draft(
        hidden_size=hidden,
        vocabulary=words,
        layers=_layers(layer_count(keys), mixer, feed_forward, inner),
        outside=outside,
        tied=is_tied,
        logit_softcap=softcap,
        notes=notes,
    )


def _layers(
    count: int, mixer: Callable[[int], Mixer], feed_forward: Callable[[int], FeedForward], norms: Lines
) -> tuple[Layer, ...]:
    """Layers of the same parts are the same object, so that whoever sums over them can do so once."""
    made: dict[tuple[int, int], tuple[Mixer, FeedForward, Layer]] = {}
    layers = []
    for number in range(count):
        parts = mixer(number), feed_forward(number)
        key = id(parts[0]), id(parts[1])
        if key not in made:
            # The parts are kept with the layer: an id is only good for as long as its object lives.
            made[key] = (*parts, layer(*parts, norms))
        layers.append(made[key][2])
    return tuple(layers)

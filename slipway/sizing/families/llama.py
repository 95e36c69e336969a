"""Llama, and what differs from it in a default or two: Mistral, Qwen 2 and 3 without experts, SmolLM 3, Seed-OSS, InternLM."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from slipway.sizing.families.decoder import (
    QkNorm,
    attention,
    decoder,
    head_counts,
    head_size,
    hidden_size,
    kinds,
    mlp,
    sliding_window,
)
from slipway.sizing.families.keys import CONTEXT_KEYS, MOST_POSITIONS, Keys
from slipway.sizing.families.parts import Draft, vector


def llama(
    keys: Keys,
    *,
    tied: bool = False,
    bias: bool | None = None,
    out_bias: bool | None = None,
    mlp_bias: bool | None = None,
    gated: bool = True,
    inner_times: int = 0,
    qk_norm: QkNorm = "",
    norms: int = 2,
    norm_bias: bool = False,
    final_norm: bool = True,
    head_bias: bool = False,
    head_dim: int | None = None,
    kv_heads: int | None = None,
    positions: int | None = None,
    share: float = 1.0,
    layer_kinds: Callable[[Keys], tuple[str, ...]] = kinds,
) -> Draft:
    """A decoder of attention and a dense network in every layer.

    Args:
        keys: Of the decoder.
        tied: Default of tie_word_embeddings.
        bias: Of q, k and v; None reads attention_bias.
        out_bias: Of the output; None takes attention_bias.
        mlp_bias: Of the network; None reads mlp_bias.
        gated: The network has a gate.
        inner_times: Inner size of the network in hidden sizes where no key tells; 0: a key must tell.
        qk_norm: A norm of q and k over each head, or over all of them.
        norms: Of the hidden size in each layer.
        norm_bias: They have a bias, as LayerNorm does.
        final_norm: There is one after the last layer.
        head_bias: The output head has a bias.
        head_dim: Default of head_dim.
        kv_heads: Default of num_key_value_heads; None is as many as query heads.
        positions: Rows that a learned table of positions has beyond the longest context; None: positions are rotary.
        share: Default of the rotated share of a head.
        layer_kinds: What each layer is.
    """
    own = keys.flag("attention_bias", default=keys.flag("use_bias", default=keys.flag("bias", default=False)))
    of_kind, window = layer_kinds(keys), sliding_window(keys)
    hidden, size = hidden_size(keys), head_size(keys, default=head_dim)
    heads, kv_count = head_counts(keys, kv=kv_heads)
    inner = inner_size(keys, inner_times * hidden)
    if mlp_bias is None:
        mlp_bias = keys.flag("mlp_bias", default=keys.flag("use_bias", default=False))
    network = mlp(hidden, inner, gated=gated, bias=mlp_bias)
    mixers = {
        kind: attention(
            keys,
            kind=kind,
            window=window,
            heads=heads,
            kv_heads=kv_count,
            head_dim=size,
            bias=own if bias is None else bias,
            out_bias=own if out_bias is None else out_bias,
            qk_norm=qk_norm,
        )
        for kind in set(of_kind)
    }
    longest = keys.count(*CONTEXT_KEYS, default=2048, most=MOST_POSITIONS) if positions is not None else 0
    return decoder(
        keys,
        lambda i: mixers[of_kind[i]],
        lambda _: network,
        norms=norms,
        norm_bias=norm_bias,
        tied=tied,
        head_bias=head_bias,
        final_norm=final_norm,
        embedding=vector("positions", (longest + (positions or 0)) * hidden) if positions is not None else (),
        rotary=int(size * rotary_share(keys, share)) if positions is None else 0,
    )


def inner_size(keys: Keys, default: int = 0) -> int:
    """Inner size of the dense network, under any of its names."""
    return keys.count("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", default=default or None)


def rotary_share(keys: Keys, default: float = 1.0) -> float:
    """How much of a head is rotated."""
    rope = keys.section("rope_parameters")
    if rope is not None and "partial_rotary_factor" in rope:
        return rope.share("partial_rotary_factor", default)
    return keys.share("partial_rotary_factor", keys.share("rotary_pct", default))


def qwen_kinds(keys: Keys) -> tuple[str, ...]:
    """Qwen's window is off unless use_sliding_window, and then begins at layer max_window_layers."""
    windowed = keys.flag("use_sliding_window", default=False) and "sliding_window" in keys
    first = keys.count("max_window_layers", default=28, least=0)
    usual = kinds(keys, lambda i: "sliding_attention" if windowed and i >= first else "full_attention")
    return usual if windowed else ("full_attention",) * len(usual)


def seed_oss(keys: Keys) -> Draft:
    """Biases of q, k and v, and of the output, each under a key of its own."""
    return llama(
        keys,
        bias=keys.flag("attention_bias", default=True),
        out_bias=keys.flag("attention_out_bias", default=False),
        head_dim=128,
    )


def internlm3(keys: Keys) -> Draft:
    """qkv_bias is that of q, k and v; bias that of all other matrices."""
    rest = keys.flag("bias", default=False)
    return llama(keys, bias=keys.flag("qkv_bias", default=False), out_bias=rest, mlp_bias=rest)


MODEL_TYPES = {
    "llama": llama,
    "mistral": partial(llama, bias=False, out_bias=False),
    "ministral": partial(llama, bias=False, out_bias=False),
    "ministral3": partial(llama, bias=False, out_bias=False),
    "qwen2": partial(llama, bias=True, out_bias=False, layer_kinds=qwen_kinds),
    "mimo": partial(llama, bias=True, out_bias=False, layer_kinds=qwen_kinds),
    "qwen3": partial(llama, qk_norm="head", head_dim=128, layer_kinds=qwen_kinds),
    "yi": llama,
    "aquila": llama,
    "internlm": llama,
    "internlm2": llama,
    "internlm3": internlm3,
    "baichuan": llama,
    "smollm3": partial(llama, tied=True, layer_kinds=qwen_kinds),
    "seed_oss": seed_oss,
    "arcee": partial(llama, gated=False),
    "apertus": partial(llama, gated=False, qk_norm="head"),
    "orion": partial(llama, norm_bias=True),
    "minicpm": partial(llama, tied=True),
}

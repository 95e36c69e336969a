"""Liquid's LFM 2: short convolutions, and attention in some layers; with experts or without."""

from __future__ import annotations

from slipway.sizing.families.decoder import attention, decoder, experts, head_size, hidden_size, kinds, layer_count, mlp
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft
from slipway.sizing.families.recurrent import short_convolution


def lfm2(keys: Keys) -> Draft:
    """Layers are of `layer_types`, or attend where `full_attn_idxs` lists them."""
    hidden, size, layers = hidden_size(keys), head_size(keys), layer_count(keys)
    listed = {keys.whole("full_attn_idxs", item, least=0) for item in keys.items("full_attn_idxs")}
    of_kind = kinds(keys, lambda i: "full_attention" if i in listed or not listed else "conv")
    mixers = {
        "full_attention": attention(keys, head_dim=size, qk_norm="head"),
        "conv": short_convolution(
            hidden,
            inner=keys.count("conv_dim", default=hidden),
            kernel=keys.count("conv_L_cache", default=3, most=1 << 10),
            bias=keys.flag("conv_bias", default=False),
        ),
    }
    for kind in of_kind:
        if kind not in mixers:
            raise keys.wrong("layer_types", f"has {kind!r}; full_attention and conv are known")
    count = keys.count("num_experts", default=0, least=0)
    plain_layers = keys.count("num_dense_layers", default=0, least=0) if count else layers
    dense = mlp(hidden, _inner(keys), at="feed_forward", names=("w1", "w3", "w2"))
    routed = dense
    if count:
        routed = experts(
            hidden,
            count,
            keys.count("num_experts_per_tok", default=4),
            keys.count("moe_intermediate_size"),
            correction=keys.flag("use_expert_bias", default=True),
            at="feed_forward",
            names=("w1", "w3", "w2"),
        )
    return decoder(
        keys, lambda i: mixers[of_kind[i]], lambda i: dense if i < plain_layers else routed, tied=True, rotary=size
    )


def _inner(keys: Keys) -> int:
    """Dense models say twice of a number that is cut to two thirds and rounded up."""
    inner = keys.count("intermediate_size", "block_ff_dim")
    if not keys.flag("block_auto_adjust_ff_dim", default="num_experts" not in keys):
        return inner
    inner = int(2 * inner // 3 * keys.positive("block_ffn_dim_multiplier", 1.0))
    multiple = keys.count("block_multiple_of", default=256)
    return max(1, -(-inner // multiple)) * multiple


MODEL_TYPES = {"lfm2": lfm2, "lfm2_moe": lfm2}

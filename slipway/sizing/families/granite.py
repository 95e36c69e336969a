"""IBM's Granite: dense, mixtures, and version 4, whose layers are mostly Mamba 2."""

from __future__ import annotations

from dataclasses import replace

from slipway.sizing.families.decoder import (
    attention,
    decoder,
    experts,
    head_size,
    hidden_size,
    kinds,
    mlp,
)
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import llama
from slipway.sizing.families.parts import Draft, FeedForward, Mixer
from slipway.sizing.families.recurrent import mamba2, state_width


def network(keys: Keys) -> FeedForward:
    """Routed experts if there are any, and the dense network beside them if there is one."""
    hidden, count = hidden_size(keys), keys.count("num_local_experts", default=0, least=0)
    shared = keys.count("shared_intermediate_size", default=0, least=0)
    parts = FeedForward(())
    if count:
        parts += experts(
            hidden,
            count,
            keys.count("num_experts_per_tok", default=2),
            keys.count("intermediate_size"),
            at="block_sparse_moe",
            router="router.layer",
            names=("input_linear", "output_linear"),
        )
    if shared:
        dense = mlp(hidden, shared, at="shared_mlp", names=("input_linear", "output_linear"))
        parts += replace(dense, intermediate=0, shared_intermediate=shared) if count else dense
    if not parts.weights:
        raise keys.wrong("num_local_experts", "is 0 and shared_intermediate_size too; one of them must be above it")
    return parts


def granitemoe(keys: Keys) -> Draft:
    """Granite 3's mixtures, with shared experts or without."""
    size, bias = head_size(keys), keys.flag("attention_bias", default=False)
    mixer, part = attention(keys, head_dim=size, bias=bias, out_bias=bias), network(keys)
    return decoder(keys, lambda _: mixer, lambda _: part, rotary=size)


def granitemoehybrid(keys: Keys) -> Draft:
    """Granite 4."""
    hidden, size = hidden_size(keys), head_size(keys)
    of_kind = kinds(keys, lambda _: "mamba")
    bias = keys.flag("attention_bias", default=False)
    mixers = {"attention": attention(keys, head_dim=size, bias=bias, out_bias=bias)}
    if "mamba" in of_kind:
        mixers["mamba"] = mamba_of(keys, hidden)
    for kind in of_kind:
        if kind not in mixers:
            raise keys.wrong("layer_types", f"has {kind!r}; attention and mamba are known")
    part = network(keys)
    rotary = size if keys.text("position_embedding_type", "rope") == "rope" else 0
    return decoder(keys, lambda i: mixers[of_kind[i]], lambda _: part, rotary=rotary)


def mamba_of(keys: Keys, hidden: int, inner: int | None = None, *, normed: bool = True) -> Mixer:
    """Mamba 2 under the keys that Granite, Bamba and Falcon share."""
    heads = keys.count("mamba_n_heads", default=128, most=1 << 16)
    expanded = inner or keys.count("mamba_expand", default=2, most=64) * hidden
    size = expanded // heads if keys.get("mamba_d_head", "auto") == "auto" else keys.count("mamba_d_head", most=1 << 16)
    if size < 1:
        raise keys.wrong("mamba_n_heads", f"is {heads}, more than the {expanded} channels")
    return mamba2(
        hidden,
        heads=heads,
        head_dim=size,
        groups=keys.count("mamba_n_groups", default=1, most=1 << 16),
        state=keys.count("mamba_d_state", default=256, most=1 << 16),
        kernel=keys.count("mamba_d_conv", default=4, most=1 << 10),
        bias=keys.flag("mamba_proj_bias", default=False),
        conv_bias=keys.flag("mamba_conv_bias", default=True),
        normed=normed,
        width=state_width(keys, "mamba_ssm_cache_dtype"),
    )


def bamba(keys: Keys) -> Draft:
    """Bamba: Mamba 2 with attention in the layers that are listed, a dense network in each."""
    hidden, size = hidden_size(keys), head_size(keys)
    listed = {keys.whole("attn_layer_indices", item, least=0) for item in keys.items("attn_layer_indices")}
    attending, mamba = attention(keys, head_dim=size), mamba_of(keys, hidden)
    dense = mlp(hidden, keys.count("intermediate_size"), at="feed_forward")
    return decoder(keys, lambda i: attending if i in listed else mamba, lambda _: dense, rotary=size // 2)


MODEL_TYPES = {
    "granite": llama,
    "granitemoe": granitemoe,
    "granitemoeshared": granitemoe,
    "granitemoehybrid": granitemoehybrid,
    "bamba": bamba,
}

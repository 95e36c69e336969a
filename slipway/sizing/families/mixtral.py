"""Decoders whose every layer (or most) has routed experts in place of the dense network: Mixtral, Qwen-MoE."""

from __future__ import annotations

from slipway.sizing.families.decoder import (
    attention,
    decoder,
    experts,
    head_size,
    hidden_size,
    kinds,
    layer_count,
    mlp,
    sliding_window,
)
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import qwen_kinds
from slipway.sizing.families.parts import Draft

MIXTRAL_NAMES = ("w1", "w3", "w2")


def mixtral(keys: Keys) -> Draft:
    """Experts in every layer."""
    of_kind, window, size = kinds(keys), sliding_window(keys), head_size(keys)
    network = experts(
        hidden_size(keys),
        keys.count("num_local_experts", default=8),
        keys.count("num_experts_per_tok", default=2),
        keys.count("intermediate_size"),
        at="block_sparse_moe",
        names=MIXTRAL_NAMES,
    )
    mixer = attention(keys, kind=of_kind[0], window=window, head_dim=size)
    return decoder(keys, lambda _: mixer, lambda _: network, rotary=size)


def dense_layers(keys: Keys) -> set[int]:
    """Qwen's layers without experts: those of mlp_only_layers, and all but every decoder_sparse_step-th."""
    step = keys.count("decoder_sparse_step", default=1)
    listed = {keys.whole("mlp_only_layers", item, least=0) for item in keys.items("mlp_only_layers")}
    return listed | {i for i in range(layer_count(keys)) if (i + 1) % step}


def qwen3_moe(keys: Keys) -> Draft:
    """Qwen 3 with experts."""
    of_kind, window, size, dense = (
        qwen_kinds(keys),
        sliding_window(keys),
        head_size(keys),
        dense_layers(keys),
    )
    bias = keys.flag("attention_bias", default=False)
    routed = experts(
        hidden_size(keys),
        keys.count("num_experts", "num_local_experts"),
        keys.count("num_experts_per_tok", default=8),
        keys.count("moe_intermediate_size"),
    )
    plain = mlp(hidden_size(keys), keys.count("intermediate_size")) if dense else routed
    mixers = {
        kind: attention(keys, kind=kind, window=window, head_dim=size, bias=bias, out_bias=bias, qk_norm="head")
        for kind in set(of_kind)
    }
    return decoder(keys, lambda i: mixers[of_kind[i]], lambda i: plain if i in dense else routed, rotary=size)


def qwen2_moe(keys: Keys) -> Draft:
    """Qwen 1.5 and 2 with experts: one shared expert behind a gate."""
    of_kind, window, size, dense = qwen_kinds(keys), sliding_window(keys), head_size(keys), dense_layers(keys)
    routed = experts(
        hidden_size(keys),
        keys.count("num_experts"),
        keys.count("num_experts_per_tok", default=4),
        keys.count("moe_intermediate_size"),
        shared=keys.count("shared_expert_intermediate_size", default=5632, least=0),
        shared_gate=True,
        shared_at="shared_expert",
    )
    plain = mlp(hidden_size(keys), keys.count("intermediate_size")) if dense else routed
    mixers = {
        kind: attention(keys, kind=kind, window=window, head_dim=size, bias=keys.flag("qkv_bias", default=True))
        for kind in set(of_kind)
    }
    return decoder(keys, lambda i: mixers[of_kind[i]], lambda i: plain if i in dense else routed, rotary=size)


MODEL_TYPES = {"mixtral": mixtral, "qwen2_moe": qwen2_moe, "qwen3_moe": qwen3_moe}

"""MiniMax: M2 (attention in every layer, q and k normed over all heads), and Text-01 and M1 (mostly linear attention)."""

from __future__ import annotations

from slipway.sizing.families.decoder import (
    attention,
    decoder,
    experts,
    head_counts,
    head_size,
    hidden_size,
    layer_count,
)
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.mixtral import MIXTRAL_NAMES
from slipway.sizing.families.parts import Draft
from slipway.sizing.families.recurrent import lightning


def minimax_m2(keys: Keys) -> Draft:
    """M2, M2.1, M2.5."""
    size = head_size(keys, default=128)
    normed = keys.flag("use_qk_norm", default=True)
    mixer = attention(keys, head_dim=size, qk_norm="full" if normed else "")
    network = experts(
        hidden_size(keys),
        keys.count("num_local_experts"),
        keys.count("num_experts_per_tok", default=8),
        keys.count("intermediate_size"),
        correction=keys.flag("use_routing_bias", default=True),
        at="block_sparse_moe",
        names=MIXTRAL_NAMES,
    )
    rotary = keys.count("rotary_dim", default=size // 2 or 1, most=1 << 16)
    return decoder(keys, lambda _: mixer, lambda _: network, rotary=rotary)


def minimax_text(keys: Keys) -> Draft:
    """`attn_type_list` has 1 for attention and 0 for linear attention."""
    layers = layer_count(keys)
    listed = keys.per_layer("attn_type_list", layers) or keys.per_layer("layer_types", layers)
    attends = [item in (1, "full_attention") for item in listed] if listed else [i % 8 == 7 for i in range(layers)]
    size, (heads, _) = head_size(keys), head_counts(keys)
    attending, linear = attention(keys, head_dim=size), lightning(hidden_size(keys), heads=heads, head_dim=size)
    network = experts(
        hidden_size(keys),
        keys.count("num_local_experts"),
        keys.count("num_experts_per_tok", default=2),
        keys.count("intermediate_size"),
        at="block_sparse_moe",
        names=MIXTRAL_NAMES,
    )
    rotary = keys.count("rotary_dim", default=size, most=1 << 16)
    return decoder(keys, lambda i: attending if attends[i] else linear, lambda _: network, rotary=rotary)


MODEL_TYPES = {
    "minimax_m2": minimax_m2,
    "minimax": minimax_text,
    "minimax_text_01": minimax_text,
    "minimax_m1": minimax_text,
}

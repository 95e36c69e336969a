"""Moonshot's models beside Kimi K2: Kimi-VL (DeepSeek V3's layers and MoonViT) and Kimi-Linear (delta attention with MLA)."""

from __future__ import annotations

from slipway.sizing.families.decoder import decoder, experts, head_counts, hidden_size, mlp
from slipway.sizing.families.deepseek import latent_attention
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft
from slipway.sizing.families.recurrent import delta_attention
from slipway.sizing.families.towers import moonvit
from slipway.sizing.families.wrappers import language_model, seeing


def kimi_vl(keys: Keys) -> Draft:
    """The language model under text_config, and the tower."""
    draft = language_model(keys, "deepseek_v3")
    return seeing(draft, moonvit(keys.needed("vision_config"), draft.hidden_size))


def kimi_linear(keys: Keys) -> Draft:
    """Layers are numbered from 1 in `linear_attn_config`."""
    hidden = hidden_size(keys)
    linear = keys.needed("linear_attn_config")
    delta = {linear.whole("kda_layers", item) - 1 for item in linear.items("kda_layers")}
    mixer = latent_attention(keys, q_rank=None)
    recurrent = delta_attention(
        hidden,
        heads=linear.count("num_heads", default=head_counts(keys)[0], most=1 << 16),
        head_dim=linear.count("head_dim", default=128, most=1 << 16),
        kernel=linear.count("short_conv_kernel_size", default=4, most=1 << 10),
    )
    inner = keys.count("moe_intermediate_size")
    routed = experts(
        hidden,
        keys.count("num_experts"),
        keys.count("num_experts_per_token", "num_experts_per_tok", default=8),
        inner,
        shared=inner * keys.count("num_shared_experts", default=0, least=0, most=1 << 10),
        correction=True,
        at="block_sparse_moe",
        names=("w1", "w3", "w2"),
    )
    first = keys.count("first_k_dense_replace", default=0, least=0)
    every = keys.count("moe_layer_freq", default=1)
    dense = mlp(hidden, keys.count("intermediate_size")) if first or every > 1 else routed
    return decoder(
        keys,
        lambda i: recurrent if i in delta else mixer,
        lambda i: routed if i >= first and i % every == 0 else dense,
        notes=() if delta else ("linear_attn_config.kda_layers is empty; all layers were read as MLA",),
    )


MODEL_TYPES = {"kimi_vl": kimi_vl, "kimi_linear": kimi_linear}

"""Phi 1 to 4: phi (LayerNorm, biases, one norm a layer), phi3 (Llama with fused matrices; Phi 4 too), phimoe."""

from __future__ import annotations

from slipway.sizing.families.decoder import (
    attention,
    decoder,
    experts,
    head_size,
    hidden_size,
    kinds,
    mlp,
    sliding_window,
)
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import rotary_share
from slipway.sizing.families.parts import Draft


def phi(keys: Keys) -> Draft:
    """Phi 1, 1.5 and 2: attention and network side by side after one norm."""
    size = head_size(keys)
    mixer = attention(keys, head_dim=size, bias=True, out_bias=True, names=("q_proj", "k_proj", "v_proj", "dense"))
    inner = keys.count("intermediate_size", default=4 * hidden_size(keys))
    network = mlp(hidden_size(keys), inner, gated=False, bias=True, names=("fc1", "fc2"))
    return decoder(
        keys,
        lambda _: mixer,
        lambda _: network,
        norms=1,
        norm_bias=True,
        head_bias=True,
        rotary=int(size * rotary_share(keys, 0.5)),
    )


def phi3(keys: Keys) -> Draft:
    """Phi 3, 3.5 and 4: q, k and v are one matrix, gate and up are one."""
    size, of_kind = head_size(keys), kinds(keys)
    mixer = attention(
        keys,
        kind=of_kind[0],
        window=sliding_window(keys),
        head_dim=size,
        names=("qkv_proj", "qkv_proj", "qkv_proj", "o_proj"),
    )
    network = mlp(hidden_size(keys), keys.count("intermediate_size"), names=("gate_up_proj", "down_proj"))
    return decoder(keys, lambda _: mixer, lambda _: network, rotary=int(size * rotary_share(keys)))


def phimoe(keys: Keys) -> Draft:
    """Phi 3.5 MoE: LayerNorm with biases, sixteen experts."""
    size, of_kind = head_size(keys), kinds(keys)
    bias = keys.flag("attention_bias", default=False)
    mixer = attention(keys, kind=of_kind[0], window=sliding_window(keys), head_dim=size, bias=bias, out_bias=bias)
    network = experts(
        hidden_size(keys),
        keys.count("num_local_experts", default=16),
        keys.count("num_experts_per_tok", default=2),
        keys.count("intermediate_size"),
        at="block_sparse_moe",
        names=("w1", "w3", "w2"),
    )
    head = keys.flag("lm_head_bias", default=False)
    return decoder(keys, lambda _: mixer, lambda _: network, norm_bias=True, head_bias=head, rotary=size)


MODEL_TYPES = {"phi": phi, "phi3": phi3, "phimoe": phimoe}

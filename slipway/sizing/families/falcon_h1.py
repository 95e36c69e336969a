"""Falcon-H1: Mamba 2 and attention side by side in every layer.

A layer is given as two, one for what each of them keeps, as the engine gives each a cache of its own.
"""

from __future__ import annotations

from dataclasses import replace

from slipway.sizing.families.decoder import attention, decoder, head_size, hidden_size, mlp
from slipway.sizing.families.granite import mamba_of
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft, FeedForward, layer, norm


def falcon_h1(keys: Keys) -> Draft:
    """`mamba_d_ssm` is the number of channels."""
    hidden, size = hidden_size(keys), head_size(keys)
    bias = keys.flag("attention_bias", default=False)
    attending = attention(keys, head_dim=size, bias=bias, out_bias=bias)
    network = mlp(hidden, keys.count("intermediate_size"), bias=keys.flag("mlp_bias", default=False), at="feed_forward")
    inner = keys.count("mamba_d_ssm", default=keys.count("mamba_expand", default=2, most=64) * hidden)
    recurrent = mamba_of(keys, hidden, inner, normed=keys.flag("mamba_rms_norm", default=False))
    draft = decoder(keys, lambda _: attending, lambda _: network, norms=2, rotary=size)
    state = layer(recurrent, FeedForward(()), norm("norms", 0))
    return replace(draft, layers=tuple(part for one in draft.layers for part in (state, one)))


MODEL_TYPES = {"falcon_h1": falcon_h1}

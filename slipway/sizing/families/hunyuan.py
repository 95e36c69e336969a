"""Tencent's Hunyuan, dense and mixtures."""

from __future__ import annotations

from slipway.sizing.families.guess import mixture
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import llama
from slipway.sizing.families.parts import Draft

LISTED = ("moe_topk", "num_shared_expert", "moe_intermediate_size", "num_experts")
"""Keys that may hold a number for each layer; all of them are the same in what is published."""


def dense(keys: Keys) -> Draft:
    """Q and k are normed over each head."""
    return llama(keys, qk_norm="head" if keys.flag("use_qk_norm", default=True) else "")


def moe(keys: Keys) -> Draft:
    """Every layer routes."""
    values = dict(keys.values)
    for name in LISTED:
        value = values.get(name)
        if isinstance(value, list):
            if len(set(map(repr, value))) != 1:
                raise keys.wrong(name, "differs from layer to layer; equal layers are known")
            values[name] = value[0]
    if values.get("use_mixed_mlp_moe") is False:
        values["num_shared_expert"] = 0
    elif values.get("num_shared_expert") is None:
        values["num_shared_expert"] = 1
    # The shared expert is as wide as the dense network would be.
    values["moe_shared_expert_intermediate_size"] = keys.count("intermediate_size")
    same = Keys(values, keys.path, keys.fallback, keys.name)
    return mixture(same, qk_norm=keys.flag("use_qk_norm", default=True))


MODEL_TYPES = {"hunyuan_v1_dense": dense, "hunyuan_v1_moe": moe, "hunyuan": moe}

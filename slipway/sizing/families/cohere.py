"""Cohere's Command: one norm a layer, since attention and network stand side by side; the head is the embedding."""

from __future__ import annotations

from slipway.sizing.families.decoder import kinds
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import llama
from slipway.sizing.families.parts import Draft


def cohere(keys: Keys) -> Draft:
    """Command R."""
    normed = keys.flag("use_qk_norm", default=False)
    return llama(keys, tied=True, norms=1, qk_norm="full" if normed else "")


def cohere2(keys: Keys) -> Draft:
    """Command A and R7B: three sliding layers to a full one."""
    every = keys.count("sliding_window_pattern", default=4)
    return llama(
        keys,
        tied=True,
        norms=1,
        layer_kinds=lambda these: kinds(
            these, lambda i: "full_attention" if (i + 1) % every == 0 else "sliding_attention"
        ),
    )


MODEL_TYPES = {"cohere": cohere, "cohere2": cohere2}

"""Gemma, Gemma 2 and the text of Gemma 3: tied embeddings, norms before and after each part, every few layers sliding."""

from __future__ import annotations

from slipway.sizing.families.decoder import (
    attention,
    decoder,
    head_size,
    hidden_size,
    kinds,
    mlp,
    sliding_window,
)
from slipway.sizing.families.keys import MOST_POSITIONS, Keys
from slipway.sizing.families.parts import Draft
from slipway.sizing.families.rotary import rotary_table


def gemma(
    keys: Keys, *, norms: int = 2, window: int = 0, full_every: int = 1, qk_norm: bool = False, softcap: bool = False
) -> Draft:
    """Args: norms per layer; default window; which layers are full (every so-manieth); norms of q and k."""
    every = keys.count("sliding_window_pattern", "_sliding_window_pattern", default=full_every)
    of_kind = kinds(keys, lambda i: "full_attention" if (i + 1) % every == 0 else "sliding_attention")
    size, wide = head_size(keys, default=256), sliding_window(keys, window)
    bias = keys.flag("attention_bias", default=False)
    network = mlp(hidden_size(keys), keys.count("intermediate_size"))
    mixers = {
        kind: attention(
            keys, kind=kind, window=wide, head_dim=size, bias=bias, out_bias=bias, qk_norm="head" if qk_norm else ""
        )
        for kind in set(of_kind)
    }
    longest = keys.count("max_position_embeddings", default=8192, most=MOST_POSITIONS)
    return decoder(
        keys,
        lambda i: mixers[of_kind[i]],
        lambda _: network,
        norms=norms,
        tied=True,
        rotary=size,
        # Sliding layers have rotary frequencies of their own, hence a second table.
        embedding=rotary_table(longest, size) if qk_norm and len(mixers) > 1 else (),
        softcap=softcap and keys.real("final_logit_softcapping", 30.0) > 0,
    )


def gemma2(keys: Keys) -> Draft:
    """Every second layer slides, and the logits are capped."""
    return gemma(keys, norms=4, window=4096, full_every=2, softcap=True)


def gemma3(keys: Keys) -> Draft:
    """Five sliding layers to a full one."""
    return gemma(keys, norms=4, window=4096, full_every=6, qk_norm=True)


MODEL_TYPES = {"gemma": gemma, "gemma2": gemma2, "gemma3_text": gemma3}

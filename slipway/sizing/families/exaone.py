"""LG's EXAONE: 3 (Llama with keys of its own) and 4 (norms after each part, three sliding layers to a full one)."""

from __future__ import annotations

from slipway.sizing.families.decoder import kinds, layer_count
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import llama
from slipway.sizing.families.parts import Draft


def exaone4_kinds(keys: Keys) -> tuple[str, ...]:
    """`sliding_window_pattern` is a word such as LLLG, or every so-manieth layer is full; the last always is."""
    if "sliding_window" not in keys:
        return ("full_attention",) * layer_count(keys)
    pattern, last = keys.get("sliding_window_pattern", 4), layer_count(keys) - 1
    if isinstance(pattern, str) and pattern:
        full = {i for i in range(last) if pattern[i % len(pattern)] == "G"}
    else:
        every = keys.count("sliding_window_pattern", default=4)
        full = {i for i in range(last) if (i + 1) % every == 0}
    return kinds(keys, lambda i: "full_attention" if i in full or i == last else "sliding_attention")


def exaone4(keys: Keys) -> Draft:
    """EXAONE 4."""
    return llama(keys, qk_norm="head", layer_kinds=exaone4_kinds)


MODEL_TYPES = {"exaone": llama, "exaone4": exaone4}

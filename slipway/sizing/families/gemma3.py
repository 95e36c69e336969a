"""Gemma 3 with SigLIP's tower, and PaliGemma."""

from __future__ import annotations

from typing import Any

from slipway.sizing.architecture import Encoder
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft, copied, norm, vector
from slipway.sizing.families.towers import siglip
from slipway.sizing.families.wrappers import language_model, seeing, unquantized

GEMMA3_TEXT: dict[str, Any] = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
}
DEFAULTS = {"gemma3_text": GEMMA3_TEXT}


def gemma3_mm(keys: Keys) -> Draft:
    """The projector is one matrix behind a norm; an image becomes a fixed number of tokens."""
    draft = language_model(keys, "gemma3_text")
    vision = keys.section("vision_config")
    if vision is None:
        return draft
    lines, width, side = siglip(vision)
    lines += vector("projector", width * draft.hidden_size) + norm("projector.norm", width)
    tokens = keys.count("mm_tokens_per_image", default=256)
    return seeing(draft, Encoder("image", unquantized(lines), width, tokens, patches_per_item=side * side))


def paligemma(keys: Keys) -> Draft:
    """PaliGemma 1 and 2."""
    draft = language_model(keys, "gemma")
    vision = keys.needed("vision_config")
    lines, width, side = siglip(Keys({"vision_use_head": False, **vision.values}, vision.path, name=keys.name))
    lines += copied("projector", width, draft.hidden_size, bias=True)
    return seeing(draft, Encoder("image", unquantized(lines), width, side * side, patches_per_item=side * side))


MODEL_TYPES = {"gemma3": gemma3_mm, "paligemma": paligemma}

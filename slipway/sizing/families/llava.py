"""LLaVA with CLIP's tower, InternVL, and GLM's models that see."""

from __future__ import annotations

from functools import partial
from typing import Any

from slipway.sizing.architecture import Encoder
from slipway.sizing.families.glm import glm4_moe
from slipway.sizing.families.keys import MOST_LAYERS, Keys
from slipway.sizing.families.parts import Draft, column, copied, norm, row, vector
from slipway.sizing.families.pixtral import pixtral
from slipway.sizing.families.towers import intern_vision, patches, side_of, siglip
from slipway.sizing.families.wrappers import language_model, seeing, tower_layer, unquantized

LLAMA: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
}


def llava(keys: Keys, *, newline: bool = False) -> Draft:
    """A projector of two matrices. `newline`: LLaVA-NeXT's learned end of a row."""
    vision = keys.needed("vision_config")
    if vision.text("model_type") == "pixtral":
        return pixtral(keys)
    section = keys.section("text_config")
    llama = section is None or section.text("model_type", "llama") == "llama"
    draft = language_model(keys, "llama", LLAMA if llama else None)
    lines, width, side = siglip(vision, clip=vision.text("model_type", "clip_vision_model").startswith("clip"))
    bias = keys.flag("multimodal_projector_bias", default=True)
    lines += column("projector.1", width, draft.hidden_size, bias=bias)
    lines += row("projector.2", draft.hidden_size, draft.hidden_size, bias=bias)
    lines += vector("newline", draft.hidden_size) if newline else ()
    tokens = side * side * (5 if newline else 1)
    return seeing(draft, Encoder("image", unquantized(lines), width, tokens, patches_per_item=tokens))


def internvl(keys: Keys) -> Draft:
    """InternVL in its own format and in that of Hugging Face."""
    draft = language_model(keys, "qwen2")
    return seeing(draft, intern_vision(keys.needed("vision_config"), keys, draft.hidden_size))


def glm4v(keys: Keys, *, text: str) -> Draft:
    """GLM-4.1V, 4.5V and 4.6V."""
    draft = language_model(keys, text)
    vision = keys.needed("vision_config")
    width = vision.count("hidden_size", default=1536, most=1 << 16)
    out = vision.count("out_hidden_size", default=4096)
    context = vision.count("intermediate_size", default=13696, most=1 << 20)
    merge = vision.count("spatial_merge_size", default=2, most=64)
    side = side_of(vision, 336, 14)
    lines = patches(vision, width, frames=vision.count("temporal_patch_size", default=2, most=64))
    lines += vector("vision.positions", side * side * width) + norm("vision.norm_ends", 2 * width)
    bias = vision.flag("attention_bias", default=False)
    part = tower_layer(width, out, split=True, bias=False, gated=True) + norm("vision.norms", 2 * width)
    part += vector("vision.bias", 3 * width) if bias else ()
    lines += part * vision.count("depth", default=24, most=MOST_LAYERS)
    lines += vector("vision.downsample", width * merge * merge * out + out)
    lines += copied("merger.proj", out, out) + norm("merger.norm", out, bias=True)
    lines += column("merger.up", out, 2 * context) + row("merger.down", context, out)
    tower = Encoder("image", unquantized(lines), width, 6144, patches_per_item=6144 * merge * merge)
    return seeing(draft, tower)


MODEL_TYPES = {
    "llava": llava,
    "llava_next": partial(llava, newline=True),
    "internvl_chat": internvl,
    "internvl": internvl,
    "glm4v": partial(glm4v, text="glm4v_text"),
    "glm4v_moe": partial(glm4v, text="glm4_moe"),
    "glm4v_moe_text": glm4_moe,
}

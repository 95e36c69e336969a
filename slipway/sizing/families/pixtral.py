"""Mistral's models that see: Pixtral and Mistral Small 3.1 (mistral3), with Pixtral's tower.

Mistral's own repositories are read from params.json, where vLLM's tower is of plain layers that every rank holds
(vllm/model_executor/models/pixtral.py, 0.19.0); copies in the format of Hugging Face have it split.
"""

from __future__ import annotations

from slipway.sizing.architecture import Encoder
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft, Lines, column, copied, norm, row, vector
from slipway.sizing.families.wrappers import language_model, seeing, tower_layer, unquantized

MISTRAL = {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "intermediate_size": 14336}


def pixtral(keys: Keys) -> Draft:
    """The language model, the tower, the merger of patches (mistral3) and the projector."""
    draft = language_model(keys, "mistral", MISTRAL)
    vision = keys.needed("vision_config")
    width = vision.count("hidden_size", default=1024)
    inner = vision.count("intermediate_size", default=4096)
    patch = vision.count("patch_size", default=16)
    size = vision.count("image_size", default=1024)
    split = "/" in keys.name and not keys.name.startswith("mistralai/")
    lines: Lines = vector("vision.patch", vision.count("num_channels", default=3) * patch * patch * width)
    lines += norm("vision.norm", width)
    part = tower_layer(width, inner, split=split, bias=False, gated=True) + norm("vision.norms", 2 * width)
    lines += part * vision.count("num_hidden_layers", default=24, most=1024)
    merge = keys.count("spatial_merge_size", default=2) if keys.text("model_type") == "mistral3" else 1
    if merge > 1:
        lines += norm("projector.norm", width) + copied("projector.merge", width * merge * merge, width)
    bias = keys.flag("multimodal_projector_bias", default=merge == 1)
    across, back = (column, row) if split else (copied, copied)
    lines += across("projector.1", width, draft.hidden_size, bias=bias)
    lines += back("projector.2", draft.hidden_size, draft.hidden_size, bias=bias)
    side = size // patch
    tower = Encoder(
        "image",
        unquantized(lines),
        hidden_size=width,
        tokens_per_item=(side // merge) * (side // merge + 1),
        patches_per_item=side * side,
    )
    return seeing(draft, tower)


MODEL_TYPES = {"mistral3": pixtral}

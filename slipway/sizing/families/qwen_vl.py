"""Qwen's models that see: Qwen2-VL, Qwen2.5-VL, Qwen3-VL, and Qwen 3.5 with its tower."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from slipway.sizing.architecture import Encoder
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import llama, qwen_kinds
from slipway.sizing.families.mixtral import qwen3_moe
from slipway.sizing.families.parts import Draft
from slipway.sizing.families.towers import qwen2_5_vision, qwen2_vision, qwen3_vision
from slipway.sizing.families.wrappers import language_model, seeing


def qwen_vl(keys: Keys, *, tower: Callable[[Keys, int], Encoder], text: str) -> Draft:
    """The language model is all of the config itself, or its text_config."""
    draft = language_model(keys, text)
    vision = keys.section("vision_config")
    return draft if vision is None else seeing(draft, tower(vision, draft.hidden_size))


QWEN2 = partial(llama, bias=True, out_bias=False, layer_kinds=qwen_kinds)
QWEN3 = partial(llama, qk_norm="head", head_dim=128, layer_kinds=qwen_kinds)

MODEL_TYPES = {
    "qwen2_vl": partial(qwen_vl, tower=qwen2_vision, text="qwen2"),
    "qwen2_5_vl": partial(qwen_vl, tower=qwen2_5_vision, text="qwen2"),
    "qwen3_vl": partial(qwen_vl, tower=qwen3_vision, text="qwen3"),
    "qwen3_vl_moe": partial(qwen_vl, tower=qwen3_vision, text="qwen3_moe"),
    "qwen3_5": partial(qwen_vl, tower=qwen3_vision, text="qwen3_5_text"),
    "qwen3_5_moe": partial(qwen_vl, tower=qwen3_vision, text="qwen3_5_moe_text"),
    "qwen2_vl_text": QWEN2,
    "qwen2_5_vl_text": QWEN2,
    "qwen3_vl_text": QWEN3,
    "qwen3_vl_moe_text": qwen3_moe,
}

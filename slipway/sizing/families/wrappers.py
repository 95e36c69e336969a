"""What models that also see or hear have in common: a language model of any family under a key of its own, and towers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slipway.sizing.architecture import Encoder
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft, Lines, column, copied, row

TEXT = ("text_config", "llm_config", "language_config")


def language_model(keys: Keys, default_type: str, defaults: Mapping[str, Any] | None = None) -> Draft:
    """The language model of a wrapper, which is all of the config itself where no section holds it.

    Args:
        keys: Of the wrapper.
        default_type: model_type where the section does not say.
        defaults: The text class's defaults, for sections that were written without what equals them.
    """
    from slipway.sizing.families import defaults as class_defaults
    from slipway.sizing.families import readers

    section = keys.section(*TEXT)
    if section is None:
        return readers()[default_type](keys)
    values = dict(section.values)
    if values.get("tie_word_embeddings") is None and keys.get("tie_word_embeddings") is not None:
        values["tie_word_embeddings"] = keys.get("tie_word_embeddings")
    model_type = section.text("model_type", default_type)
    usual = defaults or class_defaults().get(model_type)
    text = Keys(values, section.path, Keys(usual, section.path) if usual else None, keys.name)
    reader = readers().get(model_type) or readers().get(default_type)
    if reader is None:
        raise text.wrong("model_type", f"is {model_type!r}, which is not known")
    return reader(text)


def seeing(draft: Draft, *encoders: Encoder) -> Draft:
    """`draft` with towers."""
    return replace(draft, encoders=(*draft.encoders, *encoders))


def tower_layer(
    hidden: int, intermediate: int, *, split: bool, bias: bool, gated: bool = False, kv: int | None = None
) -> Lines:
    """Attention and network of one layer of a tower, without norms; `split`: over ranks, else copied to each."""
    across, back = (column, row) if split else (copied, copied)
    return (
        *across("vision.qkv", hidden, hidden + 2 * (kv or hidden), bias=bias),
        *back("vision.proj", hidden, hidden, bias=bias),
        *across("vision.up", hidden, intermediate * (2 if gated else 1), bias=bias),
        *back("vision.down", intermediate, hidden, bias=bias),
    )


def unquantized(lines: Lines) -> Lines:
    """`lines` that no quantization applies to."""
    return tuple(replace(line, linear=False) for line in lines)

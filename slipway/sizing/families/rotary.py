"""The table of cosines and sines for rotary positions, which the engine holds and no checkpoint has."""

from __future__ import annotations

from collections.abc import Mapping

from slipway.sizing.architecture import Split, Weights
from slipway.sizing.families.keys import CONTEXT_KEYS, MOST_POSITIONS, Keys
from slipway.sizing.families.parts import Lines


def rotary_table(positions: int, size: int) -> Lines:
    """The table of cosines and sines that vLLM keeps once for all layers, for every position up to the longest."""
    return (Weights("rotary_table", positions * size, Split.COPIED, on_disk=False),)


def rotary_positions(keys: Keys) -> int:
    """Positions that the table has, by the kind of scaling (vllm/model_executor/layers/rotary_embedding/, 0.19.0)."""
    longest = keys.count(*CONTEXT_KEYS, default=8192, most=MOST_POSITIONS)
    rope = keys.section("rope_scaling") or keys.section("rope_parameters")
    if rope is not None and isinstance(rope.get("full_attention"), Mapping):
        rope = rope.needed("full_attention")
    if rope is None:
        return longest
    kind = str(rope.get("rope_type") or rope.get("type") or "")
    original = rope.count("original_max_position_embeddings", default=longest, most=MOST_POSITIONS)
    if kind in {"linear", "dynamic"}:
        longest = int(longest * rope.positive("factor", 1.0))
    elif kind in {"yarn", "deepseek_yarn"}:
        longest = int(original * rope.positive("factor", 1.0))
    elif kind in {"su", "longrope"}:
        # One table for short contexts and one for long ones.
        short = keys.count("original_max_position_embeddings", default=original, most=MOST_POSITIONS)
        longest += short if short < longest else 0
    # Positions in images and videos may run further than those in text.
    return min(MOST_POSITIONS, max(1, longest)) * (4 if "mrope_section" in rope else 1)

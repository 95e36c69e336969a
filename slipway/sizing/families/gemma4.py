"""Gemma 4: full layers with heads of their own size, whose keys may be the values; perhaps experts beside the network."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from slipway.sizing.families.decoder import (
    attention,
    decoder,
    experts,
    head_counts,
    head_size,
    hidden_size,
    kinds,
    layer_count,
    mlp,
    sliding_window,
)
from slipway.sizing.families.gemma3n import per_layer_lines, per_layer_table
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft, FeedForward, Mixer, norm, vector
from slipway.sizing.families.towers import common
from slipway.sizing.families.wrappers import language_model, seeing

GEMMA3N_TOWERS = 983_281_504
"""Parameters of Gemma 3n's image and audio towers with what embeds their outputs: the published counts of E2B and E4B less
those of their language models, which gives the same number twice."""


def gemma4_text(keys: Keys) -> Draft:
    """After vLLM's model (vllm/model_executor/models/gemma4.py, 0.19.0)."""
    hidden, size, layers = hidden_size(keys), head_size(keys, default=256), layer_count(keys)
    of_kind = kinds(keys, lambda i: "full_attention" if (i + 1) % 6 == 0 else "sliding_attention")
    heads, kv_heads = head_counts(keys)
    wide = keys.count("global_head_dim", default=size, most=1 << 16)
    same = keys.flag("attention_k_eq_v", default=False)
    few = keys.count("num_global_key_value_heads", default=kv_heads, most=1 << 16) if same else kv_heads
    if heads % few:
        raise keys.wrong("num_global_key_value_heads", f"is {few}; it must divide the {heads} attention heads")
    shared = keys.count("num_kv_shared_layers", default=0, least=0)
    shared_from = layers - shared if shared else layers
    window, bias = sliding_window(keys, 512), keys.flag("attention_bias", default=False)
    width = keys.count("hidden_size_per_layer_input", default=0, least=0)
    doubled = keys.flag("use_double_wide_mlp", default=False)
    inner = keys.count("intermediate_size")
    routes = keys.flag("enable_moe_block", default=False)

    def mixer(number: int) -> Mixer:
        full = of_kind[number] == "full_attention"
        one = partial(
            attention,
            keys,
            kind=of_kind[number],
            window=window,
            heads=heads,
            kv_heads=few if full else kv_heads,
            head_dim=wide if full else size,
            bias=bias,
            out_bias=bias,
            qk_norm="head",
            shares_cache=0 < shared_from <= number,
        )
        if not (full and same):
            return one()
        held = one(key_is_value=True)
        # The engine fills both halves of its fused matrix from the one that the checkpoint has.
        copies = tuple(replace(line, on_disk=False) for line in held.weights if line.name.startswith("kv_proj"))
        return replace(held, weights=held.weights + copies)

    def network(number: int) -> FeedForward:
        part = mlp(hidden, inner * (2 if doubled and 0 < shared_from <= number else 1))
        extra = vector("layer_scalar", 1) + (per_layer_lines(hidden, width) if width else ())
        if not routes:
            return FeedForward(part.weights + extra, part.intermediate)
        count = keys.count("num_experts")
        routed = experts(
            hidden,
            count,
            keys.count("top_k_experts", "num_experts_per_tok", default=8),
            keys.count("moe_intermediate_size", "expert_intermediate_size"),
            at="moe",
        )
        extra += norm("router.scale", hidden) + vector("router.per_expert_scale", count) + norm("moe.norms", 3 * hidden)
        return part + replace(routed, weights=routed.weights + extra)

    return decoder(
        keys,
        mixer,
        network,
        norms=4,
        tied=True,
        rotary=size + wide,
        embedding=per_layer_table(keys, hidden, width, layers) if width else (),
        softcap="final_logit_softcapping" in keys,
    )


def gemma4(keys: Keys) -> Draft:
    """The tower's size is an estimate."""
    draft = language_model(keys, "gemma4_text")
    vision = keys.section("vision_config")
    if vision is None or "hidden_size" not in vision:
        return draft
    note = "the tower was taken for one of the common kind: an estimate"
    return replace(seeing(draft, common(vision, draft.hidden_size)), notes=(*draft.notes, note))


def gemma3n(keys: Keys) -> Draft:
    """The published models share their towers; other ones are not known."""
    draft = language_model(keys, "gemma3n_text")
    if "vision_config" not in keys:
        return draft
    return replace(draft, outside=draft.outside + vector("towers", GEMMA3N_TOWERS))


MODEL_TYPES = {"gemma4_text": gemma4_text, "gemma4": gemma4, "gemma3n": gemma3n}

"""Architectures that no family reads: by their keys, as decoders like Llama, with experts or without, and with towers."""

from __future__ import annotations

from dataclasses import replace

from slipway.sizing.families.decoder import (
    attention,
    decoder,
    experts,
    head_size,
    hidden_size,
    kinds,
    mlp,
    sliding_window,
)
from slipway.sizing.families.deepseek import deepseek
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import inner_size, llama, rotary_share
from slipway.sizing.families.parts import Draft
from slipway.sizing.families.towers import common
from slipway.sizing.families.wrappers import TEXT, seeing
from slipway.sizing.result import SizingError

LLAMA_LIKE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
"""Keys that an unknown model_type must have to be read as a decoder like Llama."""
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
RECURRENT = (
    "layers_block_type",
    "hybrid_override_pattern",
    "linear_attn_config",
    "mamba_d_state",
    "ssm_state_size",
    "state_size",
    "linear_num_key_heads",
    "attn_type_list",
)
"""Keys of models that keep a state: what it is differs too much to guess."""
SHARED = ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts")


def guess(keys: Keys) -> Draft:
    """An unknown model_type, with a note of what it was read as.

    Raises:
        SizingError: The keys do not suffice.
    """
    from slipway.sizing.families import readers

    model_type = keys.text("model_type")
    shown = f"model_type {model_type!r} is not known" if model_type else "model_type is missing"
    section = keys.section(*TEXT)
    if section is not None:
        text = Keys(section.values, section.path, name=keys.name)
        reader = readers().get(text.text("model_type"))
        draft = reader(text) if reader else guess(text)
        draft = replace(draft, notes=(*draft.notes, f"{shown}; its language model was read by {text.path}model_type"))
        vision = keys.section("vision_config")
        if vision is None or not any(key in vision for key in ("hidden_size", "embed_dim", "width")):
            return draft
        draft = seeing(draft, common(vision, draft.hidden_size))
        return replace(draft, notes=(*draft.notes, "its tower was taken for one of the common kind: an estimate"))
    lacking = [key for key in LLAMA_LIKE if key not in keys]
    if lacking:
        raise SizingError(
            f"config.json: {keys.path}{shown}, and it does not look like a decoder of Llama's kind: "
            f"{', '.join(lacking)} missing"
        )
    recurrent = next((key for key in RECURRENT if key in keys), None)
    if recurrent is not None:
        raise SizingError(
            f"config.json: {keys.path}{shown}, and {keys.path}{recurrent} speaks of recurrent layers, which only known "
            "families say enough of"
        )
    if "kv_lora_rank" in keys and "n_routed_experts" in keys:
        draft, kind = deepseek(keys), "DeepSeek's"
    elif any(keys.get(name) for name in EXPERTS):
        draft, kind = mixture(keys), "a mixture's"
    else:
        draft, kind = llama(keys, qk_norm="head" if keys.get("use_qk_norm") is True else ""), "Llama's"
    return replace(draft, notes=(*draft.notes, f"{shown}; it was read as a decoder of {kind} kind"))


def mixture(
    keys: Keys,
    *,
    qk_norm: bool | None = None,
    correction: bool | None = None,
    head_dim: int | None = None,
    tied: bool = False,
    at: str = "mlp",
) -> Draft:
    """A decoder with routed experts, under any of the names that families have for the same keys.

    Args:
        keys: Of the decoder.
        qk_norm: Norms of q and k over each head; None reads use_qk_norm.
        correction: A correction bias of the router; None reads topk_method and the flags for one.
        head_dim: Default of head_dim.
        tied: Default of tie_word_embeddings.
        at: Module's name of the experts in the layer.
    """
    hidden, size = hidden_size(keys), head_size(keys, default=head_dim)
    of_kind, window = kinds(keys), sliding_window(keys)
    bias = keys.flag("attention_bias", default=keys.flag("use_qkv_bias", default=keys.flag("use_bias", default=False)))
    out_bias = keys.flag(
        "attention_out_bias", default=keys.flag("use_bias", default=keys.flag("attention_bias", default=False))
    )
    normed = keys.flag("use_qk_norm", default=False) if qk_norm is None else qk_norm
    if correction is None:
        correction = keys.text("topk_method") == "noaux_tc" or any(
            keys.get(name) is True for name in ("moe_router_enable_expert_bias", "moe_use_aux_free", "use_routing_bias")
        )
    dense = inner_size(keys)
    inner = keys.count("moe_intermediate_size", "expert_intermediate_size", default=dense)
    number = keys.count(*SHARED, default=0, least=0, most=1 << 10)
    each = keys.count("moe_shared_expert_intermediate_size", "shared_expert_intermediate_size", default=inner)
    routed = experts(
        hidden,
        keys.count(*EXPERTS),
        keys.count("num_experts_per_tok", "moe_topk", "moe_k", "top_k", "num_experts_per_token", default=2),
        inner,
        shared=number * each,
        correction=correction,
        at=at,
    )
    first = keys.count("first_k_dense_replace", "moe_layer_start_index", default=0, least=0)
    plain = mlp(hidden, dense)
    mixers = {
        kind: attention(
            keys,
            kind=kind,
            window=window,
            head_dim=size,
            bias=bias,
            out_bias=out_bias,
            qk_norm="head" if normed else "",
        )
        for kind in set(of_kind)
    }
    return decoder(
        keys,
        lambda i: mixers[of_kind[i]],
        lambda i: plain if i < first else routed,
        tied=tied,
        rotary=int(size * rotary_share(keys)),
    )

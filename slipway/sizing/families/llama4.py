"""Llama 4: attention in chunks but for every fourth layer, routed experts beside a shared one, and a tower."""

from __future__ import annotations

from slipway.sizing.families.decoder import attention, decoder, experts, head_size, hidden_size, kinds, layer_count, mlp
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft
from slipway.sizing.families.towers import llama4_vision
from slipway.sizing.families.wrappers import language_model, seeing


def llama4_text(keys: Keys) -> Draft:
    """`moe_layers` lists the layers with experts, else every so-manieth has them."""
    hidden, size, layers = hidden_size(keys), head_size(keys, default=128), layer_count(keys)
    chunk = keys.count("attention_chunk_size", default=8192)
    rotates = keys.per_layer("no_rope_layers", layers)
    of_kind = kinds(
        keys, lambda i: "chunked_attention" if (rotates[i] if rotates else (i + 1) % 4) else "full_attention"
    )
    bias, inner = keys.flag("attention_bias", default=False), keys.count("intermediate_size")
    mixers = {
        kind: attention(keys, kind=kind, window=chunk, head_dim=size, bias=bias, out_bias=bias) for kind in set(of_kind)
    }
    step = keys.count("interleave_moe_layer_step", default=1)
    listed = {keys.whole("moe_layers", item, least=0) for item in keys.items("moe_layers")}
    routes = listed or set(range(step - 1, layers, step))
    routed = experts(
        hidden,
        keys.count("num_local_experts", default=16),
        keys.count("num_experts_per_tok", default=1),
        inner,
        shared=inner,
        at="feed_forward",
        router="router",
        shared_at="shared_expert",
    )
    dense = mlp(hidden, keys.count("intermediate_size_mlp", default=inner), at="feed_forward")
    return decoder(keys, lambda i: mixers[of_kind[i]], lambda i: routed if i in routes else dense, rotary=size)


def llama4(keys: Keys) -> Draft:
    """With the tower."""
    draft = language_model(keys, "llama4_text")
    vision = keys.section("vision_config")
    return draft if vision is None else seeing(draft, llama4_vision(vision, draft.hidden_size))


MODEL_TYPES = {"llama4": llama4, "llama4_text": llama4_text}

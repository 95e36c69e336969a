"""Qwen3-Next and Qwen 3.5: three layers of gated delta net to one of gated attention.

The layers for multi-token prediction are not counted: vLLM loads them only for speculative decoding.
"""

from __future__ import annotations

from slipway.sizing.families.decoder import attention, decoder, experts, head_size, hidden_size, kinds, mlp
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import rotary_share
from slipway.sizing.families.mixtral import dense_layers
from slipway.sizing.families.parts import Draft
from slipway.sizing.families.recurrent import gated_delta_net


def qwen3_next(keys: Keys) -> Draft:
    """With experts where the config names some, else with a dense network."""
    hidden, size = hidden_size(keys), head_size(keys, default=256)
    every = keys.count("full_attention_interval", default=4)
    of_kind = kinds(keys, lambda i: "full_attention" if (i + 1) % every == 0 else "linear_attention")
    bias = keys.flag("attention_bias", default=False)
    gated = keys.flag("attn_output_gate", default=True)
    mixers = {
        "full_attention": attention(keys, head_dim=size, bias=bias, out_bias=bias, qk_norm="head", gated=gated),
        "linear_attention": gated_delta_net(keys, hidden),
    }
    for kind in of_kind:
        if kind not in mixers:
            raise keys.wrong("layer_types", f"has {kind!r}; full_attention and linear_attention are known")
    routes = keys.count("num_experts", default=0, least=0)
    dense = dense_layers(keys) if routes else set(range(len(of_kind)))
    networks = {}
    if dense:
        networks[False] = mlp(hidden, keys.count("intermediate_size"))
    if routes:
        networks[True] = experts(
            hidden,
            routes,
            keys.count("num_experts_per_tok", default=10),
            keys.count("moe_intermediate_size"),
            shared=keys.count("shared_expert_intermediate_size", default=512, least=0),
            shared_gate=True,
            shared_at="shared_expert",
        )
    rotary = int(size * rotary_share(keys, 0.25))
    return decoder(keys, lambda i: mixers[of_kind[i]], lambda i: networks[i not in dense], rotary=rotary)


MODEL_TYPES = {
    "qwen3_next": qwen3_next,
    "qwen3_5_text": qwen3_next,
    "qwen3_5_moe_text": qwen3_next,
}

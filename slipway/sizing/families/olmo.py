"""OLMo: 1 (norms without weights), 2 and 3 (norms after each part), and the mixture OLMoE."""

from __future__ import annotations

from functools import partial

from slipway.sizing.families.decoder import attention, decoder, experts, head_size, hidden_size, kinds
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import llama
from slipway.sizing.families.parts import Draft


def olmo3_kinds(keys: Keys) -> tuple[str, ...]:
    """Three sliding layers to a full one."""
    return kinds(keys, lambda i: "full_attention" if (i + 1) % 4 == 0 else "sliding_attention")


def olmoe(keys: Keys) -> Draft:
    """Experts in every layer, q and k normed over all heads."""
    size = head_size(keys)
    mixer = attention(keys, head_dim=size, qk_norm="full", bias=keys.flag("attention_bias", default=False))
    network = experts(
        hidden_size(keys),
        keys.count("num_experts", default=64),
        keys.count("num_experts_per_tok", default=8),
        keys.count("intermediate_size"),
    )
    return decoder(keys, lambda _: mixer, lambda _: network, rotary=size)


MODEL_TYPES = {
    "olmo": partial(llama, norms=0, final_norm=False),
    "olmo2": partial(llama, qk_norm="full"),
    "olmo3": partial(llama, qk_norm="full", layer_kinds=olmo3_kinds),
    "olmoe": olmoe,
    "flex_olmo": olmoe,
}

"""gpt-oss: biases everywhere, one sink per head, every second layer sliding, experts in MXFP4."""

from __future__ import annotations

from slipway.sizing.families.decoder import attention, decoder, experts, head_size, hidden_size, kinds, sliding_window
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft


def gpt_oss(keys: Keys) -> Draft:
    """Layers alternate from a sliding one."""
    of_kind = kinds(keys, lambda i: "full_attention" if i % 2 else "sliding_attention")
    size, window = head_size(keys, default=64), sliding_window(keys, 128)
    bias = keys.flag("attention_bias", default=True)
    mixers = {
        kind: attention(keys, kind=kind, window=window, head_dim=size, bias=bias, out_bias=bias, sinks=True)
        for kind in set(of_kind)
    }
    network = experts(
        hidden_size(keys),
        keys.count("num_local_experts", "num_experts"),
        keys.count("num_experts_per_tok", "experts_per_token", default=4),
        keys.count("intermediate_size"),
        router_bias=True,
        bias=True,
        router="router",
    )
    # Its rotary table is of 32 bits.
    return decoder(keys, lambda i: mixers[of_kind[i]], lambda _: network, rotary=2 * size)


MODEL_TYPES = {"gpt_oss": gpt_oss}

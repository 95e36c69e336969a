"""GLM: ChatGLM's own config, GLM 4 (norms around each part), and the mixtures GLM 4.5 to 4.7."""

from __future__ import annotations

from slipway.sizing.families.decoder import attention, decoder, head_size, hidden_size, mlp
from slipway.sizing.families.deepseek import routed_or_dense
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import inner_size, rotary_share
from slipway.sizing.families.parts import Draft


def glm(keys: Keys, *, norms: int = 2) -> Draft:
    """GLM 4 in the format of Hugging Face: biases of q, k and v, half of a head rotated."""
    size = head_size(keys)
    mixer = attention(keys, head_dim=size, bias=keys.flag("attention_bias", default=False))
    network = mlp(hidden_size(keys), inner_size(keys), names=("gate_up_proj", "down_proj"))
    rotary = int(size * rotary_share(keys, 0.5))
    return decoder(keys, lambda _: mixer, lambda _: network, norms=norms, rotary=rotary)


def glm4(keys: Keys) -> Draft:
    """GLM-4-0414: norms before and after each part."""
    return glm(keys, norms=4)


def glm4v_text(keys: Keys) -> Draft:
    """The language model of GLM-4.1V, which always has the biases."""
    return glm(Keys({**keys.values, "attention_bias": True}, keys.path, keys.fallback, keys.name), norms=4)


def chatglm(keys: Keys) -> Draft:
    """ChatGLM 2 and 3, GLM-4-9B: keys of its own."""
    heads = keys.count("num_attention_heads", most=1 << 16)
    grouped = keys.flag("multi_query_attention", default=False)
    kv_heads = keys.count("multi_query_group_num", default=1, most=1 << 16) if grouped else heads
    if heads % kv_heads:
        raise keys.wrong("multi_query_group_num", f"is {kv_heads}; it must divide the {heads} attention heads")
    size = keys.count("kv_channels", default=max(1, hidden_size(keys) // heads), most=1 << 16)
    bias = keys.flag("add_bias_linear", default=False)
    at_qkv = ("query_key_value",) * 3
    mixer = attention(
        keys,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=size,
        bias=bias or keys.flag("add_qkv_bias", default=False),
        out_bias=bias,
        at="self_attention",
        names=(*at_qkv, "dense"),
    )
    network = mlp(hidden_size(keys), inner_size(keys), bias=bias, names=("dense_h_to_4h", "dense_4h_to_h"))
    return decoder(keys, lambda _: mixer, lambda _: network, rotary=size // 2)


def glm4_moe(keys: Keys) -> Draft:
    """GLM 4.5, 4.6 and 4.7: dense layers first, then DeepSeek's routing. The layer for speculation is not counted."""
    size = head_size(keys)
    normed = keys.flag("use_qk_norm", default=False)
    mixer = attention(
        keys,
        head_dim=size,
        bias=keys.flag("attention_bias", default=False),
        qk_norm="head" if normed else "",
    )
    first, dense, routed = routed_or_dense(keys, correction=True, first_dense=1)
    rotary = int(size * rotary_share(keys, 0.5))
    return decoder(keys, lambda _: mixer, lambda i: dense if i < first else routed, rotary=rotary)


MODEL_TYPES = {"glm": glm, "glm4": glm4, "glm4v_text": glm4v_text, "chatglm": chatglm, "glm4_moe": glm4_moe}

"""Families of the years before Llama's design was everyone's: LayerNorm, biases, networks without a gate."""

from __future__ import annotations

from functools import partial

from slipway.sizing.families.decoder import attention, decoder, head_counts, head_size, hidden_size, mlp
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import inner_size, llama
from slipway.sizing.families.parts import Draft, copied, norm, table, vector

BIASED = partial(llama, bias=True, out_bias=True, mlp_bias=True, gated=False, inner_times=4, norm_bias=True)
"""Biases everywhere."""


def gpt_bigcode(keys: Keys) -> Draft:
    """StarCoder 1: one KV head."""
    return BIASED(keys, tied=True, positions=0, kv_heads=1 if keys.flag("multi_query", default=True) else None)


def starcoder2(keys: Keys) -> Draft:
    """StarCoder 2."""
    bias = keys.flag("use_bias", default=True)
    return llama(keys, tied=True, bias=bias, out_bias=bias, mlp_bias=bias, gated=False, norm_bias=True)


def stablelm(keys: Keys) -> Draft:
    """StableLM: gated networks between norms with biases."""
    bias = keys.flag("use_qkv_bias", default=False)
    side_by_side = keys.flag("use_parallel_residual", default=False)
    return llama(keys, bias=bias, out_bias=False, norms=1 if side_by_side else 2, norm_bias=True, share=0.25)


def gpt_neox(keys: Keys) -> Draft:
    """Pythia and its kin."""
    bias = keys.flag("attention_bias", default=True)
    return BIASED(keys, bias=bias, out_bias=bias, share=0.25)


def falcon(keys: Keys) -> Draft:
    """Falcon 7B, 40B, 180B and 11B."""
    newer = keys.flag("new_decoder_architecture", default=False)
    heads = keys.count("num_attention_heads", "n_head", most=1 << 16)
    one = keys.flag("multi_query", default=True) and not newer
    kv_heads = 1 if one else keys.count("num_kv_heads", "n_head_kv", default=heads, most=1 << 16)
    if heads % kv_heads:
        raise keys.wrong("num_kv_heads", f"is {kv_heads}; it must divide the {heads} attention heads")
    bias, side_by_side = keys.flag("bias", default=False), keys.flag("parallel_attn", default=True)
    size = head_size(keys)
    mixer = attention(
        keys,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=size,
        bias=bias,
        out_bias=bias,
        at="self_attention",
        names=(*("query_key_value",) * 3, "dense"),
    )
    inner = inner_size(keys, 4 * hidden_size(keys))
    network = mlp(hidden_size(keys), inner, gated=False, bias=bias, names=("dense_h_to_4h", "dense_4h_to_h"))
    count = keys.count("num_ln_in_parallel_attn", default=2 if newer else 1) if side_by_side else 2
    return decoder(keys, lambda _: mixer, lambda _: network, norms=count, norm_bias=True, tied=True, rotary=size)


def opt(keys: Keys) -> Draft:
    """Meta's OPT."""
    bias = keys.flag("enable_bias", default=True)
    hidden = hidden_size(keys)
    width = keys.count("word_embed_proj_dim", default=hidden)
    mixer = attention(keys, bias=bias, out_bias=bias, names=("q_proj", "k_proj", "v_proj", "out_proj"))
    network = mlp(hidden, keys.count("ffn_dim", default=4 * hidden), gated=False, bias=bias, names=("fc1", "fc2"))
    before = keys.flag("do_layer_norm_before", default=True)
    positions = (keys.count("max_position_embeddings", default=2048) + 2) * hidden
    extra = vector("positions", positions)
    if width != hidden:
        extra += copied("project_in", width, hidden) + copied("project_out", hidden, width)
    draft = decoder(
        keys, lambda _: mixer, lambda _: network, norm_bias=True, tied=True, embedding=extra, final_norm=before
    )
    words = table("embed_tokens", draft.vocabulary, width)
    return Draft(hidden, draft.vocabulary, draft.layers, (*words, *draft.outside[1:]), draft.tied, notes=draft.notes)


def bloom(keys: Keys) -> Draft:
    """BigScience's BLOOM: ALiBi, and a norm after the embedding."""
    hidden = hidden_size(keys)
    mixer = attention(keys, bias=True, out_bias=True, names=(*("query_key_value",) * 3, "dense"))
    network = mlp(hidden, 4 * hidden, gated=False, bias=True, names=("dense_h_to_4h", "dense_4h_to_h"))
    extra = norm("embedding_norm", hidden, bias=True)
    return decoder(keys, lambda _: mixer, lambda _: network, norm_bias=True, tied=True, embedding=extra)


def gptj(keys: Keys) -> Draft:
    """GPT-J: attention and network side by side after one norm."""
    return llama(
        keys,
        bias=False,
        out_bias=False,
        mlp_bias=True,
        gated=False,
        inner_times=4,
        norms=1,
        norm_bias=True,
        head_bias=True,
    )


def mpt(keys: Keys) -> Draft:
    """MosaicML's MPT: ALiBi, no biases."""
    bias, hidden = not keys.flag("no_bias", default=True), hidden_size(keys)
    heads, inner = keys.section("attn_config"), hidden * keys.count("expansion_ratio", default=4, most=64)
    kv_heads = heads.count("kv_n_heads", default=0, least=0, most=1 << 16) if heads else 0
    count, _ = head_counts(keys)
    if kv_heads and count % kv_heads:
        raise keys.wrong("attn_config.kv_n_heads", f"is {kv_heads}; it must divide the {count} attention heads")
    mixer = attention(
        keys,
        heads=count,
        kv_heads=kv_heads or count,
        bias=bias,
        out_bias=bias,
        at="attn",
        names=(*("Wqkv",) * 3, "out_proj"),
    )
    network = mlp(hidden, inner, gated=False, bias=bias, at="ffn", names=("up_proj", "down_proj"))
    return decoder(keys, lambda _: mixer, lambda _: network, norm_bias=bias, tied=True)


def qwen(keys: Keys) -> Draft:
    """Qwen 1: its intermediate_size is that of gate and up together."""
    size = head_size(keys)
    mixer = attention(keys, head_dim=size, bias=True, at="attn", names=(*("c_attn",) * 3, "c_proj"))
    network = mlp(hidden_size(keys), keys.count("intermediate_size", least=2) // 2, names=("w1", "w2", "c_proj"))
    return decoder(keys, lambda _: mixer, lambda _: network, rotary=size)


MODEL_TYPES = {
    "gpt2": partial(BIASED, tied=True, positions=0),
    "gpt_bigcode": gpt_bigcode,
    "gpt_neox": gpt_neox,
    "gptj": gptj,
    "starcoder2": starcoder2,
    "stablelm": stablelm,
    "falcon": falcon,
    "opt": opt,
    "bloom": bloom,
    "mpt": mpt,
    "qwen": qwen,
    "nemotron": partial(llama, gated=False, norm_bias=True, share=0.5),
}

"""DeepSeek V2, V3, V3.2 and what shares their attention: one latent per token in place of keys and values, routed experts.

The layers for multi-token prediction that V3's repository holds beside the decoder are not counted: vLLM loads them only
for speculative decoding.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from slipway.sizing.architecture import Cache
from slipway.sizing.families.decoder import attention, decoder, experts, head_counts, head_size, hidden_size, mlp
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft, FeedForward, Lines, Mixer, column, copied, norm, row, vector


def latent_attention(keys: Keys, *, q_rank: int | None = 1536, at: str = "self_attn", indexed: bool = False) -> Mixer:
    """Attention over one latent per token. `q_rank` is the class's default; `indexed` adds V3.2's indexer."""
    hidden, (heads, _) = hidden_size(keys), head_counts(keys)
    latent = keys.count("kv_lora_rank", default=512)
    rope = keys.count("qk_rope_head_dim", default=64)
    nope = keys.count("qk_nope_head_dim", default=128)
    value = keys.count("v_head_dim", default=128)
    if "q_lora_rank" in keys.values or q_rank is None:
        q_rank = keys.count("q_lora_rank", default=0, least=0)
    query = heads * (nope + rope)
    weights: Lines = ()
    if q_rank:
        weights += copied("q_a_proj", hidden, q_rank, at=(f"{at}.q_a_proj",)) + norm("q_a_layernorm", q_rank)
        weights += column("q_b_proj", q_rank, query, at=(f"{at}.q_b_proj",))
    else:
        weights += column("q_proj", hidden, query, at=(f"{at}.q_proj",))
    weights += copied("kv_a_proj_with_mqa", hidden, latent + rope, at=(f"{at}.kv_a_proj_with_mqa",))
    weights += norm("kv_a_layernorm", latent)
    weights += column("kv_b_proj", latent, heads * (nope + value), at=(f"{at}.kv_b_proj",))
    weights += row("o_proj", heads * value, hidden, at=(f"{at}.o_proj",))
    index = 0
    if indexed:
        index = keys.count("index_head_dim", default=128)
        index_heads = keys.count("index_n_heads", default=64)
        weights += copied("indexer.wq_b", q_rank or hidden, index_heads * index, at=(f"{at}.indexer.wq_b",))
        weights += copied("indexer.wk", hidden, index, at=(f"{at}.indexer.wk",))
        weights += norm("indexer.k_norm", index, bias=True)
        weights += copied("indexer.router", hidden, index_heads, at=(f"{at}.indexer.weights_proj",))
    return Mixer(Cache("mla", kv_heads=1, latent=latent + rope, index_dim=index), weights, heads)


def routed_or_dense(keys: Keys, *, correction: bool, first_dense: int = 0) -> tuple[int, FeedForward, FeedForward]:
    """How many layers at the start are dense, the dense network, and the routed one."""
    hidden = hidden_size(keys)
    inner = keys.count("moe_intermediate_size")
    routed = experts(
        hidden,
        keys.count("n_routed_experts"),
        keys.count("num_experts_per_tok", default=8),
        inner,
        shared=inner * keys.count("n_shared_experts", default=0, least=0),
        correction=correction,
    )
    first = keys.count("first_k_dense_replace", default=first_dense, least=0)
    return first, mlp(hidden, keys.count("intermediate_size")) if first else routed, routed


def deepseek(keys: Keys, *, v3: bool = True, indexed: bool = False) -> Draft:
    """A DeepSeek decoder. `v3`: the router has a correction bias; `indexed`: sparse attention."""
    correction = v3 or keys.text("topk_method") == "noaux_tc"
    first, dense, routed = routed_or_dense(keys, correction=correction, first_dense=3 if v3 else 0)
    every = keys.count("moe_layer_freq", default=1)
    mixer = latent_attention(keys, indexed=indexed)
    if v3 and "q_lora_rank" not in keys:
        # Moonlight's and Kimi-VL's published counts have 64 more a layer than their matrices and norms. They are taken for
        # the rotary frequencies in the checkpoint (32 of 32 bits, counted as 64 of 16), which the engine doesn't load.
        mixer = replace(
            mixer, weights=mixer.weights + vector("rotary_frequencies", keys.count("qk_rope_head_dim", default=64))
        )
    return decoder(
        keys,
        lambda _: mixer,
        lambda i: routed if i >= first and i % every == 0 else dense,
        rotary=keys.count("qk_rope_head_dim", default=64),
    )


def deepseek_v1(keys: Keys) -> Draft:
    """DeepSeek's first mixture: Llama's attention."""
    size = head_size(keys)
    first, dense, routed = routed_or_dense(keys, correction=False)
    every = keys.count("moe_layer_freq", default=1)
    mixer = attention(keys, head_dim=size)
    return decoder(keys, lambda _: mixer, lambda i: routed if i >= first and i % every == 0 else dense, rotary=size)


def dots1(keys: Keys) -> Draft:
    """Rednote's dots.llm1: DeepSeek V3's routing behind Llama's attention with normed q and k."""
    size = head_size(keys)
    bias = keys.flag("attention_bias", default=False)
    mixer = attention(keys, head_dim=size, bias=bias, out_bias=bias, qk_norm="head")
    first, dense, routed = routed_or_dense(keys, correction=True)
    return decoder(keys, lambda _: mixer, lambda i: dense if i < first else routed, rotary=size)


MODEL_TYPES = {
    "deepseek_v2": partial(deepseek, v3=False),
    "deepseek_v3": deepseek,
    "deepseek_v32": partial(deepseek, indexed=True),
    "kimi_k2": deepseek,
    "deepseek": deepseek_v1,
    "glm4_moe_lite": deepseek,
    "glm_moe_dsa": partial(deepseek, indexed=True),
    "dots1": dots1,
}

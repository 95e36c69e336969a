"""Encoders for embedding and reranking: BERT, RoBERTa, ModernBERT, and GTE's variant. They keep no cache."""

from __future__ import annotations

from functools import partial

from slipway.sizing.architecture import Cache
from slipway.sizing.families.decoder import (
    attention,
    head_counts,
    head_size,
    hidden_size,
    layer_count,
    mlp,
    vocabulary,
)
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.llama import inner_size
from slipway.sizing.families.parts import Draft, Lines, Mixer, column, copied, layer, norm, row, table, vector


def bert(keys: Keys) -> Draft:
    """Norms after each part, learned positions, biases everywhere."""
    hidden, words = hidden_size(keys), vocabulary(keys)
    part = attention(keys, bias=True, out_bias=True, head_dim=head_size(keys))
    mixer = Mixer(Cache("none"), part.weights, part.heads)
    network = mlp(hidden, inner_size(keys), gated=False, bias=True)
    positions = keys.count("max_position_embeddings", default=512)
    embedding = vector("positions", positions * hidden)
    embedding += vector("token_types", keys.count("type_vocab_size", default=2, least=0) * hidden)
    embedding += norm("embedding_norm", hidden, bias=True)
    return Draft(
        hidden_size=hidden,
        vocabulary=words,
        layers=(layer(mixer, network, norm("norms", 2 * hidden, bias=True)),) * layer_count(keys),
        outside=table("embed_tokens", words, hidden) + embedding + _head(keys, hidden),
        tied=True,
        pooling=True,
    )


def _head(keys: Keys, hidden: int) -> Lines:
    """What follows the last layer: a pooler, and the classes of a model that scores.

    RoBERTa's classes have a layer of their own in place of the pooler, of the same size.
    """
    head = copied("pooler", hidden, hidden, bias=True)
    if any("SequenceClassification" in str(item) for item in keys.items("architectures")):
        head += copied("score", hidden, classes(keys), bias=True)
    return head


def classes(keys: Keys) -> int:
    """How many a model that scores tells apart."""
    labels = keys.section("id2label")
    return max(1, len(list(labels))) if labels is not None else keys.count("num_labels", default=2)


def modernbert(keys: Keys) -> Draft:
    """Norms before each part but the first, gated networks, no biases."""
    hidden, words = hidden_size(keys), vocabulary(keys)
    heads, _ = head_counts(keys)
    size = head_size(keys)
    bias = keys.flag("attention_bias", default=False)
    qkv = column("q_proj", hidden, 3 * heads * size, bias=bias, at=("attn.Wqkv",))
    mixer = Mixer(Cache("none"), qkv + row("o_proj", heads * size, hidden, bias=bias, at=("attn.Wo",)), heads)
    network = mlp(hidden, inner_size(keys), bias=keys.flag("mlp_bias", default=False))
    norm_bias = keys.flag("norm_bias", default=False)
    first = layer(mixer, network, norm("norms", hidden, bias=norm_bias))
    others = layer(mixer, network, norm("norms", 2 * hidden, bias=norm_bias))
    outside = table("embed_tokens", words, hidden) + norm("embedding_norm", hidden, bias=norm_bias)
    outside += norm("norm", hidden, bias=norm_bias)
    if any("SequenceClassification" in str(item) for item in keys.items("architectures")):
        outside += copied("head", hidden, hidden, bias=keys.flag("classifier_bias", default=False))
        outside += norm("head_norm", hidden, bias=norm_bias)
        outside += copied("score", hidden, classes(keys), bias=True)
    return Draft(
        hidden_size=hidden,
        vocabulary=words,
        layers=(first, *(others,) * (layer_count(keys) - 1)),
        outside=outside,
        tied=True,
        pooling=True,
    )


def gte(keys: Keys, *, bias: bool = True) -> Draft:
    """BERT with rotary positions and gated networks (Alibaba's GTE v1.5, Snowflake's m-v2.0, Nomic's)."""
    hidden, words = hidden_size(keys), vocabulary(keys)
    part = attention(keys, bias=bias, out_bias=bias, head_dim=head_size(keys))
    inner = inner_size(keys)
    network = mlp(hidden, inner, bias=False)
    down_bias = vector("down_proj.bias", hidden) if bias else ()
    embedding = norm("embedding_norm", hidden, bias=True)
    embedding += vector("token_types", keys.count("type_vocab_size", default=0, least=0) * hidden)
    norms = norm("norms", 2 * hidden, bias=True) + down_bias
    return Draft(
        hidden_size=hidden,
        vocabulary=words,
        layers=(layer(Mixer(Cache("none"), part.weights, part.heads), network, norms),) * layer_count(keys),
        outside=table("embed_tokens", words, hidden) + embedding,
        tied=True,
        pooling=True,
    )


MODEL_TYPES = {
    "bert": bert,
    "camembert": bert,
    "roberta": bert,
    "xlm-roberta": bert,
    "xlm-roberta-xl": bert,
    "modernbert": modernbert,
    "new": gte,
    "gte": gte,
    "nomic_bert": partial(gte, bias=False),
}

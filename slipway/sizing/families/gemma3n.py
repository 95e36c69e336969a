"""Gemma 3n: embeddings of each layer, alternating updates (AltUp), and a low-rank path beside the layers (LAuReL)."""

from __future__ import annotations

from typing import Any

from slipway.sizing.families.decoder import (
    attention,
    decoder,
    head_size,
    hidden_size,
    kinds,
    layer_count,
    mlp,
    sliding_window,
)
from slipway.sizing.families.keys import Keys
from slipway.sizing.families.parts import Draft, FeedForward, Lines, Mixer, column, copied, norm, table

GEMMA3N_TEXT: dict[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_hidden_layers": 35,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "vocab_size": 262400,
    "max_position_embeddings": 32768,
}
DEFAULTS = {"gemma3n_text": GEMMA3N_TEXT}


def gemma3n_text(keys: Keys) -> Draft:
    """The last layers read the caches of earlier ones."""
    hidden, size, layers = hidden_size(keys), head_size(keys, default=256), layer_count(keys)
    of_kind = kinds(keys, lambda i: "full_attention" if (i + 1) % 5 == 0 else "sliding_attention")
    window = sliding_window(keys, 512)
    shared_from = layers - keys.count("num_kv_shared_layers", default=15, least=0)
    width = keys.count("hidden_size_per_layer_input", default=256)
    inputs = keys.count("altup_num_inputs", default=4, most=64)

    def mixer(number: int) -> Mixer:
        return attention(
            keys,
            kind=of_kind[number],
            window=window,
            head_dim=size,
            qk_norm="head",
            shares_cache=0 < shared_from <= number,
        )

    extra = per_layer_lines(hidden, width) + _laurel(keys, hidden) + _altup(hidden, inputs)
    inners = keys.get("intermediate_size")

    def network(number: int) -> FeedForward:
        if isinstance(inners, list):
            of_layers = keys.per_layer("intermediate_size", layers)
            inner = keys.whole("intermediate_size", of_layers[number] if of_layers else None)
        else:
            inner = keys.count("intermediate_size")
        part = mlp(hidden, inner)
        return FeedForward(part.weights + extra, part.intermediate)

    outside = per_layer_table(keys, hidden, width, layers)
    for number in range(2 * (inputs - 1)):
        outside += copied(f"altup.{number}", hidden, hidden)
    return decoder(keys, mixer, network, norms=4, tied=True, rotary=2 * size, embedding=outside, softcap=True)


def per_layer_lines(hidden: int, width: int) -> Lines:
    """What each layer does with its own embedding of `width` values."""
    lines = copied("per_layer_input_gate", hidden, width) + copied("per_layer_projection", width, hidden)
    return lines + norm("post_per_layer_input_norm", hidden)


def per_layer_table(keys: Keys, hidden: int, width: int, layers: int) -> Lines:
    """The embeddings of all layers, and what makes them of the first one."""
    rows = keys.count("vocab_size_per_layer_input", default=262144)
    lines = table("embed_tokens_per_layer", rows, layers * width)
    lines += column("per_layer_model_projection", hidden, layers * width)
    return lines + norm("per_layer_projection_norm", width)


def _laurel(keys: Keys, hidden: int) -> Lines:
    rank = keys.count("laurel_rank", default=64)
    return copied("laurel.left", hidden, rank) + copied("laurel.right", rank, hidden) + norm("laurel.norm", hidden)


def _altup(hidden: int, inputs: int) -> Lines:
    lines = copied("altup.correction", inputs, inputs) + copied("altup.prediction", inputs, inputs * inputs)
    return lines + copied("altup.router", hidden, inputs) + norm("altup.norms", 2 * hidden)


MODEL_TYPES = {"gemma3n_text": gemma3n_text}

"""What each layer of a GGUF's model keeps for a sequence, as llama.cpp takes it from the metadata.

After llama.cpp b11434: load_arch_hparams of src/models/*.cpp, src/llama-hparams.cpp (n_embd_k_gqa, n_embd_r, n_embd_s) and
llama_model::create_memory in src/llama-model.cpp. An architecture that is not named here keeps keys and values of every
token in every layer, which is what llama.cpp does with one that it has no special case for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from slipway.sizing.gguf.keys import Keys

NO_CACHE = frozenset({
    "bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert", "eurobert", "modern-bert",
    "gemma-embedding", "dream", "llada", "llada-moe", "rnd1", "clef", "wavtokenizer-dec",
})  # fmt: skip
"""create_memory gives them none: they see all tokens at once."""

PARTLY_KNOWN = frozenset({
    "deepseek4", "deepseek32", "glm-dsa", "glm5-next", "dots3note", "hy_v4", "minimax-m3", "qwen4exp", "kimi-k3",
    "gemma4-assistant", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7", "t5", "dflash", "eagle3",
})  # fmt: skip
"""Their caches have parts that are not modelled here: indexers, compressed caches, RWKV's states, a second model's cache."""

_RECURRENT = frozenset({"mamba", "mamba2"})
_HYBRID_BY_HEADS = frozenset({
    "jamba", "granitehybrid", "lfm2", "lfm2moe", "plamo2", "kimi-linear", "bailingmoe3", "nemotron_h", "nemotron_h_moe",
})  # fmt: skip
"""Layers without KV heads keep a state."""
_HYBRID_BY_INTERVAL = frozenset({"qwen3next", "qwen35", "qwen35moe", "minimax-01"})
"""Every n-th layer keeps keys and values, the others a state; n is full_attention_interval."""
_STATE_AND_KEYS = frozenset({"falcon-h1"})


class _Windows(NamedTuple):
    every: int
    """Every n-th layer sees all tokens, where the file has no pattern of its own. 0: it must have one."""
    window: int = 0
    """Where the file does not say; 0: without one in the file no layer has a window."""
    first: bool = False
    """The first of every n sees all, not the last."""
    fixed: bool = False
    """`window` holds whatever the file says."""


_WINDOWS = {
    "gemma2": _Windows(2, 4096),
    "gemma3": _Windows(6),
    "gemma3n": _Windows(5),
    "gemma4": _Windows(0),
    "gpt-oss": _Windows(2),
    "cohere2": _Windows(4),
    "cohere2moe": _Windows(4, first=True),
    "llama4": _Windows(4, 8192, fixed=True),
    "olmo2": _Windows(4),
    "exaone-moe": _Windows(4, 128),
    "plamo3": _Windows(8),
    "muse-glimmer": _Windows(4),
    "afmoe": _Windows(4),
    "laguna": _Windows(4, first=True),
    "mellum": _Windows(4),
    "smallthinker": _Windows(4, first=True),
    "granite_swa": _Windows(0),
    "step35": _Windows(0),
    "mimo2": _Windows(0),
    "spark2_5": _Windows(0),
    "maple": _Windows(0),
}
_EXAONE4_LAYERS, _EXAONE4 = 64, _Windows(4, 4096)  # only the large one has windows
_SMALLTHINKER_WINDOW = 4096  # whatever is in the file, where something is
_GEMMA3N_WITH_KEYS = 20  # layers; those after it look into theirs


@dataclass(frozen=True)
class LayerCache:
    """Of one layer, for one sequence."""

    keys: int = 0
    """Numbers of a token's keys, all KV heads together; with MLA its latent."""
    values: int = 0
    """Numbers of a token's values; 0 with MLA."""
    window: int = 0
    """Tokens that are kept; 0 for all."""
    state: int = 0
    """Numbers of 32 bits, however long the sequence."""


def caches(keys: Keys, layers: int) -> tuple[LayerCache, ...]:
    """What each of the `layers` layers keeps.

    Raises:
        SizingError: a number is missing or faulty.
    """
    name = keys.architecture
    predicted = min(keys.whole("nextn_predict_layers", 0), layers)
    if name in NO_CACHE:
        return (LayerCache(),) * layers
    heads, kv_heads = head_counts(keys, layers)
    windows = _windows(keys, layers)
    states = _states(keys, layers, kv_heads, layers - predicted)
    with_keys = layers - predicted
    if name == "gemma3n":
        with_keys = min(layers, _GEMMA3N_WITH_KEYS)
    elif name == "gemma4":
        with_keys = max(0, layers - keys.whole("attention.shared_kv_layers", 0))
    feed_forward = keys.each("feed_forward_length", layers, 0)
    mla = keys.whole("attention.key_length_mla", 0) > 0 and keys.whole("attention.value_length_mla", 0) > 0
    found = []
    for number in range(layers):
        window, state = windows[number], states[number]
        plain = number < with_keys and (not state or name in _STATE_AND_KEYS)
        if name.startswith("nemotron_h") and feed_forward[number]:
            plain = False
        key, value = head_sizes(keys, heads[0], windowed=window > 0) if plain else (0, 0)
        count = kv_heads[number]
        found.append(LayerCache(key * count, 0 if mla else value * count, window if plain else 0, state))
    return tuple(found)


def head_counts(keys: Keys, layers: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Query heads and KV heads of each layer."""
    heads = keys.each("attention.head_count", layers, 0)
    if "attention.head_count_kv" not in keys:
        return heads, heads
    return heads, keys.each("attention.head_count_kv", layers, 0)


def head_sizes(keys: Keys, heads: int, *, windowed: bool = False) -> tuple[int, int]:
    """Numbers of a key and of a value of one head."""
    usual = keys.whole("embedding_length") // heads if heads else 0
    key, value = keys.whole("attention.key_length", usual), keys.whole("attention.value_length", usual)
    if windowed:
        return keys.whole("attention.key_length_swa", key), keys.whole("attention.value_length_swa", value)
    return key, value


def _windows(keys: Keys, layers: int) -> tuple[int, ...]:
    """The window of each layer; 0 where it sees all tokens."""
    name = keys.architecture
    known = _WINDOWS.get(name)
    if name == "exaone4" and layers == _EXAONE4_LAYERS:
        known = _EXAONE4
    if name.startswith("lfm2") and keys.whole("attention.sliding_window", 0):
        return (keys.whole("attention.sliding_window"),) * layers
    if known is None:
        return (0,) * layers
    said = keys.whole("attention.sliding_window", known.window)
    if not said:
        return (0,) * layers
    window = known.window if known.fixed else said
    if name == "smallthinker":
        window = _SMALLTHINKER_WINDOW
    pattern = keys.flags("attention.sliding_window_pattern", layers)
    if pattern is None:
        if not known.every:
            keys.refuse(f"{name}.attention.sliding_window_pattern is missing")
        every = keys.whole("attention.sliding_window_pattern", known.every)
        whole = 0 if known.first else every - 1
        pattern = tuple(not every or number % every != whole for number in range(layers))
    return tuple(window if flag else 0 for flag in pattern)


def _states(keys: Keys, layers: int, kv_heads: tuple[int, ...], last: int) -> tuple[int, ...]:
    """Numbers of each layer's state; 0 where it has none. Layers from `last` on only predict further tokens."""
    name = keys.architecture
    if name in _RECURRENT or name in _STATE_AND_KEYS:
        keeps = (True,) * layers
    elif name in _HYBRID_BY_HEADS:
        keeps = tuple(count == 0 for count in kv_heads)
    elif name in _HYBRID_BY_INTERVAL:
        listed = keys.flags("attention.recurrent_layers", layers)
        every = max(1, keys.whole("full_attention_interval", 8 if name == "minimax-01" else 4))
        keeps = listed or tuple((number + 1) % every != 0 for number in range(layers))
    else:
        return (0,) * layers
    if name.startswith("nemotron_h"):
        feed_forward = keys.each("feed_forward_length", layers, 0)
        keeps = tuple(flag and not feed_forward[number] for number, flag in enumerate(keeps))
    size = _state(keys, layers)
    return tuple(size if flag and number < last else 0 for number, flag in enumerate(keeps))


def _state(keys: Keys, layers: int) -> int:
    width = keys.whole("embedding_length")
    heads = head_counts(keys, layers)[0][0]
    if "shortconv.l_cache" in keys:
        return width * (keys.whole("shortconv.l_cache", least=1) - 1)
    kernel = keys.whole("ssm.conv_kernel", 0)
    linear = keys.whole("kda.head_dim", 0)
    if linear:
        return 3 * (kernel - 1 if kernel else 3) * heads * linear + linear * linear * heads
    if keys.architecture == "minimax-01":
        size = head_sizes(keys, heads)[0]
        return size * size * heads
    inner, state, groups = keys.whole("ssm.inner_size"), keys.whole("ssm.state_size"), keys.whole("ssm.group_count", 0)
    return max(0, kernel - 1) * (inner + 2 * groups * state) + state * inner

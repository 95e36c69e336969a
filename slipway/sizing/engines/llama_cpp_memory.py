"""llama.cpp's way of counting memory, and Ollama's, whose runner it is.

Unlike vLLM it does not fill a GPU with what is left: the KV cache has the size that was asked for, so the question is whether
all of it fits. After llama.cpp b11434 (src/llama-context.cpp, llama-kv-cache*.cpp, llama-model.cpp; tools/server) and
measured with b11549 in xllamacpp 2026.10.11549, on CPUs; no start-up on a GPU was measured.

    total = weights + KV cache + compute buffer + output buffer [+ saved prompts, on the host]

Weights and KV cache are exact. The compute buffer is what ggml's allocator makes of the widest moment of a forward pass,
with flash attention, which is the default:

    4 bytes x (tokens x 5 x hidden + max(tokens x 3 x feed-forward, tokens x experts, outputs x vocabulary))
        + 2 bytes x tokens x cells, for each kind of cache

(1 x feed-forward where it has no gate.) It was found in start-ups of 13 models of 0.6 to 70 billion parameters: 0.5 % off at
most, but 5 % too low for Granite's Mamba layers; for models of a few MB it is up to a fifth too high. In Ollama 0.17.4 three
models were started: weights and KV cache as here (of models with windows up to a tenth less), compute within 4 %.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.sizing.allocator import up
from slipway.sizing.gguf.caches import NO_CACHE
from slipway.sizing.gguf.format import BY_NAME, GGML_TYPES
from slipway.sizing.gguf.result import Device, GgufRequest, KvCache
from slipway.units import GiB

UBATCH = 512
"""--ubatch-size where nothing else is said (common/common.h)."""
PAD = 256
"""Cells of a slot come in multiples of this (src/llama-context.cpp, llama-kv-cache-iswa.cpp)."""

_STATE_BYTES, _VALUE_BYTES, _MASK_BYTES = 4, 4, 2
_OLLAMA_MASK_BYTES = 6  # its older llama.cpp makes the mask in 32 bits first
_OLLAMA_ENGINE = frozenset({
    "bert", "deepseek2", "deepseekocr", "gemma3", "gemma3n", "gptoss", "gpt-oss", "llama4", "mistral3", "mllama",
    "nemotron_h", "nemotron_h_moe", "nomic-bert", "olmo3", "qwen25vl", "qwen3", "qwen3moe", "qwen35", "qwen35moe",
    "qwen3next", "qwen3vl", "qwen3vlmoe", "glm4moelite", "glmocr", "lfm2", "lfm2moe",
})  # fmt: skip
"""Architectures that Ollama 0.17.4 runs in an engine of its own on ggml, not in llama.cpp (OllamaEngineRequired in
fs/ggml/ggml.go). It loads an embedding table that is the output head too twice."""
_COPIES = 4  # of inputs, with more than one GPU (GGML_SCHED_MAX_COPIES)
_PROGRAM = {"llama_cpp": GiB(0.1), "ollama": GiB(0.15)}
"""What the processes take beside all that: 43 MB were measured with the smallest model, 105 MB of Ollama's two."""
_GPU_RESERVE = GiB(1)
"""CUDA context, cuBLAS and the like: what llama.cpp's own --fit leaves free (fit_params_target in common/common.h)."""


def context_cells(context: int) -> int:
    """Cells of one slot's cache for requests of `context` tokens."""
    return up(context, PAD)


def row_bytes(request: GgufRequest, keys: int, values: int) -> int:
    """Bytes that a token takes in one layer."""
    kind = GGML_TYPES[BY_NAME[request.cache_type.upper()]]
    return kind.size(keys) + kind.size(values)


def _cells(request: GgufRequest, window: int) -> int:
    """Cells of one slot in a layer: all tokens, or the window and the tokens under way."""
    whole = context_cells(request.context or 1)
    if not window or request.swa_full:
        return whole
    return up(min(whole, window + tokens(request)), PAD)


def _layer_cache(request: GgufRequest, number: int) -> int:
    """Bytes that a layer keeps for all slots."""
    cache = request.model.caches[number]
    cells = _cells(request, cache.window) * request.parallel
    return row_bytes(request, cache.keys, cache.values) * cells + cache.state * _STATE_BYTES * request.parallel


def checkpoint_bytes(request: GgufRequest) -> int:
    """Bytes of one saved state of one slot: what has no way back to an earlier token, windows and recurrent states."""
    whole = context_cells(request.context or 1)
    return sum(
        (0 if request.swa_full else row_bytes(request, each.keys, each.values) * min(each.window, whole))
        + each.state * _STATE_BYTES
        for each in request.model.caches
    )


def caches(request: GgufRequest) -> Iterator[KvCache]:
    """As the log has them: full attention, windows, states."""
    layers = request.model.caches
    kept = [each for each in layers if each.keys]
    for window in sorted({each.window for each in kept}):
        of_kind = [each for each in kept if each.window == window]
        cells = _cells(request, window)
        yield KvCache(
            kind="window" if window else "full",
            cells=cells,
            layers=len(of_kind),
            bytes=sum(row_bytes(request, each.keys, each.values) for each in of_kind) * cells * request.parallel,
        )
    states = [each.state for each in layers if each.state]
    if states:
        yield KvCache(kind="state", cells=1, layers=len(states), bytes=sum(states) * _STATE_BYTES * request.parallel)


def tokens(request: GgufRequest) -> int:
    """Tokens of the largest forward pass, as many for each slot."""
    return up(min(context_cells(request.context or 1) * request.parallel, request.ubatch or UBATCH), request.parallel)


def _in_ollamas_runner(request: GgufRequest) -> bool:
    """Ollama's llama.cpp, which is older and gives every token an output."""
    return request.engine == "ollama" and request.model.architecture not in _OLLAMA_ENGINE


def loaded_twice(request: GgufRequest) -> int:
    """Bytes of an embedding table that is there once more as the output head."""
    model = request.model
    own = request.engine == "ollama" and model.architecture in _OLLAMA_ENGINE
    return (
        model.input_weights if model.tied and model.architecture not in NO_CACHE and (own or request.gpu_layers) else 0
    )


def mask_bytes(request: GgufRequest) -> int:
    """Bytes of the masks that say which token sees which."""
    each = _OLLAMA_MASK_BYTES if _in_ollamas_runner(request) else _MASK_BYTES
    cells = [_cells(request, window) for window in {cache.window for cache in request.model.caches if cache.keys}]
    if request.model.architecture in NO_CACHE:
        cells = [tokens(request)]
    return tokens(request) * sum(cells) * each


def _compute(request: GgufRequest) -> int:
    """Bytes of the widest moment of a forward pass, without masks."""
    model, count = request.model, tokens(request)
    inner, outer = model.expert_feed_forward * model.experts_used, model.hidden_size * model.experts_used
    # What the experts give goes where their gates were, if that is large enough.
    experts = 3 * inner + (outer if outer > 2 * inner else 0)
    outputs = request.parallel
    if _in_ollamas_runner(request) or (request.pooling and model.architecture not in NO_CACHE):
        outputs = count
    inside = (3 if model.gated else 1) * model.feed_forward
    widest = max(inside * count, experts * count, outputs * model.vocabulary)
    return _VALUE_BYTES * (5 * model.hidden_size * count + widest)


def devices(request: GgufRequest) -> tuple[Device, tuple[Device, ...]]:
    """The host, and the GPUs that have layers. `request` has every default filled in."""
    model = request.model
    gpu_layers, count = request.gpu_layers or 0, request.gpus
    first = model.layers + 1 - gpu_layers
    weights, caches = [0] * count, [0] * count
    host_weights, host_cache = model.input_weights, 0
    head = model.output_weights + loaded_twice(request)
    for layer in range(model.layers + 1):
        size = model.layer_weights[layer] if layer < model.layers else head
        cache = _layer_cache(request, layer) if layer < model.layers else 0
        if layer < first:
            host_weights += size
            host_cache += cache
            continue
        # load_tensors in src/llama-model.cpp, with GPUs that are equally free
        gpu = (layer - first) * count // gpu_layers
        weights[gpu] += size
        caches[gpu] += cache
    masks, compute = mask_bytes(request), _compute(request)
    copied = (masks + _VALUE_BYTES * tokens(request) * model.hidden_size) * (_COPIES if count > 1 else 1)
    on_gpus = tuple(
        Device(
            name=f"GPU {number}",
            total=request.gpu_memory,
            weights=GiB.of_bytes(weights[number]),
            kv_cache=GiB.of_bytes(caches[number]),
            compute=GiB.of_bytes(compute + copied),
            other=_GPU_RESERVE,
        )
        for number in range(count if gpu_layers else 0)
    )
    # With all layers on GPUs the host only looks the tokens up.
    inputs = _VALUE_BYTES * tokens(request) * model.hidden_size
    host_compute = masks + (inputs if gpu_layers > model.layers else compute)
    outputs = _VALUE_BYTES * request.parallel * (model.vocabulary + (model.hidden_size if request.pooling else 0))
    saved = (request.checkpoints or 0) * checkpoint_bytes(request) * request.parallel
    return Device(
        name="host",
        total=request.host_memory,
        weights=GiB.of_bytes(host_weights),
        kv_cache=GiB.of_bytes(host_cache),
        compute=GiB.of_bytes(host_compute),
        other=_PROGRAM[request.engine] + GiB.of_bytes(outputs + saved) + (request.prompt_cache or GiB(0)),
    ), on_gpus

"""Whether a GGUF model fits an engine that runs it with llama.cpp, and with what: llama-server's flags, Ollama's variables.

How much it takes is counted in `slipway.sizing.engines.llama_cpp_memory`. llama.cpp asks nobody how much memory the host has
for the prompts and states that it saves, 8 GiB and 32 states a slot by default; where that is known, both are cut to it here.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.sizing.engines.llama_cpp_memory import (
    PAD,
    UBATCH,
    caches,
    checkpoint_bytes,
    context_cells,
    devices,
    loaded_twice,
    mask_bytes,
    row_bytes,
    tokens,
)
from slipway.sizing.engines.vllm import total_memory
from slipway.sizing.gguf.caches import NO_CACHE
from slipway.sizing.gguf.format import BY_NAME, GGML_TYPES, POOLING
from slipway.sizing.gguf.result import Device, GgufRequest, GgufSizing, KvCache
from slipway.sizing.result import SizingError, Term
from slipway.units import BYTES_PER_MIB, GiB

DEPLOYED_VERSION = "b11549"
"""llama.cpp's build in the release of xllamacpp that Slipway deploys."""
OLLAMA_VERSION = "0.17.4"
"""The release of Ollama that was measured."""
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""--cache-type-k and --cache-type-v (common/arg.cpp)."""
MOST_PARALLEL = 256
"""LLAMA_MAX_SEQ."""
BATCH = 2048
"""--batch-size where nothing else is said."""
CHECKPOINTS = 32
"""--ctx-checkpoints: states that llama-server saves of a slot, where a cache has no way back to an earlier token."""
PROMPT_CACHE = GiB(8)
"""--cache-ram: what llama-server keeps of old prompts in the host's memory."""

_SHORTEST = 1024  # tokens; a shorter context helps nobody
_SOURCE = "llama.cpp b11434"


def size_gguf(request: GgufRequest) -> GgufSizing:
    """What `request` takes, of each device, and whether it fits.

    Raises:
        SizingError: the question makes no sense.
    """
    _check(request)
    return _sized(_filled(request))


def _check(request: GgufRequest) -> None:
    for name in ("context", "parallel", "gpus", "ubatch"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise SizingError(f"{name} is {value}; give a whole number from 1 on")
    for name in ("gpu_layers", "checkpoints"):
        value = getattr(request, name)
        if value is not None and value < 0:
            raise SizingError(f"{name} is {value}; give a whole number from 0 on")
    if request.parallel > MOST_PARALLEL:
        raise SizingError(f"parallel is {request.parallel}; llama.cpp has {MOST_PARALLEL} slots at most: lower it")
    if request.cache_type not in CACHE_TYPES:
        raise SizingError(f"cache_type is {request.cache_type!r}; known are {', '.join(CACHE_TYPES)}")
    if request.pooling and request.pooling not in POOLING.values():
        raise SizingError(f"pooling is {request.pooling!r}; known are {', '.join(POOLING.values())}")


def _filled(request: GgufRequest) -> GgufRequest:
    """With llama.cpp's defaults, but for the host's memory: its own for saved prompts ask nobody what there is."""
    model = request.model
    context = request.context or model.context
    pooling = model.pooling if request.pooling is None else request.pooling
    # server_slot::can_split in tools/server/server-context.cpp
    whole = bool(pooling) and (pooling != "last" or model.architecture in NO_CACHE)
    layers = model.layers + 1 if request.gpu_layers is None else min(request.gpu_layers, model.layers + 1)
    asked = request.but(
        context=context,
        pooling=pooling,
        ubatch=request.ubatch or max(UBATCH, context if whole else 0),
        gpu_layers=0 if request.gpu is None else layers,
        gpu_memory=request.gpu_memory or (total_memory(request.gpu) if request.gpu else None),
    )
    if asked.engine == "ollama" or pooling:
        return asked.but(prompt_cache=GiB(0), checkpoints=0)
    saved = checkpoint_bytes(asked) * asked.parallel
    if asked.host_memory is None:
        most = CHECKPOINTS if saved else 0
        return asked.but(
            prompt_cache=PROMPT_CACHE if asked.prompt_cache is None else asked.prompt_cache,
            checkpoints=most if asked.checkpoints is None else asked.checkpoints,
        )
    left = max(0.0, asked.host_memory.bytes - _sized(asked.but(prompt_cache=GiB(0), checkpoints=0)).host.used.bytes)
    checkpoints = min(CHECKPOINTS, int(left / 2 // saved)) if saved else 0
    if asked.checkpoints is not None:
        checkpoints = asked.checkpoints
    left = max(0.0, left - checkpoints * saved)
    # Whole MiB, as the flag counts.
    half = GiB.of_mib(left / 2 // BYTES_PER_MIB)
    return asked.but(
        checkpoints=checkpoints,
        prompt_cache=min(PROMPT_CACHE, half) if asked.prompt_cache is None else asked.prompt_cache,
    )


def _sized(request: GgufRequest) -> GgufSizing:
    """The answer to a filled request."""
    model, cells = request.model, context_cells(request.context or 1)
    kept = tuple(caches(request))
    host, gpus = devices(request)
    warnings = list(_warnings(request))
    errors = [*_refusals(request), *_room_errors(request, host, gpus)]
    return GgufSizing(
        request=request,
        fits=not errors,
        errors=tuple(errors),
        warnings=tuple(warnings),
        host=host,
        gpus=gpus,
        weights=GiB.of_bytes(model.weights + loaded_twice(request)),
        caches=kept,
        kv_cache_tokens=cells * request.parallel if any(cache.kind != "state" for cache in kept) else 0,
        kv_bytes_per_token=sum(
            row_bytes(request, each.keys, each.values) for each in model.caches if not each.window or request.swa_full
        ),
        max_concurrency=float(request.parallel),
        flags=_flags(request),
        terms=tuple(_terms(request, kept, host, gpus)),
    )


def _refusals(request: GgufRequest) -> Iterator[str]:
    kind = GGML_TYPES[BY_NAME[request.cache_type.upper()]]
    sizes = {size for each in request.model.caches for size in (each.keys, each.values) if size}
    heads = {request.model.key_length, request.model.value_length} if sizes else set()
    if any(size % kind.elements for size in heads | sizes):
        yield (
            f"a KV cache of {request.cache_type} is in blocks of {kind.elements}, and heads have "
            f"{request.model.key_length} numbers; the engine would not start: leave cache_type at f16"
        )


def _room_errors(request: GgufRequest, host: Device, gpus: tuple[Device, ...]) -> Iterator[str]:
    for device in (*gpus, host):
        if device.free is None or device.free.value >= 0:
            continue
        parts = f"weights {device.weights:.2f}, KV cache {device.kv_cache:.2f}, compute buffer {device.compute:.2f}"
        where = "the host" if device is host else device.name
        end = "the engine would be ended for want of it" if device is host else "the engine would not start"
        yield (
            f"{where} has {device.total:.2f}, and {device.used:.2f} are needed ({parts}, other {device.other:.2f}); {end}: "
            + _mend(request)
        )
        return


def _mend(request: GgufRequest) -> str:
    """What would fit: a shorter context, or nothing of this model."""
    low, high = 0, (request.context or 1) // PAD
    least = request.but(prompt_cache=GiB(0), checkpoints=0)
    while low < high:
        middle = (low + high + 1) // 2
        host, gpus = devices(least.but(context=middle * PAD, ubatch=min(request.ubatch or UBATCH, middle * PAD)))
        if all(device.free is None or device.free.value >= 0 for device in (host, *gpus)):
            low = middle
        else:
            high = middle - 1
    if low * PAD >= _SHORTEST:
        return f"a context of {low * PAD} tokens fits" + (
            f" with {request.parallel} slots" if request.parallel > 1 else ""
        )
    smaller = "fewer slots, " if request.parallel > 1 else ""
    return f"take {smaller}a smaller quantization, or " + ("another machine" if request.gpu is None else "more GPUs")


def _warnings(request: GgufRequest) -> Iterator[str]:
    model, context = request.model, request.context or 1
    yield from model.notes
    if context > model.context:
        yield (
            f"a context of {context} tokens is more than the {model.context} that the model was trained on; answers get worse "
            "beyond: lower it"
        )
    if request.engine == "ollama" and request.cache_type != "f16":
        yield "Ollama leaves the KV cache at f16, without a word, for models that it gives no flash attention"
    if request.gpu is not None and 0 < (request.gpu_layers or 0) <= model.layers:
        yield f"{model.layers + 1 - (request.gpu_layers or 0)} of {model.layers + 1} layers stay on the CPU, which sets the speed"


def _flags(request: GgufRequest) -> dict[str, str | int | bool]:
    if request.engine == "ollama":
        said: dict[str, str | int | bool] = {"num_ctx": request.context or 1, "OLLAMA_NUM_PARALLEL": request.parallel}
        if request.cache_type != "f16":
            said |= {"OLLAMA_FLASH_ATTENTION": 1, "OLLAMA_KV_CACHE_TYPE": request.cache_type}
        return said
    said = {"ctx-size": context_cells(request.context or 1) * request.parallel, "parallel": request.parallel}
    if request.cache_type != "f16":
        said |= {"cache-type-k": request.cache_type, "cache-type-v": request.cache_type}
    if request.gpu is not None:
        said["n-gpu-layers"] = request.gpu_layers or 0
    if request.ubatch != UBATCH:
        said |= {"ubatch-size": request.ubatch or UBATCH, "batch-size": max(BATCH, request.ubatch or UBATCH)}
    if request.swa_full:
        said["swa-full"] = True
    if request.pooling:
        return said | {"embeddings": True, "pooling": request.pooling}
    said["cache-ram"] = round((request.prompt_cache or GiB(0)).bytes / BYTES_PER_MIB)
    if checkpoint_bytes(request):
        said["ctx-checkpoints"] = request.checkpoints or 0
    return said


def _terms(request: GgufRequest, kept: tuple[KvCache, ...], host: Device, gpus: tuple[Device, ...]) -> Iterator[Term]:
    model = request.model
    yield Term(
        name="weights",
        formula="sum over the tensors of the file",
        numbers=", ".join(f"{kind} {GiB.of_bytes(size):.2f}" for kind, size in sorted(model.weights_by_type.items())),
        value=f"{GiB.of_bytes(model.weights + loaded_twice(request)):.2f}",
        source="the file's header; ggml/include/ggml.h",
    )
    for cache in kept:
        kind = "f32" if cache.kind == "state" else request.cache_type
        yield Term(
            name=f"kv_cache ({cache.kind})",
            formula="slots x cells x layers x bytes of a token's keys and values",
            numbers=f"{request.parallel} x {cache.cells} x {cache.layers}, in {kind}",
            value=f"{GiB.of_bytes(cache.bytes):.2f}",
            source=f"{_SOURCE}: src/llama-kv-cache.cpp",
        )
    yield Term(
        name="compute",
        formula="4 x (tokens x 5 x hidden + max(tokens x 3 x feed-forward, tokens x experts, outputs x vocabulary)) + masks",
        numbers=f"{tokens(request)} tokens, hidden {model.hidden_size}, feed-forward {model.feed_forward}, "
        f"{model.experts_used} experts of {model.expert_feed_forward}, masks {GiB.of_bytes(mask_bytes(request)):.3f}",
        value=f"{(gpus[0] if gpus else host).compute:.3f}",
        source="found in start-ups of b11549; see slipway/sizing/engines/llama_cpp_memory.py",
    )
    state, cache_ram = GiB.of_bytes(checkpoint_bytes(request)), request.prompt_cache or GiB(0)
    number = (request.checkpoints or 0) * request.parallel
    yield Term(
        name="saved prompts",
        formula="cache-ram + ctx-checkpoints x slots x a saved state",
        numbers=f"{cache_ram:.2f} + {request.checkpoints} x {request.parallel} x {state:.3f}",
        value=f"{cache_ram + number * state:.2f}",
        source=f"{_SOURCE}: tools/server/server-context.cpp",
    )

"""What would make a deployment fit that does not: each change is tried, and only what fits is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from slipway.catalog.types import Gpu
from slipway.sizing.parallel import GPUS_OF_A_HOST, divides
from slipway.sizing.result import Request, Sizing, Suggestion
from slipway.sizing.size import size

_MOST, _MOST_OF_A_KIND = 8, 2
_FP8 = 8.9  # compute capability from which GPUs multiply FP8; below it vLLM runs it as weights only
_FP8_WEIGHTS_ONLY = 8.0
_SHORTEST = 1024  # tokens; a shorter context helps nobody
_UTILIZATION = 0.95
_COUNTS = (1, 2, 4, GPUS_OF_A_HOST)

_Change = tuple[str, Request]
"""In the words of the settings, and the request with it."""


def suggestions(sizing: Sizing, gpus: Iterable[Gpu] = ()) -> tuple[Suggestion, ...]:
    """The nearest changes that make `sizing`'s request fit, best first; empty when it fits already.

    First what costs nothing, then what costs context, then precision, then hardware. `gpus` are the ones to try instead.
    """
    if sizing.fits:
        return ()
    found: list[Suggestion] = []
    for kind in _changes(sizing, tuple(gpus)):
        fitting = ((change, request, size(request)) for change, request in kind)
        best = islice((each for each in fitting if each[2].fits), _MOST_OF_A_KIND)
        found += [Suggestion(change=change, effect=_room(answer), request=request) for change, request, answer in best]
    return tuple(found[:_MOST])


def _room(sizing: Sizing) -> str:
    request, room = sizing.request, f"{sizing.kv_cache_tokens:,} KV tokens"
    if request.context_used not in {None, request.context}:
        return f"{room}, {sizing.concurrency_at_use:.1f} requests of {request.context_used:,} tokens at once"
    return f"{room}, {sizing.max_concurrency:.1f} requests of the whole context at once"


def _changes(sizing: Sizing, gpus: tuple[Gpu, ...]) -> Iterator[Iterator[_Change]]:
    """Kind by kind."""
    request = sizing.request
    if request.gpu is None:
        yield _shorter(request)
        return
    yield _fewer_ranks(request) if sizing.memory is None else _knobs(request)
    yield _shorter(request)
    yield _narrower(request, request.gpu)
    yield _more_gpus(request)
    yield _larger_gpus(request, request.gpu, gpus)


def _fewer_ranks(request: Request) -> Iterator[_Change]:
    """Where shapes do not divide."""
    for ranks in range((request.tensor_parallel or 1) - 1, 0, -1):
        if divides(request.architecture, ranks):
            yield f"tensor_parallel: {ranks}", request.but(tensor_parallel=ranks, count=ranks)


def _larger_gpus(request: Request, gpu: Gpu, gpus: tuple[Gpu, ...]) -> Iterator[_Change]:
    """Other GPUs, by the memory that they have together."""
    larger = (each for each in gpus if each.driver_mib > gpu.driver_mib and each.vendor == gpu.vendor)
    pairs = sorted(
        ((each, count) for each in larger for count in _COUNTS), key=lambda pair: pair[0].driver_mib * pair[1]
    )
    for each, count in pairs:
        if request.count <= count and divides(request.architecture, count):
            change = f"gpu: {each.id}" if count == request.count else f"gpu: {each.id}, {count} GPUs"
            yield (
                change,
                request.but(gpu=each, gpu_memory=None, count=count, tensor_parallel=count, pipeline_parallel=1),
            )


def _knobs(request: Request) -> Iterator[_Change]:
    """What costs nothing but head room."""
    if (request.gpu_memory_utilization or 0) < _UTILIZATION:
        yield f"gpu_memory_utilization: {_UTILIZATION}", request.but(gpu_memory_utilization=_UTILIZATION)
    elif (request.gpu_memory_utilization or 0) > _UTILIZATION:
        yield "gpu_memory_utilization: 0.9", request.but(gpu_memory_utilization=0.9)
    for seqs in (256, 64, 16):
        if (request.concurrency or 0) <= seqs < (request.max_num_seqs or 0):
            yield f"max_num_seqs: {seqs}", request.but(max_num_seqs=seqs)


def _narrower(request: Request, gpu: Gpu) -> Iterator[_Change]:
    """Fewer bits for the cache, then for the weights; alone, then with a shorter context."""
    tries = []
    # AMD's, from CDNA 3 on, have FP8.
    capability = _FP8 if gpu.nvidia_capability is None else gpu.nvidia_capability
    if request.kv_cache_dtype == "auto" and capability >= _FP8:
        tries.append(("kv_cache_dtype: fp8", request.but(kv_cache_dtype="fp8")))
    unquantized = request.quantization is None and request.architecture.quantization is None
    if unquantized and capability >= _FP8_WEIGHTS_ONLY:
        tries.append(("quantization: fp8", request.but(quantization="fp8")))
    for change, narrow in tries:
        yield change, narrow
        if not size(narrow).fits:
            yield from ((f"{change}, {shorter}", both) for shorter, both in _shorter(narrow))


def _shorter(request: Request) -> Iterator[_Change]:
    """The longest context of 1024-token steps that fits."""
    context = request.context or request.architecture.context
    used = request.context_used or context
    # What requests really use stays possible.
    low, high = (0 if used >= context else -(-used // _SHORTEST) - 1), (context - 1) // _SHORTEST
    best: Request | None = None
    while low < high:
        middle = (low + high + 1) // 2
        tried = request.but(
            context=middle * _SHORTEST,
            context_used=min(request.context_used or context, middle * _SHORTEST),
        )
        if size(tried).fits:
            low, best = middle, tried
        else:
            high = middle - 1
    if best is not None:
        yield f"max_model_len: {best.context}", best


def _more_gpus(request: Request) -> Iterator[_Change]:
    """More of the same; alone, then with a shorter context."""
    # Beyond one host it takes hosts of eight.
    counts = _COUNTS if request.count < GPUS_OF_A_HOST else tuple(GPUS_OF_A_HOST * hosts for hosts in (2, 4))
    tries = []
    for count in counts:
        if count > request.count:
            hosts = max(1, count // GPUS_OF_A_HOST)
            each = count // hosts
            ranks = next(n for n in range(each, 0, -1) if each % n == 0 and divides(request.architecture, n))
            stages = f", pipeline_parallel: {count // ranks}" if count > ranks else ""
            more = request.but(count=count, hosts=hosts, tensor_parallel=ranks, pipeline_parallel=count // ranks)
            where = f", hosts: {count // GPUS_OF_A_HOST}" if count > GPUS_OF_A_HOST else ""
            tries.append((f"{count} GPUs{where}, tensor_parallel: {ranks}{stages}", more))
    yield from tries
    for change, more in tries:
        if not size(more).fits:
            yield from ((f"{change}, {shorter}", both) for shorter, both in _shorter(more))

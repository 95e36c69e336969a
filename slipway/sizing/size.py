"""Does a model fit, with how much room: the engine's budget, filled in term by term."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TypedDict

from slipway.sizing.engines import MODELS
from slipway.sizing.engines.base import Amount, MemoryModel
from slipway.sizing.engines.vllm import total_memory
from slipway.sizing.kv_cache import Layout
from slipway.sizing.parallel import GPUS_OF_A_HOST, divides, stages
from slipway.sizing.result import Breakdown, Request, Sizing, SizingError, Term
from slipway.sizing.weights import weights_per_rank
from slipway.units import GiB

FIRST_SNAPSHOT = GiB(0.51)
"""What a process takes of a GPU before it allocates anything: its CUDA context. 78.68 of 79.19 GiB were free on H100."""


TIGHT = GiB(0.25)
"""Less free memory than this is worth a warning."""
HOST_OVERHEAD = GiB(1.5)
"""Our allowance for interpreter and activations beside weights and KV cache on a CPU; an estimate on the safe side."""


def size(request: Request) -> Sizing:
    """The answer to `request`.

    Raises:
        SizingError: the question makes no sense, whatever the hardware.
    """
    model = MODELS.get(request.engine)
    if model is None:
        raise SizingError(f"engine {request.engine!r} has no memory model; use one of {', '.join(MODELS)}")
    _check(request)
    asked = model.filled(_spread(request))
    refused = model.refusals(asked)
    if asked.context_used is not None and asked.context is not None and asked.context > asked.architecture.context:
        refused.append(
            f"a context of {asked.context} tokens is more than the {asked.architecture.context} that the model knows; the "
            "engine would not start: lower it"
        )
    if refused:
        return _refused(asked, refused)
    if asked.gpu is None:
        return _on_cpu(asked, model)
    return _on_gpus(asked, model, total_memory(asked.gpu) if asked.gpu_memory is None else asked.gpu_memory)


def _check(request: Request) -> None:
    for name in ("count", "tensor_parallel", "pipeline_parallel", "context", "concurrency", "context_used"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise SizingError(f"{name} is {value}; give a whole number from 1 on")
    for name in ("max_num_batched_tokens", "max_num_seqs", "block_size", "decode_context_parallel"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise SizingError(f"{name} is {value}; give a whole number from 1 on")
    utilization = request.gpu_memory_utilization
    if utilization is not None and not 0 < utilization <= 1:
        raise SizingError(f"gpu_memory_utilization is {utilization:g}; give a part between 0 and 1, such as 0.9")
    if request.gpu_memory is not None and request.gpu_memory.value <= 0:
        raise SizingError(
            f"the GPU's memory is {request.gpu_memory.value:g} GiB; give what CUDA reports, such as 79.19"
        )

    own = request.architecture.quantization
    if own is not None and request.quantization not in {None, "", "none", own.method}:
        raise SizingError(
            f"{request.quantization} is asked for, and the checkpoint is stored as {own.method}; the engine would not start: "
            "leave it out, the checkpoint says itself what it is"
        )


def _spread(request: Request) -> Request:
    """With the tensor and pipeline parallelism that `count` GPUs allow, where they are not given."""
    ranks, count = request.tensor_parallel, request.pipeline_parallel
    if ranks is None:
        # Over several hosts the layers are split, not each layer.
        available = max(1, request.count // (count or request.hosts))
        ranks = next(n for n in range(available, 0, -1) if available % n == 0 and divides(request.architecture, n))
    if count is None:
        count = max(1, request.count // ranks)
    return request.but(tensor_parallel=ranks, pipeline_parallel=count, count=max(request.count, ranks * count))


def _weights(request: Request) -> list[int]:
    return weights_per_rank(
        request.architecture,
        tensor_parallel=request.tensor_parallel or 1,
        pipeline_parallel=request.pipeline_parallel or 1,
        dtype=request.dtype,
        quantization=request.quantization,
        engine_version=request.engine_version or "",
    )


def _on_gpus(request: Request, model: MemoryModel, total: GiB) -> Sizing:
    parts = stages(request.architecture, request.pipeline_parallel or 1)
    weights = _weights(request)
    communication, context = model.non_torch(request)
    plans = []
    for number, layers in enumerate(parts):
        activation = model.activation(request, layers, last=number == len(parts) - 1)
        graphs = model.cuda_graphs(request, layers)
        memory = _budget(
            request,
            model,
            total,
            weights=weights[number],
            activation=activation,
            communication=communication,
            context=context,
            graphs=graphs,
        )
        layout = model.layout(request, layers)
        plans.append(_Plan(memory, layout, layout.blocks(int(memory.kv_cache.bytes)), activation, graphs))
    worst = min(plans, key=lambda plan: (plan.blocks, plan.memory.kv_cache.value))
    memory = worst.memory
    errors, warnings = _memory_errors(request, model, memory)
    warnings += _layout_warnings(request)
    if not errors:
        errors = _room_errors(request, worst.layout, worst.blocks)
    return Sizing(
        request=request,
        fits=not errors,
        errors=tuple(errors),
        warnings=tuple(warnings),
        memory=memory,
        first=plans[0].memory,
        flags=model.flags(request),
        terms=_terms(request, model, worst, communication, context),
        **_figures(request, model, worst.layout, worst.blocks),
    )


def _on_cpu(request: Request, model: MemoryModel) -> Sizing:
    """On a CPU the room is given, and the model's weights lie beside it in the host's memory."""
    room = request.cpu_kv_cache
    if room is None:
        raise SizingError("without a GPU the room for the KV cache must be given, in GiB")
    # Of several hosts each has a stage, and room of its own; the fewest tokens count.
    layouts = [model.layout(request, layers) for layers in stages(request.architecture, request.pipeline_parallel or 1)]
    layout = min(layouts, key=lambda each: each.blocks(int(room.bytes)))
    blocks = layout.blocks(int(room.bytes))
    errors = _host_errors(request, room) or _room_errors(request, layout, blocks)
    return Sizing(
        request=request,
        fits=not errors,
        errors=tuple(errors),
        warnings=(),
        memory=None,
        first=None,
        flags=model.flags(request),
        **_figures(request, model, layout, blocks),
    )


def _host_errors(request: Request, room: GiB) -> list[str]:
    if request.host_memory is None:
        return []
    weights = GiB.of_bytes(max(_weights(request)))
    if weights + room + HOST_OVERHEAD <= request.host_memory:
        return []
    return [
        (
            f"weights {weights:.2f}, a KV cache of {room:.2f} and {HOST_OVERHEAD:.2f} for the program itself are more than the "
            f"host's {request.host_memory:.2f} of memory; the engine would be ended for want of it"
        )
    ]


def _refused(request: Request, errors: list[str]) -> Sizing:
    return Sizing(
        request=request,
        fits=False,
        errors=tuple(errors),
        warnings=(),
        memory=None,
        first=None,
        kv_cache_tokens=0,
        max_concurrency=0.0,
        concurrency_at_use=0.0,
        kv_bytes_per_token=0,
    )


@dataclass(frozen=True)
class _Plan:
    """One pipeline stage."""

    memory: Breakdown
    layout: Layout
    blocks: int
    activation: Amount
    graphs: Amount


class _Figures(TypedDict):
    kv_cache_tokens: int
    max_concurrency: float
    concurrency_at_use: float
    kv_bytes_per_token: int


def _figures(request: Request, model: MemoryModel, layout: Layout, blocks: int) -> _Figures:
    context, used = request.context or 1, request.context_used or 1
    return _Figures(
        kv_cache_tokens=layout.tokens(blocks, context, by_concurrency=model.tokens_by_concurrency(request)),
        max_concurrency=layout.concurrency(blocks, context),
        concurrency_at_use=layout.concurrency(blocks, used),
        kv_bytes_per_token=_bytes_per_token(layout, context),
    )


def _bytes_per_token(layout: Layout, context: int) -> int:
    """Of a long sequence's next token: only what keeps every token grows then."""
    return sum(
        layout.block_bytes // size
        for kind, window, size in layout.groups
        if kind == "full" or (kind == "window" and window >= context)
    )


def _room_errors(request: Request, layout: Layout, blocks: int) -> list[str]:
    if not layout.groups:
        return []
    context, used = request.context or 1, request.context_used or 1
    needed = layout.blocks_of_request(context)
    if needed > blocks:
        longest = longest_context(layout, blocks, context)
        return [
            f"one request of {context} tokens takes {GiB.of_bytes(needed * layout.block_bytes):.2f} of KV cache and "
            f"{GiB.of_bytes(blocks * layout.block_bytes):.2f} are left; the engine would not start: "
            + (f"a context of {longest} tokens fits" if longest else "no context fits")
        ]
    at_use, wanted = layout.concurrency(blocks, used), request.concurrency
    if wanted is not None and at_use < wanted:
        return [
            (
                f"there is room for {floor(at_use * 10) / 10:.1f} requests of {used} tokens at once, and {wanted} are wanted; "
                "the rest would wait"
            )
        ]
    if wanted is not None and (request.max_num_seqs or wanted) < wanted:
        return [
            (
                f"max_num_seqs lets {request.max_num_seqs} requests run at once, and {wanted} are wanted; the rest would wait: "
                "raise it"
            )
        ]
    return []


def longest_context(layout: Layout, blocks: int, below: int) -> int:
    """The longest request, in tokens, that `blocks` blocks hold; 0 when not one block is left."""
    low, high = 0, below
    while low < high:
        middle = (low + high + 1) // 2
        if layout.blocks_of_request(middle) <= blocks:
            low = middle
        else:
            high = middle - 1
    return low


def _layout_warnings(request: Request) -> list[str]:
    said = []
    used = (request.tensor_parallel or 1) * (request.pipeline_parallel or 1)
    if used < request.count:
        said.append(f"{request.count - used} of the {request.count} GPUs stay idle")
    if used > GPUS_OF_A_HOST * request.hosts:
        have = "one host has" if request.hosts == 1 else f"{request.hosts} hosts have"
        said.append(
            f"{used} GPUs are more than {have}; an engine takes those of several where the stack's model says "
            f"hosts: {-(-used // GPUS_OF_A_HOST)}"
        )
    if request.gpu is not None and request.gpu.vendor != "nvidia":
        said.append("Slipway deploys vLLM's CUDA build only, as yet; no start-up on a GPU of this make was measured")
    return said


def _memory_errors(request: Request, model: MemoryModel, memory: Breakdown) -> tuple[list[str], list[str]]:
    total, utilization = memory.total, request.gpu_memory_utilization or 0
    if memory.requested > total - FIRST_SNAPSHOT:
        return [
            (
                f"gpu_memory_utilization {utilization:g} asks for {memory.requested:.2f} of {total:.2f}, of which "
                f"{total - FIRST_SNAPSHOT:.2f} are free when the engine starts; it would not start: lower it to 0.98"
            )
        ], []
    if memory.kv_cache.value <= 0 and not request.architecture.pooling:
        taken = memory.weights + memory.activation + memory.non_torch
        if model.subtracts_graphs(request):
            taken = taken + memory.cuda_graphs
        return [
            (
                f"no memory is left for the KV cache: weights {memory.weights:.2f}, activations {memory.activation:.2f} and the "
                f"rest are {taken - memory.requested:.2f} more than the {memory.requested:.2f} that the engine may take of a GPU"
            )
        ], []
    # While graphs are captured the activations' memory is free for them.
    left = memory.free if model.subtracts_graphs(request) else memory.free + memory.activation
    if (left - FIRST_SNAPSHOT).value < 0 and not model.subtracts_graphs(request):
        return [
            (
                f"CUDA graphs take {memory.cuda_graphs:.2f}, {FIRST_SNAPSHOT - left:.2f} more than is left outside the engine's "
                "part; it would run out of memory when it captures them: lower gpu_memory_utilization"
            )
        ], []
    if (left - FIRST_SNAPSHOT).value < TIGHT.value:
        return [], [
            f"only {left - FIRST_SNAPSHOT:.2f} of each GPU stay free; another process on it would end the engine"
        ]
    return [], []


def _budget(
    request: Request,
    model: MemoryModel,
    total: GiB,
    *,
    weights: int,
    activation: Amount,
    communication: Amount,
    context: Amount,
    graphs: Amount,
) -> Breakdown:
    taken = weights + activation.bytes + communication.bytes + context.bytes
    inside = model.subtracts_graphs(request)
    room = max(0.0, model.room(request, total, taken + (graphs.bytes if inside else 0)))
    used = taken + room + graphs.bytes
    return Breakdown(
        total=total,
        requested=GiB.of_bytes(model.room(request, total, 0)),
        weights=GiB.of_bytes(weights),
        activation=GiB.of_bytes(activation.bytes),
        communication=GiB.of_bytes(communication.bytes),
        context=GiB.of_bytes(context.bytes),
        cuda_graphs=GiB.of_bytes(graphs.bytes),
        kv_cache=GiB.of_bytes(room),
        free=GiB.of_bytes(total.bytes - used),
    )


def _terms(
    request: Request, model: MemoryModel, plan: _Plan, communication: Amount, context: Amount
) -> tuple[Term, ...]:
    """Each formula with its numbers, for `--explain`."""
    memory, layout, architecture = plan.memory, plan.layout, request.architecture
    ranks = request.tensor_parallel or 1

    def term(name: str, amount: Amount) -> Term:
        return Term(
            name=name,
            formula=amount.formula,
            numbers=amount.numbers,
            value=f"{GiB.of_bytes(amount.bytes):.2f}",
            source=amount.source,
        )

    scheme = request.quantization or (architecture.quantization.method if architecture.quantization else "none")
    graphs = " - CUDA graphs" if model.subtracts_graphs(request) else ""
    return (
        Term(
            name="weights",
            formula="sum over the inventory of parameters x bytes, by each tensor's split over the ranks",
            numbers=f"{architecture.parameters:,} parameters, quantization {scheme}, {ranks} ranks, "
            f"{request.pipeline_parallel or 1} stages",
            value=f"{memory.weights:.2f}",
            source="config.json; vLLM's model files for the splits",
        ),
        term("activation", plan.activation),
        term("communication", communication),
        term("context", context),
        term("cuda_graphs", plan.graphs),
        Term(
            name="kv_cache",
            formula=f"utilization x total - weights - activation - communication - context{graphs}",
            numbers=f"{request.gpu_memory_utilization:g} x {memory.total:.2f} - {memory.weights:.2f} - {memory.activation:.2f} - "
            f"{memory.communication:.2f} - {memory.context:.2f}" + (f" - {memory.cuda_graphs:.2f}" if graphs else ""),
            value=f"{memory.kv_cache:.2f}",
            source="vLLM: Worker.determine_available_memory",
        ),
        Term(
            name="kv_cache_tokens",
            formula="int(concurrency x context)"
            if model.tokens_by_concurrency(request)
            else "blocks // groups x tokens in a block",
            numbers=f"{plan.blocks} blocks of {layout.block_bytes} bytes, {len(layout.groups)} groups, "
            f"{layout.block_size} tokens in a block",
            value=str(_figures(request, model, layout, plan.blocks)["kv_cache_tokens"]),
            source="vLLM: vllm/v1/core/kv_cache_utils.py",
        ),
        Term(
            name="max_concurrency",
            formula="blocks / blocks that a request of the whole context takes",
            numbers=f"{plan.blocks} / {layout.blocks_of_request(request.context or 1)}",
            value=f"{layout.concurrency(plan.blocks, request.context or 1):.2f}",
            source="vLLM: get_max_concurrency_for_kv_cache_config",
        ),
    )

"""`slipway size`: does a model fit, with how much room, and what would make it fit."""

from __future__ import annotations

import codecs
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import msgspec

from cli.models import named_architecture
from slipway.catalog import Catalog, Gpu, load
from slipway.catalog.load import find, find_or_none
from slipway.sizing.compatibility import unsupported
from slipway.sizing.engines import MODELS
from slipway.sizing.engines.llama_cpp import size_gguf
from slipway.sizing.gguf import read_gguf, render
from slipway.sizing.gguf.result import GgufEngine, GgufRequest
from slipway.sizing.result import Breakdown, Request, Sizing, SizingError
from slipway.sizing.size import size
from slipway.sizing.suggest import suggestions
from slipway.units import GiB

_ON_GGUF: tuple[GgufEngine, ...] = get_args(GgufEngine)
"""Engines that are sized with a GGUF file, the usual one first."""
_TERM_BY_TERM = next(iter(MODELS))
"""The usual one of the others."""
_CPU_ROOM = GiB(4)
"""KV cache of a CPU engine where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line, as it came."""

    model: str
    tier: str | None
    gpu: str | None
    count: int | None
    context: int | None
    concurrency: int | None
    tokens: int | None
    quantization: str | None
    kv_cache_dtype: str
    dtype: str
    tensor_parallel: int | None
    pipeline_parallel: int | None
    utilization: float | None
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    engine: str | None
    engine_version: str | None
    catalog: Path | None


def answer(options: Options, *, as_json: bool, explain: bool) -> int:
    """Print the answer; 0 when it fits, 1 when it does not.

    Raises:
        SizingError, CatalogError: the question makes no sense.
    """
    catalog = load(options.catalog)
    engine = options.engine or (_ON_GGUF[0] if _is_gguf(options.model) else _TERM_BY_TERM)
    known = find_or_none(catalog.engines, engine)
    options = replace(options, engine=known.id if known else engine)
    if _is_gguf(options.model) and options.engine not in _ON_GGUF:
        raise SizingError(f"{options.model} is for engines that read GGUF files; use --engine {' or '.join(_ON_GGUF)}")
    if options.engine in _ON_GGUF:
        return _answer_gguf(options, catalog, as_json=as_json, explain=explain)
    request = _request(options, catalog)
    sizing = size(request)
    found = suggestions(sizing, catalog.gpus.values())
    if as_json:
        content = to_json(sizing, explain=explain)
        content["suggestions"] = [{"change": each.change, "effect": each.effect} for each in found]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(content)).decode() + "\n")
    else:
        _show(sizing, explain=explain)
        if found:
            print("\nWhat would make it fit, nearest first:")
            for each in found:
                print(f"  {each.change}  ({each.effect})")
    return 0 if sizing.fits else 1


def _is_gguf(model: str) -> bool:
    path = Path(model).expanduser()
    if path.is_dir():
        return not (path / "config.json").exists() and any(path.glob("*.gguf"))
    return model.endswith(".gguf")


def _answer_gguf(options: Options, catalog: Catalog, *, as_json: bool, explain: bool) -> int:
    if not _is_gguf(options.model):
        raise SizingError(
            f"{options.engine} reads GGUF files, and {options.model} is none; give a path that ends in .gguf"
        )
    if options.engine_version is not None:
        raise SizingError(f"{options.engine} is sized in one release only; leave --engine-version out")
    gpu, count, memory = _hardware(options, catalog)
    if options.tier is not None:
        memory = GiB(find(catalog.tiers, options.tier, "the tier").memory_gib)
    sizing = size_gguf(
        GgufRequest(
            model=read_gguf(Path(options.model)),
            engine=next(name for name in _ON_GGUF if name == options.engine),
            gpu=gpu,
            gpus=count if options.count is None else options.count,
            context=options.context,
            parallel=options.max_num_seqs or options.concurrency or 1,
            cache_type="f16" if options.kv_cache_dtype == "auto" else options.kv_cache_dtype,
            ubatch=options.max_num_batched_tokens,
            host_memory=memory,
        )
    )
    if as_json:
        content = msgspec.json.encode(render.to_json(sizing, explain=explain))
        sys.stdout.write(msgspec.json.format(content).decode() + "\n")
    else:
        print(render.to_text(sizing, explain=explain))
    return 0 if sizing.fits else 1


def batch(file: Path, catalog_file: Path | None) -> int:
    """One JSON line per line of `file`; 0 whatever the answers, since each line says its own."""
    from slipway.sizing.batch import answers

    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise SizingError(f"{file}: cannot be read: {error.strerror}") from error
    # Bytes, so that one line that is no text leaves the others be.
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    encode = msgspec.json.encode
    for each in answers(lines, load(catalog_file)):
        sys.stdout.write(encode(each).decode() + "\n")
    return 0


def to_json(sizing: Sizing, *, explain: bool = False) -> dict[str, Any]:
    """The answer as plain data; memory in GiB per GPU."""
    request, memory = sizing.request, sizing.memory
    content: dict[str, Any] = {
        "model": request.architecture.name,
        "parameters": request.architecture.parameters,
        "gpu": request.gpu.id if request.gpu else None,
        "count": request.count,
        "engine": request.engine,
        "engine_version": request.engine_version,
        "fits": sizing.fits,
        "errors": list(sizing.errors),
        "warnings": list(sizing.warnings),
        "notes": list(request.architecture.notes),
        "tensor_parallel": request.tensor_parallel,
        "pipeline_parallel": request.pipeline_parallel,
        "context": request.context,
        "memory_gib_per_gpu": None if memory is None else {name: round(value, 3) for name, value in _parts(memory)},
        "kv_bytes_per_token": sizing.kv_bytes_per_token,
        "kv_cache_tokens": sizing.kv_cache_tokens,
        "max_concurrency": round(sizing.max_concurrency, 2),
        "context_used": request.context_used,
        "concurrency_at_use": round(sizing.concurrency_at_use, 2),
        "flags": sizing.flags,
    }
    if explain:
        content["terms"] = [
            {"name": t.name, "formula": t.formula, "numbers": t.numbers, "value": t.value, "source": t.source}
            for t in sizing.terms
        ]
    return content


def _parts(memory: Breakdown) -> list[tuple[str, float]]:
    return [
        ("total", memory.total.value),
        ("requested", memory.requested.value),
        ("weights", memory.weights.value),
        ("kv_cache", memory.kv_cache.value),
        ("activation", memory.activation.value),
        ("cuda_graphs", memory.cuda_graphs.value),
        ("communication", memory.communication.value),
        ("context", memory.context.value),
        ("free", memory.free.value),
    ]


_MEANING = {
    "total": ("total", "what CUDA reports"),
    "requested": ("requested", "what the engine may take: total x utilization"),
    "weights": ("weights", "of the model, on the fullest GPU"),
    "kv_cache": ("KV cache", "what is left for requests"),
    "activation": ("activation peak", "of a forward pass and the sampler"),
    "cuda_graphs": ("CUDA graphs", "captured at the start"),
    "communication": ("communication", "buffers of NCCL and the all-reduce"),
    "context": ("context", "CUDA context and other memory outside PyTorch"),
    "free": ("free", "left over"),
}
"""What people read, and what it means."""


def _show(sizing: Sizing, *, explain: bool) -> None:
    request = sizing.request
    architecture = request.architecture
    where = f"{request.count} x {request.gpu.name}" if request.gpu else "CPU"
    print(f"{architecture.name}: {architecture.parameters / 1e9:.2f} B parameters, on {where}")
    spread = f"tensor parallel {request.tensor_parallel}, pipeline parallel {request.pipeline_parallel}"
    print(f"{request.engine} {request.engine_version}, {spread}, context {request.context:,} tokens\n")
    if sizing.memory is not None:
        print("GiB of each GPU")
        for name, value in _parts(sizing.memory):
            label, meaning = _MEANING[name]
            print(f"  {label:16}{value:8.2f}  {meaning}")
        print()
    if sizing.kv_bytes_per_token:
        per = "token and GPU" if request.gpu else "token"
        print(f"KV cache        {sizing.kv_cache_tokens:,} tokens, {sizing.kv_bytes_per_token:,} bytes per {per}")
        print(f"Concurrency     {sizing.max_concurrency:.2f} requests of {request.context:,} tokens at once")
        if request.context_used != request.context:
            print(
                f"                {sizing.concurrency_at_use:.2f} requests of {request.context_used:,} tokens at once"
            )
    if sizing.flags:
        print(
            "Flags           " + " ".join(f"--{name} {_value(value)}".rstrip() for name, value in sizing.flags.items())
        )
    for note in architecture.notes:
        print(f"Note            {note}")
    for warning in sizing.warnings:
        print(f"Warning         {warning}")
    print("\nIt fits." if sizing.fits else "\nIt does not fit: " + "\n  and ".join(sizing.errors))
    if explain:
        print("\nHow each figure comes about")
        for term in sizing.terms:
            print(f"  {term.name} = {term.value}\n    {term.formula}\n    {term.numbers}\n    source: {term.source}")


def _value(value: object) -> str:
    return "" if value is True else str(value)


def _request(options: Options, catalog: Catalog) -> Request:
    architecture = named_architecture(options.model, catalog)
    context = options.context or architecture.context
    if options.tokens is not None and options.tokens > context:
        raise SizingError(
            f"requests of {options.tokens} tokens do not go into a context of {context}; lower --tokens or raise --context"
        )
    gpu, count, memory = _hardware(options, catalog)
    if options.count is not None and 0 < options.count < (options.tensor_parallel or 1) * (
        options.pipeline_parallel or 1
    ):
        raise SizingError(
            f"--count is {options.count}, and tensor parallel {options.tensor_parallel or 1} x pipeline parallel "
            f"{options.pipeline_parallel or 1} takes more GPUs; leave --count out, or raise it"
        )
    if gpu is not None:
        refused = unsupported(architecture, options.quantization, gpu, catalog)
        if refused:
            raise SizingError(refused)
    return Request(
        architecture=architecture,
        gpu=gpu,
        count=count if options.count is None else options.count,
        tensor_parallel=options.tensor_parallel,
        pipeline_parallel=options.pipeline_parallel,
        context=options.context,
        context_used=options.tokens,
        concurrency=options.concurrency,
        dtype=options.dtype,
        quantization=options.quantization,
        kv_cache_dtype=options.kv_cache_dtype,
        gpu_memory_utilization=options.utilization,
        max_num_seqs=options.max_num_seqs,
        max_num_batched_tokens=options.max_num_batched_tokens,
        engine=options.engine or _TERM_BY_TERM,
        engine_version=options.engine_version,
        cpu_kv_cache=_room(memory) if gpu is None else None,
        host_memory=memory,
    )


def _room(memory: GiB | None) -> GiB:
    """On small hosts a quarter of the memory."""
    return _CPU_ROOM if memory is None else min(_CPU_ROOM, memory * 0.25)


def _hardware(options: Options, catalog: Catalog) -> tuple[Gpu | None, int, GiB | None]:
    """The GPU, how many of it one copy gets, and the memory of a host that has none."""
    if options.tier is not None and options.gpu is not None:
        raise SizingError("give --tier or --gpu, not both; they might contradict each other")
    if options.gpu is not None:
        return find(catalog.gpus, options.gpu, "the GPU"), 1, None
    if options.tier is None:
        raise SizingError("give --tier or --gpu; without hardware nothing can be sized (slipway tiers, slipway gpus)")
    tier = find(catalog.tiers, options.tier, "the tier")
    if tier.gpu is None:
        return None, 1, GiB(tier.memory_gib)
    return find(catalog.gpus, tier.gpu, "the GPU"), tier.gpus_per_host, None

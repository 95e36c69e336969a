"""The answer about a GGUF model as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slipway.sizing.gguf.result import Device, GgufSizing

_PARTS = {
    "weights": "of the model",
    "kv_cache": "of all slots",
    "compute": "buffers of a forward pass",
    "other": "what CUDA takes; on the host the program, outputs and saved prompts",
}
"""Of a device, and what each is."""


def to_json(sizing: GgufSizing, *, explain: bool = False) -> dict[str, Any]:
    """Plain data; memory in GiB."""
    request, model = sizing.request, sizing.request.model
    content: dict[str, Any] = {
        "model": model.name,
        "architecture": model.architecture,
        "quantization": model.quantization,
        "parameters": model.parameters,
        "chat_template": model.chat_template,
        "pooling": request.pooling,
        "engine": request.engine,
        "gpu": request.gpu.id if request.gpu else None,
        "count": request.gpus if request.gpu else 0,
        "fits": sizing.fits,
        "errors": list(sizing.errors),
        "warnings": list(sizing.warnings),
        "context": request.context,
        "trained_context": model.context,
        "parallel": request.parallel,
        "weights_gib": round(sizing.weights.value, 3),
        "kv_cache_gib": round(sizing.kv_cache.value, 3),
        "kv_cache_tokens": sizing.kv_cache_tokens,
        "kv_bytes_per_token": sizing.kv_bytes_per_token,
        "max_concurrency": sizing.max_concurrency,
        "devices": [_device(device) for device in (*sizing.gpus, sizing.host)],
        "flags": sizing.flags,
    }
    if explain:
        content["terms"] = [
            {"name": t.name, "formula": t.formula, "numbers": t.numbers, "value": t.value, "source": t.source}
            for t in sizing.terms
        ]
    return content


def to_text(sizing: GgufSizing, *, explain: bool = False) -> str:
    """Lines for a terminal."""
    return "\n".join(_lines(sizing, explain=explain))


def _lines(sizing: GgufSizing, *, explain: bool) -> Iterator[str]:
    request, model = sizing.request, sizing.request.model
    where = f"{request.gpus} x {request.gpu.name}" if request.gpu else "CPU"
    yield f"{model.name}: {model.architecture}, {model.parameters / 1e9:.2f} B parameters in {model.quantization}, on {where}"
    yield f"{request.engine}, {request.parallel} slot{'s' if request.parallel > 1 else ''} of {request.context:,} tokens\n"
    devices = (*sizing.gpus, sizing.host)
    yield "GiB" + " " * 13 + "".join(f"{device.name:>10}" for device in devices)
    for part, meaning in _PARTS.items():
        amounts = "".join(f"{getattr(device, part).value:>10.2f}" for device in devices)
        yield f"  {part.replace('kv_cache', 'KV cache'):14}{amounts}  {meaning}"
    yield "  needed        " + "".join(f"{device.used.value:>10.2f}" for device in devices)
    yield "  there         " + "".join(
        f"{'?' if device.total is None else f'{device.total.value:.2f}':>10}" for device in devices
    )
    yield ""
    if sizing.kv_cache_tokens:
        yield f"KV cache        {sizing.kv_cache_tokens:,} tokens, {sizing.kv_bytes_per_token:,} bytes per token"
    # Ollama's are variables and parameters, not flags.
    pairs = (
        (f"--{name}" if value is True else f"--{name} {value}") if request.engine == "llama_cpp" else f"{name}={value}"
        for name, value in sizing.flags.items()
    )
    yield "Flags           " + " ".join(pairs)
    for warning in sizing.warnings:
        yield f"Warning         {warning}"
    yield "\nIt fits." if sizing.fits else "\nIt does not fit: " + "\n  and ".join(sizing.errors)
    if explain:
        yield "\nHow each figure comes about"
        for term in sizing.terms:
            yield f"  {term.name} = {term.value}\n    {term.formula}\n    {term.numbers}\n    source: {term.source}"


def _device(device: Device) -> dict[str, Any]:
    return {
        "name": device.name,
        "total_gib": None if device.total is None else round(device.total.value, 3),
        **{f"{part}_gib": round(getattr(device, part).value, 3) for part in _PARTS},
        "used_gib": round(device.used.value, 3),
    }

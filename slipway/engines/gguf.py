"""How engines on llama.cpp count memory: the request that a plan makes of the sizing of GGUF files."""

from pathlib import Path

from slipway.deployment.types import Measured, Parallelism, Plan
from slipway.engines.base import Figures
from slipway.findings import Finding, Severity
from slipway.settings.models import Task
from slipway.sizing.engines.llama_cpp import size_gguf
from slipway.sizing.gguf.model import GgufModel, read_gguf
from slipway.sizing.gguf.result import GgufRequest, GgufSizing
from slipway.sizing.result import SizingError
from slipway.units import GiB


def measure_gguf(plan: Plan, gaps: tuple[Finding, ...], request: GgufRequest | None) -> Measured:
    """What one replica takes by `request`; None where the file is not on this machine."""
    gpus = Parallelism(tensor=max(1, plan.gpus))
    if request is None:
        elsewhere = Finding(
            id="sizing.not-checked",
            severity=Severity.NOTE,
            where=plan.at("source"),
            message="the file is not on this machine; whether the model fits was not checked: look at what the engine's log "
            "says, or give the file in source.path",
        )
        return Measured(parallelism=gpus, gaps=(*gaps, elsewhere))
    try:
        sizing = size_gguf(request)
    except SizingError as error:
        refused = Finding(id="sizing.refused", severity=Severity.ERROR, where=plan.at("engine"), message=str(error))
        return Measured(parallelism=gpus, gaps=(*gaps, refused))
    told = (
        *(("sizing.fit", Severity.ERROR, error) for error in sizing.errors),
        *(("sizing.warning", Severity.WARNING, warning) for warning in sizing.warnings),
    )
    found = tuple(Finding(id=kind, severity=weight, where=plan.at(), message=said) for kind, weight, said in told)
    return Measured(parallelism=gpus, figures=figures(plan, sizing), flags=sizing.flags, gaps=(*gaps, *found))


def local_file(plan: Plan) -> Path | None:
    """The GGUF file, or the first part of it, where it is on this machine."""
    path, name = plan.settings.source.path, plan.settings.source.gguf
    if path is None or name is None:
        return None
    file = path / name if path.is_dir() else path
    return file if file.is_file() else None


def pooling(plan: Plan, model: GgufModel, asked: str | None) -> str:
    """How an answer is made of a text's tokens: as asked, as the file says, else `mean`; empty for models that write."""
    if plan.settings.task is Task.EMBEDDING:
        return asked or model.pooling or "mean"
    return "rank" if plan.settings.task is Task.RERANK else ""


def base_request(plan: Plan) -> GgufRequest | None:
    """What follows from the plan alone; None where the file is not on this machine.

    Raises:
        SizingError: the file can't be read.
    """
    file = local_file(plan)
    if file is None:
        return None
    return GgufRequest(
        model=read_gguf(file),
        gpu=plan.gpu,
        gpus=max(1, plan.gpus),
        context=plan.settings.max_model_len,
        host_memory=None if plan.host_memory_gib is None else GiB(plan.host_memory_gib),
    )


def unreadable(plan: Plan, gaps: tuple[Finding, ...], error: SizingError) -> Measured:
    """What is known where the file can't be read: that the engine could not either."""
    finding = Finding(id="sizing.refused", severity=Severity.ERROR, where=plan.at("source"), message=str(error))
    return Measured(parallelism=Parallelism(tensor=max(1, plan.gpus)), gaps=(*gaps, finding))


def figures(plan: Plan, sizing: GgufSizing) -> Figures:
    """In the terms that are compared with the engine's log."""
    planned = sizing.plan()
    # The log has a line for each kind of cache, and only the first one is read back.
    one_cache = len(sizing.caches) == 1
    fullest = max(sizing.gpus, key=lambda device: device.used.value, default=None)
    return Figures(
        fits=sizing.fits,
        errors=sizing.errors,
        weights_gib=planned.get("weights_gib"),
        kv_cache_gib=planned.get("kv_cache_gib") if one_cache else None,
        kv_cache_tokens=sizing.kv_cache_tokens,
        max_concurrency=sizing.max_concurrency,
        host_gib=0 if plan.on_gpus else round(sizing.host.used.value, 2),
        gpu_gib=None if fullest is None else round(fullest.used.value, 2),
    )

"""What the checks look at: the settings with every name looked up, and the deployment that they ask for, computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from slipway.catalog import Catalog, CatalogError, Gpu, Model, load
from slipway.catalog.load import KINDS, find, find_or_none
from slipway.catalog.types import Entry
from slipway.checks.findings import Finding, Severity, key
from slipway.paths import ROOT
from slipway.performance.copies import is_mixture
from slipway.settings import Settings, SettingsError
from slipway.settings.engine import Build
from slipway.settings.errors import render
from slipway.sizing.architecture import Architecture
from slipway.sizing.config import read_config, read_folder
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size
from slipway.sizing.weights import weights_per_rank
from slipway.units import GiB

_Kind = TypeVar("_Kind", bound=Entry)

MEMORY_SHARE = 0.9
"""Of a tier's memory, what Linux must report: firmware and kernel keep some for themselves."""

UNCOUNTED = frozenset(
    {
        "cpu-offload-gb",
        "cpu-offload-params",
        "decode-context-parallel-size",
        "disable-hybrid-kv-cache-manager",
        "enable-lora",
        "hf-overrides",
        "language-model-only",
        "nnodes",
        "num-gpu-blocks-override",
        "offload-backend",
        "offload-group-size",
        "offload-params",
        "prefill-context-parallel-size",
        "quantization-config",
        "spec-method",
        "spec-model",
        "speculative-config",
    }
)
"""Flags that change what weights or KV cache take, and that the sizing does not count with."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One stack, as far as it is known without asking a host."""

    settings: Settings
    """With what the tier and the sizing say filled in; keys that were given are never changed."""
    catalog: Catalog
    gpu: Gpu | None
    """None on the CPU, and where it is not known."""
    model: Model | None
    """The model's entry in the catalogue."""
    architecture: Architecture | None
    sizing: Sizing | None
    """Of one copy of the model; None where `gaps` says why."""
    gaps: tuple[Finding, ...]
    """What could not be checked, and which setting would allow it."""


def catalog_of(settings: Settings, root: Path = ROOT) -> Catalog:
    """The catalogue with the entries of the user's file; `root` is the project's folder, from which its path counts."""
    return _ours() if settings.catalog is None else load(root / settings.catalog)


@cache
def _ours() -> Catalog:
    """Read once however many stacks are looked at."""
    return load()


def examine(settings: Settings, catalog: Catalog, source: str) -> Subject:
    """Look up what `settings` name, and compute the deployment.

    Args:
        settings: as parsed; secrets may be placeholders.
        catalog: from `catalog_of`.
        source: what errors name as the settings' origin.

    Raises:
        SettingsError: a name that the catalogue does not have, a catalogue file that can't be read, or settings that
            contradict what the tier says. One line each.
    """
    try:
        _read_whole(settings, catalog)
        settings = _with_tier(settings, catalog, source)
        gpu = _gpu(settings, catalog, source)
        model = _model(settings, catalog, source)
    except CatalogError as error:
        raise SettingsError(
            [f"{key('catalog')}: {error}; nothing could be looked up in it: mend the file"], source
        ) from None
    architecture, gaps = _architecture(settings, model)
    settings = _with_disk(settings, architecture)
    if settings.build is Build.CUDA and gpu is None:
        gaps = (*gaps, _gap("hardware.gpu", "is not given", "name the GPU there, or a tier in hardware.tier"))
    gaps = (*gaps, *_uncounted(settings), *_shared_experts(settings, architecture))
    sizing = None
    if not gaps and architecture is not None:
        sizing, gaps = _size(_request(settings, architecture, gpu))
    if sizing is not None:
        settings = _with_parallelism(settings, sizing)
    return Subject(
        settings=settings, catalog=catalog, gpu=gpu, model=model, architecture=architecture, sizing=sizing, gaps=gaps
    )


def _gap(path: str, what: str, mend: str) -> Finding:
    return Finding(
        id="sizing.not-checked",
        severity=Severity.WARNING,
        where=key(path),
        message=f"{what}; whether the model fits was not checked: {mend}",
    )


def _uncounted(settings: Settings) -> tuple[Finding, ...]:
    return tuple(
        _gap(
            f"engine.flags.{flag}",
            "changes what weights or KV cache take, and the sizing does not count with it",
            "look at what the engine's log says, or leave the flag out",
        )
        for flag in sorted(UNCOUNTED & settings.engine.flags.keys())
    )


def _shared_experts(settings: Settings, architecture: Architecture | None) -> tuple[Finding, ...]:
    """Data parallelism makes no copies of a mixture of experts (see `slipway.performance.copies`): nothing is computed then."""
    copies = settings.data_parallel
    if copies == 1 or settings.build is Build.CPU or architecture is None or not is_mixture(architecture):
        return ()
    return (
        _gap(
            "engine.data_parallel",
            f"{copies} with {architecture.name}, a mixture of experts: the engine spreads the experts over the GPUs of all "
            f"{copies} and waits for all of them in every step, and the sizing does not count with that",
            "remove it, so that one copy takes the GPUs, or look at what the engine's log says",
        ),
    )


def _read_whole(settings: Settings, catalog: Catalog) -> None:
    """All kinds of a user's own file, so that a mistake in it shows now and not in the middle of a rule."""
    if settings.catalog is not None:
        for kind in KINDS:
            getattr(catalog, kind)


def _find(entries: Mapping[str, _Kind], name: str, path: str, source: str) -> _Kind:
    try:
        return find(entries, name, f"{key(path)}:")
    except CatalogError as error:
        mend = f"correct it, or add an entry to the file that {key('catalog')} names"
        raise SettingsError([f"{error}; what fits could not be computed: {mend}"], source) from None


def _with_tier(settings: Settings, catalog: Catalog, source: str) -> Settings:
    hardware = settings.hardware
    if hardware.tier is None:
        return settings
    tier = _find(catalog.tiers, hardware.tier, "hardware.tier", source)
    given = {name: getattr(hardware, name) for name in hardware.model_fields_set}
    filled: dict[str, Any] = {
        "gpus": tier.gpus_per_host,
        "min_memory_gib": round(tier.memory_gib * MEMORY_SHARE),
    }
    if tier.gpu is not None and given.get("gpus") != 0:
        filled["gpu"] = tier.gpu
    document: dict[str, Any] = {name: getattr(settings, name) for name in settings.model_fields_set}
    document["hardware"] = filled | {name: value for name, value in given.items() if value is not None}
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise SettingsError(render(error, Settings), source) from None


def _with_disk(settings: Settings, architecture: Architecture | None) -> Settings:
    """Room for the model where Slipway copies it to a tier's hosts.

    Not a part of the tier's disk: most of that is mounted elsewhere, and what must be free is what Slipway writes.
    """
    hardware = settings.hardware
    there_already = settings.model.source.host_path is not None
    if hardware.tier is None or "min_disk_gib" in hardware.model_fields_set or there_already or architecture is None:
        return settings
    (weights,) = weights_per_rank(architecture, tensor_parallel=1)
    room = hardware.min_disk_gib + round(GiB.of_bytes(weights).value)
    return settings.model_copy(update={"hardware": hardware.model_copy(update={"min_disk_gib": room})})


def _gpu(settings: Settings, catalog: Catalog, source: str) -> Gpu | None:
    name = settings.hardware.gpu
    gpu = None if name is None else _find(catalog.gpus, name, "hardware.gpu", source)
    return gpu if settings.build is Build.CUDA else None


def _model(settings: Settings, catalog: Catalog, source: str) -> Model | None:
    if settings.model.catalog is not None:
        return _find(catalog.models, settings.model.catalog, "model.catalog", source)
    hub = settings.model.source.hub
    return None if hub is None else find_or_none(catalog.models, hub)


def _architecture(settings: Settings, model: Model | None) -> tuple[Architecture | None, tuple[Finding, ...]]:
    """Of the model's own config.json where it is on this machine and can be read, else of the catalogue's entry."""
    folder, hub = settings.model.source.path, settings.model.source.hub
    built_the_same = "give a model of the catalogue in model.catalog that is built the same"
    if folder is not None:
        if not (folder / "config.json").is_file():
            gap = _gap("model.source.path", f"{folder} holds no config.json", "put the model there first")
        else:
            try:
                return read_folder(folder), ()
            except SizingError as error:
                gap = _gap("model.source.path", str(error), built_the_same)
    elif hub is not None:
        gap = _gap("model.source.hub", f"{hub} is not in the catalogue", "give the same model's id in model.catalog")
    else:
        gap = _gap("model.catalog", "is not given", "give the catalogue's id of the model there")
    if model is None:
        return None, (gap,)
    try:
        return read_config(model.config, model.id), ()
    except SizingError as error:
        return None, (_gap("model.catalog", str(error), built_the_same),)


def _request(settings: Settings, architecture: Architecture, gpu: Gpu | None) -> Request:
    """Of one copy of the model: those of data parallelism are alike, and each has its own GPUs."""
    engine, flags = settings.engine, settings.engine.flags
    tensor, pipeline = engine.tensor_parallel, engine.pipeline_parallel
    on_gpu = gpu is not None
    block_size = flags.get("block-size")
    return Request(
        architecture=architecture,
        gpu=gpu,
        count=1
        if not on_gpu
        else tensor * (pipeline or 1)
        if tensor
        else settings.hardware.gpus // settings.data_parallel,
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        context=settings.model.max_model_len,
        dtype=engine.dtype,
        quantization=engine.quantization,
        kv_cache_dtype=engine.kv_cache_dtype or "auto",
        gpu_memory_utilization=engine.gpu_memory_utilization if on_gpu else None,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        max_num_seqs=engine.max_num_seqs,
        block_size=block_size if isinstance(block_size, int) else None,
        enforce_eager=flags.get("enforce-eager") is True,
        engine=engine.name,
        cpu_kv_cache=None if on_gpu else GiB(engine.cpu_kv_cache_gib),
        # Without a tier it is only known what the host has at least.
        host_memory=None if on_gpu or settings.hardware.tier is None else GiB(settings.hardware.min_memory_gib),
    )


def _size(request: Request) -> tuple[Sizing | None, tuple[Finding, ...]]:
    try:
        return size(request), ()
    except SizingError as error:
        return None, (Finding(id="sizing.refused", severity=Severity.ERROR, where=key("engine"), message=str(error)),)


def _with_parallelism(settings: Settings, sizing: Sizing) -> Settings:
    """The split that the sizing chose, where the settings leave it open."""
    if settings.build is Build.CPU:
        return settings
    chosen = {"tensor_parallel": sizing.request.tensor_parallel, "pipeline_parallel": sizing.request.pipeline_parallel}
    filled = {name: value for name, value in chosen.items() if getattr(settings.engine, name) is None and value}
    return settings.model_copy(update={"engine": settings.engine.model_copy(update=filled)})

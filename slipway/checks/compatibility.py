"""Whether engine, GPU, driver and number formats go together."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import yaml

from slipway.catalog import Quantization
from slipway.catalog.load import find_or_none
from slipway.checks.findings import Finding, Severity, key
from slipway.checks.names import names
from slipway.checks.subject import Subject
from slipway.engines import adapter
from slipway.settings.engine import Build
from slipway.sizing.compatibility import unsupported

TABLE = Path(__file__).parent / "data" / "compatibility.yaml"

BFLOAT16_CAPABILITY = 8.0
"""NVIDIA's first with bfloat16 (Ampere); vLLM refuses `--dtype bfloat16` below it."""


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one release of an engine was built with."""

    engine: str
    release: str
    torch: str
    cuda: str
    min_capability: float
    source: str
    date: str


class Driver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The oldest NVIDIA driver for programs of one major version of CUDA."""

    cuda_major: int
    driver: str
    source: str
    date: str


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """data/compatibility.yaml."""

    releases: tuple[Release, ...]
    drivers: tuple[Driver, ...]


@cache
def table() -> Table:
    """The whole table, read once."""
    return msgspec.convert(yaml.safe_load(TABLE.read_text(encoding="utf-8")), Table)


@dataclass(frozen=True)
class Needs:
    """What the engine's release needs of a GPU host."""

    cuda: str
    driver: str
    capability: float


def needs(engine: str, release: str) -> Needs | None:
    """Of this release; None where the table does not have it."""
    found = next((row for row in table().releases if (row.engine, row.release) == (engine, release)), None)
    if found is None:
        return None
    major = int(found.cuda.split(".", maxsplit=1)[0])
    driver = next(row.driver for row in table().drivers if row.cuda_major == major)
    return Needs(found.cuda, driver, found.min_capability)


def vendor(subject: Subject) -> Iterator[Finding]:
    """The engine's build is one for NVIDIA."""
    gpu = subject.gpu
    if gpu is not None and gpu.vendor != "nvidia":
        yield Finding(
            id="compatibility.vendor",
            severity=Severity.ERROR,
            where=key("hardware.gpu"),
            message=f"{gpu.name} is no NVIDIA GPU; the engine's build is for CUDA and would not start: "
            "use NVIDIA GPUs, or engine.build: cpu",
        )


def driver(subject: Subject) -> Iterator[Finding]:
    """The engine's CUDA, the GPU that it has no kernels for, and the driver that it needs on every host."""
    settings = subject.settings
    if settings.build is not Build.CUDA:
        return
    release = adapter(settings.engine.name).release
    engine = f"{settings.engine.name} {release}"
    need = needs(settings.engine.name, release)
    if need is None:
        yield Finding(
            id="compatibility.unknown",
            severity=Severity.NOTE,
            where=key("engine.name"),
            message=f"which driver {engine} needs is not known here; a driver that is too old shows only when the engine "
            "starts: look at the release's notes",
        )
        return
    gpu = subject.gpu
    has = None if gpu is None else gpu.nvidia_capability
    if gpu is not None and has is not None and has < need.capability:
        yield Finding(
            id="compatibility.capability",
            severity=Severity.ERROR,
            where=key("hardware.gpu"),
            message=f"{gpu.name} has compute capability {has}, and {engine} is built for {need.capability} and later; "
            "the engine would not start: use a newer GPU",
        )
    yield Finding(
        id="compatibility.driver",
        severity=Severity.NOTE,
        where=key("hardware.gpus"),
        message=f"{engine} is built with CUDA {need.cuda}; with a driver older than {need.driver} it would not start: "
        "look at nvidia-smi on each host",
    )


def dtype(subject: Subject) -> Iterator[Finding]:
    """Formats of weights and activations that the GPU does not have."""
    gpu, wanted = subject.gpu, subject.settings.engine.dtype
    has = None if gpu is None else gpu.nvidia_capability
    if gpu is None or has is None or has >= BFLOAT16_CAPABILITY:
        return
    where = key("engine.dtype")
    what = f"{gpu.name} (compute capability {has}) has no bfloat16"
    if wanted == "bfloat16":
        yield Finding(
            id="compatibility.dtype",
            severity=Severity.ERROR,
            where=where,
            message=f"{what}; the engine would not start: use float16",
        )
    elif wanted == "auto" and subject.architecture is not None and subject.architecture.dtype == "bfloat16":
        yield Finding(
            id="compatibility.dtype",
            severity=Severity.WARNING,
            where=where,
            message=f"{what}, and the model was made in it; the engine falls back to float16, in which large values "
            "overflow: set float16 if that is known to work for this model, or use a newer GPU",
        )


def quantization(subject: Subject) -> Iterator[Finding]:
    """Whether the engine has kernels for the checkpoint's quantization, or the one asked for, on this hardware."""
    asked = subject.settings.engine.quantization
    own = None if subject.architecture is None else subject.architecture.quantization
    stored = None if own is None else own.method
    if asked is not None:
        yield from _asked(subject, asked, stored)
    yield from _unknown_to_engine(subject, asked, stored)
    if subject.settings.build is Build.CPU:
        yield from _on_cpu(subject, asked, stored)
    elif subject.gpu is not None and subject.architecture is not None:
        reason = unsupported(subject.architecture, asked, subject.gpu, subject.catalog)
        if reason is not None:
            yield _no_kernels(reason, asked)


def _asked(subject: Subject, asked: str, stored: str | None) -> Iterator[Finding]:
    where = key("engine.quantization")
    known = _quantization(subject, asked)
    if known is None:
        yield Finding(
            id="compatibility.quantization-unknown",
            severity=Severity.WARNING,
            where=where,
            message=f"{asked!r} is not in the catalogue; whether this hardware runs it was not checked: use one of "
            f"{_at_run_time(subject)}, or add an entry to the file that {key('catalog')} names",
        )
    elif stored is not None and known.at_run_time and known.id != stored:
        yield Finding(
            id="compatibility.quantization-twice",
            severity=Severity.ERROR,
            where=where,
            message=f"{asked} is asked for, and the checkpoint is stored as {stored}; the engine would not start: "
            "remove this key, the checkpoint says itself what it is",
        )
    elif stored is None and not known.at_run_time and subject.architecture is not None:
        yield Finding(
            id="compatibility.quantization-stored",
            severity=Severity.ERROR,
            where=where,
            message=f"{asked} is made beforehand, and the checkpoint has {subject.architecture.dtype} weights; the engine "
            f"would not start: serve a checkpoint that is stored as {asked}, or use fp8",
        )


def _unknown_to_engine(subject: Subject, asked: str | None, stored: str | None) -> Iterator[Finding]:
    """Names that the engine's release does not take, be they the catalogue's or another release's."""
    engine = subject.settings.engine.name
    has, method = names(engine), asked or stored
    if has is None or method is None or method in has.quantizations:
        return
    entry = _quantization(subject, method)
    same = None if entry is None else _engines_name(engine, entry)
    what = f"{engine} {has.release} has no quantization {method!r}"
    if asked is not None:
        yield Finding(
            id="compatibility.quantization-engine",
            severity=Severity.ERROR,
            where=key("engine.quantization"),
            message=f"{what}; the engine would not start: use {same or 'one of ' + _at_run_time(subject)}",
        )
    else:
        # A warning: the engine may recognize a checkpoint by more than its method's name.
        yield Finding(
            id="compatibility.quantization-engine",
            severity=Severity.WARNING,
            where=key("model.source"),
            message=f"{what}, in which the checkpoint is stored; the engine may refuse to start: serve another checkpoint "
            "of the model",
        )


def _at_run_time(subject: Subject) -> str:
    """The quantizations that the engine makes itself, as it calls them."""
    engine = subject.settings.engine.name
    entries = subject.catalog.quantizations.values()
    return ", ".join(sorted(filter(None, (_engines_name(engine, entry) for entry in entries if entry.at_run_time))))


def _engines_name(engine: str, entry: Quantization) -> str | None:
    has = names(engine)
    called = [entry.id, *entry.aliases]
    return called[0] if has is None else next((name for name in called if name in has.quantizations), None)


def _on_cpu(subject: Subject, asked: str | None, stored: str | None) -> Iterator[Finding]:
    name = asked or stored
    entry = None if name is None else _quantization(subject, name)
    if entry is not None and not entry.cpu:
        reason = (
            f"{entry.name} has no kernels for the CPU; the engine would not start: use a 16-bit checkpoint, or GPUs"
        )
        yield _no_kernels(reason, asked)


def _no_kernels(reason: str, asked: str | None) -> Finding:
    return Finding(
        id="compatibility.quantization",
        severity=Severity.ERROR,
        where=key("model.source" if asked is None else "engine.quantization"),
        message=reason,
    )


def _quantization(subject: Subject, method: str) -> Quantization | None:
    return find_or_none(subject.catalog.quantizations, method)

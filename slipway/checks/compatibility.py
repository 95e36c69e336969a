"""Whether engine, GPU and number formats go together. The driver is `slipway.checks.drivers`' matter."""

from collections.abc import Iterator

from slipway.catalog import Quantization
from slipway.catalog.load import find_or_none
from slipway.deployment.types import Served
from slipway.engines.names import names, names_of
from slipway.engines.releases import needs, releases
from slipway.findings import Finding, Severity
from slipway.settings.errors import place
from slipway.sizing.compatibility import unsupported

BFLOAT16_CAPABILITY = 8.0
"""NVIDIA's first with bfloat16 (Ampere); vLLM refuses `--dtype bfloat16` below it."""


def vendor(served: Served) -> Iterator[Finding]:
    """The engine's build is one for NVIDIA."""
    gpu = served.gpu
    if gpu is not None and gpu.vendor != "nvidia" and releases(served.settings.engine.engine):
        yield Finding(
            id="compatibility.vendor",
            severity=Severity.ERROR,
            where=place("pools", served.pool, "gpu"),
            message=f"{gpu.name} is no NVIDIA GPU; the engine's build is for CUDA and would not start: "
            "use NVIDIA GPUs, or gpus: 0 for the CPU",
        )


def release(served: Served) -> Iterator[Finding]:
    """What the engine's release is known to need, and the GPU that it has no kernels for."""
    if not served.on_gpus:
        return
    # Of what runs: a program that the stack brings is of another release than the adapter's, or nobody knows of which.
    name, version = served.settings.engine.engine, served.program.release
    brought = not version and getattr(served.settings.engine, "program", None) is not None
    engine = f"the stack's own {name}" if brought else f"{name} {version}".rstrip()
    need = needs(name, version)
    if need is None:
        yield Finding(
            id="compatibility.unknown",
            severity=Severity.NOTE,
            where=served.at("engine.program" if brought else "engine.name"),
            message=f"which driver {engine} needs is not known here, and was not checked; a driver that is too old shows only "
            "when the engine starts: look at the release's notes",
        )
        return
    gpu = served.gpu
    has = None if gpu is None else gpu.nvidia_capability
    if gpu is not None and has is not None and has < need.capability:
        yield Finding(
            id="compatibility.capability",
            severity=Severity.ERROR,
            where=place("pools", served.pool, "gpu"),
            message=f"{gpu.name} has compute capability {has}, and {engine} is built for {need.capability} and later; "
            "the engine would not start: use a newer GPU",
        )


def dtype(served: Served) -> Iterator[Finding]:
    """Formats of weights and activations that the GPU does not have."""
    gpu, wanted = served.gpu, getattr(served.settings.engine, "dtype", None)
    has = None if gpu is None else gpu.nvidia_capability
    if gpu is None or has is None or has >= BFLOAT16_CAPABILITY:
        return
    where = served.at("engine.dtype")
    what = f"{gpu.name} (compute capability {has}) has no bfloat16"
    if wanted == "bfloat16":
        yield Finding(
            id="compatibility.dtype",
            severity=Severity.ERROR,
            where=where,
            message=f"{what}; the engine would not start: use float16",
        )
    elif wanted == "auto" and served.architecture is not None and served.architecture.dtype == "bfloat16":
        yield Finding(
            id="compatibility.dtype",
            severity=Severity.WARNING,
            where=where,
            message=f"{what}, and the model was made in it; the engine falls back to float16, in which large values "
            "overflow: set float16 if that is known to work for this model, or use a newer GPU",
        )


def quantization(served: Served) -> Iterator[Finding]:
    """Whether the engine has kernels for the checkpoint's quantization, or the one asked for, on this hardware."""
    asked = getattr(served.settings.engine, "quantization", None)
    own = None if served.architecture is None else served.architecture.quantization
    stored = None if own is None else own.method
    if asked is not None:
        yield from _asked(served, asked, stored)
    yield from _unknown_to_engine(served, asked, stored)
    if not served.on_gpus:
        yield from _on_cpu(served, asked, stored)
    elif served.gpu is not None and served.architecture is not None:
        reason = unsupported(served.architecture, asked, served.gpu, served.catalog)
        if reason is not None:
            yield _no_kernels(served, reason, asked)


def _asked(served: Served, asked: str, stored: str | None) -> Iterator[Finding]:
    where = served.at("engine.quantization")
    known = _quantization(served, asked)
    if known is None:
        yield Finding(
            id="compatibility.quantization-unknown",
            severity=Severity.WARNING,
            where=where,
            message=f"{asked!r} is not in the catalogue; whether this hardware runs it was not checked: use one of "
            f"{_at_run_time(served)}, or add an entry to the file that {place('catalog')} names",
        )
    elif stored is not None and known.at_run_time and known.id != stored:
        yield Finding(
            id="compatibility.quantization-twice",
            severity=Severity.ERROR,
            where=where,
            message=f"{asked} is asked for, and the checkpoint is stored as {stored}; the engine would not start: "
            "remove this key, the checkpoint says itself what it is",
        )
    elif stored is None and not known.at_run_time and served.architecture is not None:
        yield Finding(
            id="compatibility.quantization-stored",
            severity=Severity.ERROR,
            where=where,
            message=f"{asked} is made beforehand, and the checkpoint has {served.architecture.dtype} weights; the engine "
            f"would not start: serve a checkpoint that is stored as {asked}, or use fp8",
        )


def _unknown_to_engine(served: Served, asked: str | None, stored: str | None) -> Iterator[Finding]:
    """Names that the engine's release does not take, be they the catalogue's or another release's."""
    engine = served.settings.engine.engine
    has, method = names_of(served), asked or stored
    if has is None or method is None or method in has.quantizations:
        return
    entry = _quantization(served, method)
    same = None if entry is None else _engines_name(engine, entry)
    what = f"{engine} {has.release} has no quantization {method!r}"
    if asked is not None:
        yield Finding(
            id="compatibility.quantization-engine",
            severity=Severity.ERROR,
            where=served.at("engine.quantization"),
            message=f"{what}; the engine would not start: use {same or 'one of ' + _at_run_time(served)}",
        )
    else:
        # A warning: the engine may recognize a checkpoint by more than its method's name.
        yield Finding(
            id="compatibility.quantization-engine",
            severity=Severity.WARNING,
            where=served.at("source"),
            message=f"{what}, in which the checkpoint is stored; the engine may refuse to start: serve another checkpoint "
            "of the model",
        )


def _at_run_time(served: Served) -> str:
    """The quantizations that the engine makes itself, as it calls them."""
    engine = served.settings.engine.engine
    entries = served.catalog.quantizations.values()
    return ", ".join(sorted(filter(None, (_engines_name(engine, entry) for entry in entries if entry.at_run_time))))


def _engines_name(engine: str, entry: Quantization) -> str | None:
    has = names(engine)
    called = [entry.id, *entry.aliases]
    return called[0] if has is None else next((name for name in called if name in has.quantizations), None)


def _on_cpu(served: Served, asked: str | None, stored: str | None) -> Iterator[Finding]:
    name = asked or stored
    entry = None if name is None else _quantization(served, name)
    if entry is not None and not entry.cpu:
        reason = (
            f"{entry.name} has no kernels for the CPU; the engine would not start: use a 16-bit checkpoint, or GPUs"
        )
        yield _no_kernels(served, reason, asked)


def _no_kernels(served: Served, reason: str, asked: str | None) -> Finding:
    return Finding(
        id="compatibility.quantization",
        severity=Severity.ERROR,
        where=served.at("source" if asked is None else "engine.quantization"),
        message=reason,
    )


def _quantization(served: Served, method: str) -> Quantization | None:
    return find_or_none(served.catalog.quantizations, method)

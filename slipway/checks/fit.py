"""What the sizing says of the deployment."""

from collections.abc import Iterator

from slipway.checks.findings import Finding, Severity, key
from slipway.checks.subject import Subject
from slipway.settings.engine import Build
from slipway.sizing.parallel import GPUS_OF_A_HOST
from slipway.sizing.result import Sizing
from slipway.sizing.size import size
from slipway.sizing.suggest import suggestions

SUGGESTIONS = 3
"""Changes that make it fit, in one line."""
NOTHING_FITS = "use more or larger GPUs, or a smaller or quantized model"
"""The mend where no single change was found."""
MORE_ROOM = "raise engine.cpu_kv_cache_gib, or lower model.max_model_len"
"""The same on the CPU, where the room is given."""

_KEYS = {
    "tensor parallel": "engine.tensor_parallel",
    "pipeline parallel": "engine.pipeline_parallel",
    "gpu_memory_utilization": "engine.gpu_memory_utilization",
    "of context": "model.max_model_len",
    "a context of": "model.max_model_len",
}
"""Words of the sizing's messages, with the setting that they speak of; the others speak of the model on this hardware."""


def gaps(subject: Subject) -> Iterator[Finding]:
    """What could not be computed, and why."""
    yield from subject.gaps


def fits(subject: Subject) -> Iterator[Finding]:
    """Why the engine would not start, with the nearest change that lets it, and what the sizing warns of."""
    sizing = subject.sizing
    if sizing is None:
        return
    most = max(GPUS_OF_A_HOST, subject.settings.hardware.gpus)
    tried = suggestions(sizing, subject.catalog.gpus.values() if sizing.request.gpu else ())
    copies = subject.settings.data_parallel
    which = " for each copy" if copies > 1 else ""
    possible = [f"{each.change}{which} ({each.effect})" for each in tried if each.request.count * copies <= most]
    mends = "; ".join([*_fewer_copies(subject, sizing), *possible][:SUGGESTIONS]) or _no_change(sizing)
    for error in sizing.errors:
        yield Finding(
            id="sizing.fit",
            severity=Severity.ERROR,
            where=_where(error),
            message=f"{error}; what would do: {mends}" if mends else error,
        )
    for warning in sizing.warnings:
        yield Finding(id="sizing.warning", severity=Severity.WARNING, where=_where(warning), message=warning)


def _fewer_copies(subject: Subject, sizing: Sizing) -> Iterator[str]:
    """The most copies that fit, where those that are asked for do not: each has more GPUs then."""
    gpus, copies = subject.settings.hardware.gpus, subject.settings.data_parallel
    if sizing.fits:
        return
    for fewer in range(copies - 1, 0, -1):
        if gpus % fewer == 0:
            answer = size(sizing.request.but(count=gpus // fewer, tensor_parallel=gpus // fewer, pipeline_parallel=1))
            if answer.fits:
                yield (
                    f"data_parallel: {fewer}, tensor_parallel: {gpus // fewer} ({answer.kv_cache_tokens:,} KV tokens, "
                    f"{answer.max_concurrency:.1f} requests of the whole context at once in each copy)"
                )
                return


def _no_change(sizing: Sizing) -> str:
    """What to do where no single change helps; empty where it is not for want of memory: then the error itself says it."""
    if sizing.memory is not None:
        return NOTHING_FITS
    return MORE_ROOM if sizing.request.gpu is None and sizing.kv_bytes_per_token else ""


def _where(text: str) -> str:
    lowered = text.casefold()
    return key(next((path for word, path in _KEYS.items() if word in lowered), "model"))


def idle_gpus(subject: Subject) -> Iterator[Finding]:
    """GPUs that the hosts have and the engine does not use."""
    settings = subject.settings
    used = settings.tensor_parallel * settings.pipeline_parallel * settings.data_parallel
    idle = settings.hardware.gpus - used
    if settings.build is Build.CUDA and idle > 0:
        yield Finding(
            id="sizing.idle-gpus",
            severity=Severity.WARNING,
            where=key("engine.tensor_parallel"),
            message=f"{settings.tensor_parallel} x pipeline_parallel {settings.pipeline_parallel} x data_parallel "
            f"{settings.data_parallel} uses {used} of {settings.hardware.gpus} GPUs; {idle} would be idle on every host: raise "
            "one of them, or lower hardware.gpus",
        )


def concurrency(subject: Subject) -> Iterator[Finding]:
    """More requests at once than the KV cache holds completions of the length that clients are told."""
    sizing, settings = subject.sizing, subject.settings
    if sizing is None or not sizing.fits:
        return
    wanted, tokens = settings.engine.max_num_seqs, settings.model.output_tokens
    room = sizing.kv_cache_tokens // tokens
    each = " in each copy" if settings.data_parallel > 1 else ""
    if room < wanted:
        yield Finding(
            id="sizing.concurrency",
            # The default is generous on purpose; only what somebody asked for can disappoint.
            severity=Severity.WARNING if "max_num_seqs" in settings.engine.model_fields_set else Severity.NOTE,
            where=key("engine.max_num_seqs"),
            message=f"{wanted} requests at once{each}, while the KV cache of {sizing.kv_cache_tokens:,} tokens holds {room} "
            f"of the {tokens:,} tokens that clients may ask for; beyond that the engine interrupts requests and computes them "
            f"anew: use {max(1, room)}, or less model.max_output_tokens",
        )

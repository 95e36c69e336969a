"""What the sizing says of the deployment."""

from collections.abc import Iterator

from slipway.deployment.types import Served
from slipway.findings import Finding, Severity
from slipway.settings.errors import place
from slipway.sizing.parallel import GPUS_OF_A_HOST
from slipway.sizing.result import Request, Sizing
from slipway.sizing.size import size
from slipway.sizing.suggest import suggestions

FAST_GBIT_S = 400
"""Of a host: one port of InfiniBand NDR, as clusters for tensor parallelism over hosts have at least. What vLLM's documentation
(Parallelism and scaling) asks for is "high-speed network adapters such as InfiniBand"."""
SUGGESTIONS = 3
"""Changes that make it fit, in one line."""
NOTHING_FITS = "use more or larger GPUs, or a smaller or quantized model"
"""The mend where no single change was found."""
MORE_ROOM = "raise engine.cpu_kv_cache_gib, or lower max_model_len"
"""The same on the CPU, where the room is given."""

_KEYS = {
    "tensor parallel": "engine.tensor_parallel",
    "pipeline parallel": "engine.pipeline_parallel",
    "gpu_memory_utilization": "engine.gpu_memory_utilization",
    "of context": "max_model_len",
    "a context of": "max_model_len",
}
"""Words of the sizing's messages, with the setting that they speak of; the others speak of the model on this hardware."""


def gaps(served: Served) -> Iterator[Finding]:
    """What could not be computed, and why."""
    yield from served.measured.gaps


def fits(served: Served) -> Iterator[Finding]:
    """Why the engine would not start, with the nearest change that lets it, and what the sizing warns of."""
    sizing = served.measured.sizing
    if sizing is None:
        return
    tried = suggestions(sizing, served.catalog.gpus.values() if sizing.request.gpu else ())
    copies = served.parallelism.data
    which = " for each copy" if copies > 1 else ""
    possible = [f"{each.change}{which} ({each.effect})" for each in tried if _to_be_had(served, each.request)]
    mends = "; ".join([*_fewer_copies(served, sizing), *possible][:SUGGESTIONS]) or _no_change(sizing)
    for error in sizing.errors:
        yield Finding(
            id="sizing.fit",
            severity=Severity.ERROR,
            where=_where(served, error),
            message=f"{error}; what would do: {mends}" if mends else error,
        )
    for warning in sizing.warnings:
        yield Finding(id="sizing.warning", severity=Severity.WARNING, where=_where(served, warning), message=warning)


def _to_be_had(served: Served, request: Request) -> bool:
    """Whether the pool, or one like it, has the GPUs of a change."""
    if request.hosts > served.hosts:
        each = request.count // request.hosts
        spans, copies = served.settings.engine.SPANS, served.parallelism.data
        return spans and copies == 1 and request.hosts <= served.machines and each <= served.machine_gpus
    return request.count * served.parallelism.data <= max(GPUS_OF_A_HOST, served.gpus)


def _fewer_copies(served: Served, sizing: Sizing) -> Iterator[str]:
    """The most copies that fit, where those that are asked for do not: each has more GPUs then."""
    gpus, copies = served.gpus, served.parallelism.data
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


def _where(served: Served, text: str) -> str:
    lowered = text.casefold()
    return served.at(next((path for word, path in _KEYS.items() if word in lowered), ""))


def idle_gpus(served: Served) -> Iterator[Finding]:
    """GPUs that a replica is given and does not use."""
    parallel = served.parallelism
    idle = served.gpus - parallel.ranks
    if not served.on_gpus or idle <= 0:
        return
    used = f"{parallel.ranks} of {served.gpus} GPUs; {idle} would be idle in every replica"
    if "tensor_parallel" in type(served.settings.engine).model_fields:
        where = "engine.tensor_parallel"
        message = (
            f"{parallel.tensor} x pipeline_parallel {parallel.pipeline} x data_parallel {parallel.data} uses {used}: "
            "raise one of them, or lower gpus"
        )
    else:
        where, message = "gpus", f"{served.settings.engine.engine} uses {used}: use {parallel.ranks}"
    yield Finding(id="sizing.idle-gpus", severity=Severity.WARNING, where=served.at(where), message=message)


def over_hosts(served: Served) -> Iterator[Finding]:
    """Each layer over several machines, which send one another sums in every one of them."""
    tensor, each = served.parallelism.tensor, served.gpus_of_a_host
    if served.hosts == 1 or not served.on_gpus or tensor <= each or served.network_gbit_s >= FAST_GBIT_S:
        return
    yield Finding(
        id="sizing.over-hosts",
        severity=Severity.WARNING,
        where=served.at("engine.tensor_parallel"),
        message=f"{tensor}, while each host has {each} of the replica's GPUs: the hosts wait for one another in every layer, and "
        "nothing says that a network for it is there (InfiniBand, RoCE, EFA); over a usual one tokens come many times slower: "
        f"use tensor_parallel: {each} and pipeline_parallel: {served.gpus // each}, or name the adapters in "
        f"{place('pools', served.pool, 'network', 'adapters')}",
    )


def concurrency(served: Served) -> Iterator[Finding]:
    """More requests at once than the KV cache holds completions of the length that clients are told."""
    sizing, settings = served.measured.sizing, served.settings
    if sizing is None or not sizing.fits or not settings.task.generates:
        return
    wanted, tokens = settings.engine.slots, settings.output_tokens
    room = sizing.kv_cache_tokens // tokens
    each = " in each copy" if served.parallelism.data > 1 else ""
    if room < wanted:
        yield Finding(
            id="sizing.concurrency",
            # The default is generous on purpose; only what somebody asked for can disappoint.
            severity=Severity.WARNING if settings.engine.slots_given else Severity.NOTE,
            where=served.at(f"engine.{settings.engine.SLOTS}"),
            message=f"{wanted} requests at once{each}, while the KV cache of {sizing.kv_cache_tokens:,} tokens holds {room} "
            f"of the {tokens:,} tokens that clients may ask for; beyond that the engine interrupts requests and computes them "
            f"anew: use {max(1, room)}, or less max_output_tokens",
        )

"""Work out what a stack is to say: the copies of the model on each host, with the knobs that the sizing says.

Without a plan a host has one copy over all its GPUs; only a plan's load says whether several smaller ones carry more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from slipway.catalog import Catalog, Gpu, Model, Tier
from slipway.catalog.load import find, find_or_none
from slipway.deployment.machines import usable_gib
from slipway.performance.plan_types import Load, Option
from slipway.scaffold.errors import InitError
from slipway.sizing.architecture import Architecture
from slipway.sizing.compatibility import unsupported
from slipway.sizing.config import read_config
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size
from slipway.sizing.weights import weights_per_rank
from slipway.units import GiB

CONTEXTS = (32768, 16384, 8192, 4096, 2048, 1024)
"""Context windows to choose from, in tokens; a longer one is the owner's to ask for, since it costs room for requests."""
ROOMY = 8
"""Requests of the whole context that there is to be room for; where no context has it, one request is enough."""
MOST_SEQS = 256
"""Requests at once where there is room: the settings' own default."""
CPU_SEQS = 16
"""On a CPU, which shares its arithmetic among all who ask."""
CPU_KV_GIB = 4
"""KV cache on a CPU where the host has the memory."""
_OUTPUT_SHARE = 4
"""Settings: the longest completion is a quarter of the context where nothing is said."""
_SLOW_GB_S = 0.1
_START_S = 1200
_DEFAULT_START_S = 1800
"""Settings: engine.start_timeout_s."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Every host's."""

    tier: Tier | None
    """None for hosts of no tier: then the file names the GPU and how many."""
    gpu: Gpu | None
    """None on the CPU."""
    gpus: int
    memory_gib: float | None
    """Of the host, where it is known."""

    @property
    def usable_gib(self) -> int:
        """What preflight demands of it: firmware and kernel keep some."""
        return usable_gib(self.memory_gib or 0)

    @property
    def told(self) -> str:
        """In words."""
        return "no GPU" if self.gpu is None else f"{self.gpus} x {self.gpu.name}"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a plan adds to it."""

    option: Option
    load: Load
    requests_per_minute: int
    """That each team may have, so that all together stay within the plan's capacity."""

    @property
    def at_once(self) -> int:
        """Requests of one copy with which the plan's targets hold."""
        return max(1, self.option.concurrency // self.option.replicas)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """All that a stack's file is to say beside access."""

    model: Model
    hardware: Hardware
    hosts: int
    """At the least."""
    sizing: Sizing
    """Of one copy of the model; its request has every knob."""
    copies: int
    """Of the model on each host."""
    output_tokens: int | None
    """Longest completion; None leaves it to the settings."""
    start_timeout_s: int | None
    weights_gb: float
    """10^9 bytes, all GPUs of a copy together."""
    planned: Planned | None = None

    @property
    def cpu_kv_cache_gib(self) -> int | None:
        """Whole GiB; None on GPUs."""
        room = self.sizing.request.cpu_kv_cache
        return None if room is None else int(room.value)

    @property
    def room(self) -> int:
        """Completions of the longest kind that the KV cache holds."""
        return self.sizing.kv_cache_tokens // longest(self.sizing.request.context or 1, self.output_tokens)


def longest(context: int, output_tokens: int | None) -> int:
    """The longest completion in tokens, as the settings have it."""
    return output_tokens or max(1, context // _OUTPUT_SHARE)


def for_tier(model_name: str, tier_name: str, catalog: Catalog) -> Draft:
    """The model on hosts of a tier, with the longest context of `CONTEXTS` that leaves room for `ROOMY` requests.

    Raises:
        CatalogError: an unknown name; the nearest are in the message.
        InitError: the model does not go on that tier.
    """
    model = find(catalog.models, model_name, "--model:")
    tier = find(catalog.tiers, tier_name, "--tier:")
    hardware = hardware_of(tier, catalog)
    try:
        return _fitted(model, hardware, catalog)
    except (InitError, SizingError) as error:
        others = ", ".join(fitting_tiers(model, catalog))
        mend = f"tiers that hold it: {others}" if others else "no tier takes it: choose another model"
        raise InitError(f"{model.id} does not go on tier {tier.id}: {error}; {mend}") from None


def fitting_tiers(model: Model, catalog: Catalog) -> list[str]:
    """The ids of the tiers that `for_tier` takes for the model."""
    return [tier.id for tier in catalog.tiers.values() if _goes(model, tier, catalog)]


def _goes(model: Model, tier: Tier, catalog: Catalog) -> bool:
    try:
        _fitted(model, hardware_of(tier, catalog), catalog)
    except (InitError, SizingError):
        return False
    return True


def hardware_of(tier: Tier, catalog: Catalog) -> Hardware:
    """A tier's hosts."""
    gpu = None if tier.gpu is None else find(catalog.gpus, tier.gpu, f"tier {tier.id}: the GPU")
    return Hardware(tier=tier, gpu=gpu, gpus=tier.gpus_per_host, memory_gib=tier.memory_gib)


def _fitted(model: Model, hardware: Hardware, catalog: Catalog) -> Draft:
    architecture = readable(model, hardware, catalog, None)
    tries = list(_tries(architecture, hardware, min(model.context, architecture.context)))
    # The last asks for least: where not even that fits, the others need no look.
    least = size(tries[-1][0])
    if not least.fits:
        raise InitError(least.errors[0])
    sizings = ((size(request), wanted) for request, wanted in tries)
    best = next((sizing for sizing, wanted in sizings if sizing.fits and sizing.max_concurrency >= wanted), least)
    return finished(model, hardware, 1 if hardware.tier is None else hardware.tier.hosts, best)


def _tries(architecture: Architecture, hardware: Hardware, most: int) -> Iterator[tuple[Request, int]]:
    """Requests, the best first, each with the number of its contexts that must fit at once."""
    contexts = [context for context in CONTEXTS if context <= most] or [most]
    on_gpus = hardware.gpu is not None
    for wanted in (ROOMY, 1):
        for context in contexts:
            for seqs in (MOST_SEQS, 64, 16) if on_gpus else (CPU_SEQS,):
                for room in (None,) if on_gpus else range(CPU_KV_GIB, 0, -1):
                    yield (
                        Request(
                            architecture=architecture,
                            gpu=hardware.gpu,
                            count=max(1, hardware.gpus),
                            context=context,
                            max_num_seqs=seqs,
                            cpu_kv_cache=None if room is None else GiB(room),
                            host_memory=None if on_gpus or hardware.memory_gib is None else GiB(hardware.usable_gib),
                        ),
                        wanted,
                    )


def readable(model: Model, hardware: Hardware, catalog: Catalog, quantization: str | None) -> Architecture:
    """The model's architecture, where engine and hardware take it.

    Raises:
        InitError: they do not.
    """
    architecture = read_config(model.config, model.id)
    if architecture.pooling:
        raise InitError("it is an embedding or reranking model, and a stack serves one that generates text")
    own = architecture.quantization
    if hardware.gpu is None and own is not None:
        entry = find_or_none(catalog.quantizations, own.method)
        if entry is not None and not entry.cpu:
            raise InitError(f"it is stored as {entry.id}, for which the engine has no kernels on a CPU")
    if hardware.gpu is not None:
        if hardware.gpu.vendor != "nvidia":
            raise InitError(f"{hardware.gpu.name} is no NVIDIA GPU, and the engine's build is for CUDA")
        refused = unsupported(architecture, quantization, hardware.gpu, catalog)
        if refused:
            raise InitError(refused)
    return architecture


def finished(
    model: Model,
    hardware: Hardware,
    hosts: int,
    sizing: Sizing,
    *,
    copies: int = 1,
    output_tokens: int | None = None,
    most: int | None = None,
    planned: Planned | None = None,
) -> Draft:
    """The draft, with no more requests at once than the KV cache holds completions, or than `most`."""
    request = sizing.request
    room = sizing.kv_cache_tokens // longest(request.context or 1, output_tokens)
    seqs = min(request.max_num_seqs or MOST_SEQS, room, most or MOST_SEQS)
    # Fewer at once take less of the sampler's memory, so the room can only grow.
    sizing = size(request.but(max_num_seqs=max(1, seqs)))
    ranks = (request.tensor_parallel or 1) * (request.pipeline_parallel or 1)
    weights = sum(
        weights_per_rank(
            sizing.request.architecture,
            tensor_parallel=request.tensor_parallel or 1,
            pipeline_parallel=request.pipeline_parallel or 1,
            quantization=request.quantization,
        )
    ) * (ranks // (request.pipeline_parallel or 1))
    return Draft(
        model=model,
        hardware=hardware,
        hosts=hosts,
        sizing=sizing,
        copies=copies,
        output_tokens=output_tokens,
        start_timeout_s=_start_timeout(weights / 1e9),
        weights_gb=weights / 1e9,
        planned=planned,
    )


def _start_timeout(weights_gb: float) -> int | None:
    seconds = _START_S + weights_gb / _SLOW_GB_S
    return None if seconds <= _DEFAULT_START_S else 600 * ceil(seconds / 600)

"""How many hosts of one kind the load takes, laid out in the best way that can be deployed, and what that makes.

One copy of the model carries the most requests at once with which both targets hold (time to first token, tokens a second
for each user) and for which there is room; by Little's law that is a rate of requests, of which `HEADROOM` is planned for,
since requests don't arrive evenly. As many copies as the load takes, on whole hosts. A copy has its GPUs on one host; a
dense model may have several copies on a host, a mixture of experts has one over all its GPUs (see
`slipway.performance.copies`).

Where even one request alone misses a target, the layout goes by what one request alone gets (`_SLACK`), so that there is
something to show; it does not count as meeting the targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from msgspec.structs import replace

from slipway.catalog.load import Catalog
from slipway.catalog.types import Gpu
from slipway.performance.candidates import Candidate
from slipway.performance.copies import SEVERAL_HOSTS, is_mixture
from slipway.performance.plan_types import Load
from slipway.performance.predict import Replica
from slipway.performance.terms import Terms
from slipway.performance.types import Prediction, PredictionError, Workload
from slipway.performance.words import figure
from slipway.sizing.architecture import Architecture
from slipway.sizing.compatibility import unsupported
from slipway.sizing.result import Request, Sizing, SizingError
from slipway.sizing.size import size

HEADROOM = 0.8
"""Share of what the hosts can carry that is planned for: arrivals are uneven, and at 1.0 a queue grows without end."""
MAX_HOSTS = 32
"""More hosts than this are no longer one service in the sense of a stack."""
EVERYTHING = 1 << 20
"""More requests at once than there is room for anywhere."""
_SLACK = 2.0
_WITHIN = (1, 2, 4, 8, 16)
_OVER = (2, 4)
_Split = tuple[int, int | None]
"""GPUs of a copy, and how many share each layer; None: as many as the model's shapes allow."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One copy of the model on so many GPUs, and what it carries while the targets hold."""

    sizing: Sizing
    replica: Replica
    most: int
    """Requests at once."""
    at_most: Prediction
    misses: tuple[str, ...]
    """Which targets even one request alone misses."""
    shortfall: float
    """How far one request alone is from the targets: 1 where it meets them, else wanted over had of the worse one."""

    @property
    def gpus(self) -> int:
        """Of one copy."""
        return self.sizing.request.count


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Copies on whole hosts."""

    candidate: Candidate
    shard: Shard
    hosts: int
    copies: int
    """On each host."""
    usual: Prediction
    """Of one copy in the busiest hour."""
    certain: bool
    """The targets hold at the bad end of the ranges too."""

    @property
    def replicas(self) -> int:
        """Copies on all hosts together."""
        return self.hosts * self.copies


class Layouts:
    """All layouts of one model under one load; what is alike for many hosts is computed once."""

    def __init__(self, architecture: Architecture, terms: Terms, catalog: Catalog) -> None:
        self._architecture = architecture
        self._terms = terms
        self._catalog = catalog
        self._mixture = is_mixture(architecture)
        self._shards: dict[tuple[str, _Split], Shard | str] = {}

    def best(self, candidate: Candidate) -> Layout | str:
        """The layout with the fewest hosts, then the fastest; or why there is none."""
        found: list[Layout] = []
        reasons: list[str] = []
        for split in self._splits(candidate):
            shard = self._shard(candidate.gpu, split)
            if isinstance(shard, str):
                reasons.append(shard)
            else:
                found.append(self._lay_out(candidate, shard))
        if found:
            return min(found, key=_preference)
        # The most GPUs came nearest.
        return self._over_hosts(candidate) or reasons[-1]

    def _splits(self, candidate: Candidate) -> Iterator[_Split]:
        """Of one copy on one host."""
        gpus = candidate.gpus_per_host
        if self._mixture:
            yield gpus, None
            return
        for ranks in _WITHIN:
            if gpus % ranks == 0:
                yield ranks, ranks
        if gpus not in _WITHIN:
            yield gpus, gpus

    def _over_hosts(self, candidate: Candidate) -> str | None:
        """Why a copy that would fit on several hosts is no layout; None where it would not fit there either."""
        # Single hosts of one's own have no network that is meant for it.
        over = (candidate.unit_hosts,) if candidate.unit_hosts > 1 else _OVER if candidate.place == "cloud" else ()
        gpus = candidate.gpus_per_host
        for hosts in over:
            if isinstance(self._shard(candidate.gpu, (hosts * gpus, None)), Shard):
                each = f"{gpus} GPUs" if gpus > 1 else "1 GPU"
                return f"a copy of the model takes {hosts} hosts of {each}, and {SEVERAL_HOSTS}"
        return None

    def _lay_out(self, candidate: Candidate, shard: Shard) -> Layout:
        load = self._terms.load
        copies = candidate.gpus_per_host // shard.gpus
        carried = shard.at_most.requests_per_s.expected * HEADROOM
        units = max(1, ceil(load.local_requests_per_s / (carried * copies * candidate.unit_hosts)))
        hosts = units * candidate.unit_hosts
        replicas = hosts * copies
        usual = at_rate(shard.replica, load, load.local_requests_per_s / replicas, shard.most)
        return Layout(
            candidate=candidate,
            shard=shard,
            hosts=hosts,
            copies=copies,
            usual=usual,
            certain=not shard.misses
            and usual.ttft_s.high <= load.ttft_s
            and usual.user_tokens_per_s.low >= load.tokens_per_second
            and shard.at_most.requests_per_s.low * replicas >= load.local_requests_per_s,
        )

    def _shard(self, gpu: Gpu, split: _Split) -> Shard | str:
        key = (gpu.id, split)
        if key not in self._shards:
            try:
                self._shards[key] = self._make(gpu, split)
            except (SizingError, PredictionError) as error:
                self._shards[key] = str(error)
        return self._shards[key]

    def _make(self, gpu: Gpu, split: _Split) -> Shard | str:
        gpus, tensor = split
        question, load = self._terms.question, self._terms.load
        refused = unsupported(self._architecture, question.quantization, gpu, self._catalog)
        if refused:
            return refused
        sizing = size(
            Request(
                architecture=self._architecture,
                gpu=gpu,
                count=gpus,
                tensor_parallel=tensor,
                context=self._terms.context,
                context_used=load.prompt_tokens + load.output_tokens,
                quantization=question.quantization,
                kv_cache_dtype=question.kv_cache_dtype,
            )
        )
        if not sizing.fits:
            count = f"{gpus} GPUs" if gpus > 1 else "1 GPU"
            return f"on {count}: {'; '.join(sizing.errors) or 'it does not fit'}"
        replica = Replica(self._architecture, gpu, sizing)
        alone = replica.predict(workload(load, 1))
        misses, shortfall = _missed(alone, load)
        most = most_at_once(replica, _eased(load, alone) if misses else load)
        return Shard(
            sizing=sizing,
            replica=replica,
            most=most,
            at_most=replica.predict(workload(load, most)),
            misses=misses,
            shortfall=shortfall,
        )


def workload(load: Load, concurrency: int) -> Workload:
    """The load's requests, so many at once."""
    return Workload(prompt_tokens=load.prompt_tokens, output_tokens=load.output_tokens, concurrency=concurrency)


def holds(prediction: Prediction, load: Load) -> bool:
    """Whether both targets are met, as expected."""
    return prediction.ttft_s.expected <= load.ttft_s and prediction.user_tokens_per_s.expected >= load.tokens_per_second


def at_rate(replica: Replica, load: Load, rate: float, most: int) -> Prediction:
    """With the fewest requests at once that complete `rate` a second (Little's law), at most `most`."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if replica.predict(workload(load, middle)).requests_per_s.expected >= rate:
            high = middle
        else:
            low = middle + 1
    return replica.predict(workload(load, low))


def _preference(layout: Layout) -> tuple[float, int, bool, float]:
    """Smaller is better: nearer the targets, fewer hosts, surer, more spare capacity."""
    capacity = layout.shard.at_most.requests_per_s.expected * layout.replicas
    return layout.shard.shortfall, layout.hosts, not layout.certain, -capacity


def _missed(alone: Prediction, load: Load) -> tuple[tuple[str, ...], float]:
    """Which targets one request alone misses, and wanted over had of the worse."""
    lines = []
    if alone.ttft_s.expected > load.ttft_s:
        lines.append(
            f"even one request alone waits {figure(alone.ttft_s.expected, load.ttft_s)} s for its first token; wanted: "
            f"{load.ttft_s:g} s"
        )
    if alone.user_tokens_per_s.expected < load.tokens_per_second:
        lines.append(
            f"even one request alone gets {figure(alone.user_tokens_per_s.expected, load.tokens_per_second)} tokens/s; "
            f"wanted: {load.tokens_per_second:g}"
        )
    worse = max(1.0, alone.ttft_s.expected / load.ttft_s, load.tokens_per_second / alone.user_tokens_per_s.expected)
    return tuple(lines), worse


def _eased(load: Load, alone: Prediction) -> Load:
    return replace(
        load,
        ttft_s=max(load.ttft_s, _SLACK * alone.ttft_s.expected),
        tokens_per_second=min(load.tokens_per_second, alone.user_tokens_per_s.expected / _SLACK),
    )


def most_at_once(replica: Replica, load: Load) -> int:
    """The most requests at once with which the targets hold; at least 1."""
    low, high = 1, replica.predict(workload(load, EVERYTHING)).concurrency
    while low < high:
        middle = (low + high + 1) // 2
        if holds(replica.predict(workload(load, middle)), load):
            low = middle
        else:
            high = middle - 1
    return low

"""What the gateway's bench reports: what each load gave, the figures that come of it, and what these should be."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figures = dict[str, float | None]
"""What is reported of one target, by name; None where nothing came of it."""

CONNECTIONS = (8, 64)


@dataclass(frozen=True)
class Goal:
    """What a figure should be.

    Attributes:
        limit: at least this, or at most.
        at_least: which of both.
        text: what is measured.
    """

    limit: float | None
    text: str
    at_least: bool = False

    def missed(self, value: float | None) -> bool:
        """Whether a figure is on the wrong side of it; one that could not be had is."""
        if self.limit is None:
            return False
        if value is None:
            return True
        return value < self.limit if self.at_least else value > self.limit

    def __str__(self) -> str:
        if self.limit is None:
            return "-"
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


GOALS: Mapping[str, Goal] = {
    "rps_ratio_c8": Goal(0.8, "requests/s of one token, to direct, 8 connections", at_least=True),
    "rps_ratio_c64": Goal(0.8, "the same, 64 connections", at_least=True),
    "tokens_ratio_c8": Goal(0.97, "streamed tokens/s, to direct, 8 streams", at_least=True),
    "tokens_ratio_c64": Goal(0.97, "the same, 64 streams", at_least=True),
    "ttft_added_ms_p50": Goal(3, "time to the first token, more than direct, ms, 64 streams"),
    "ttft_added_ms_p99": Goal(20, "the same, p99 less p99"),
    "itl_ratio_p99": Goal(1.2, "p99 of the time between two tokens, to direct, 64 streams"),
    "cpu_s_100k_chunks": Goal(4, "CPU seconds for 100,000 chunks, 64 streams"),
    "cpu_s_1k_requests": Goal(0.4, "CPU seconds for 1,000 requests, 64 connections"),
    "idle_streams_mib": Goal(None, "memory with idle streams open, MiB"),
}
"""In the order in which they are printed; the figures of the JSON object."""


@dataclass(frozen=True)
class Scenario:
    """One kind of load."""

    kind: str
    stream: bool
    connections: int

    def __str__(self) -> str:
        what = "streams" if self.stream else "requests of one token"
        return f"{self.connections} connections, {what}, {self.kind} engine"


@dataclass(frozen=True)
class Run:
    """What one load on one target gave.

    Attributes:
        rps: answers a second.
        tps: tokens a second.
        ttft_p50_ms: to the first token, or to the answer where none is streamed; None where there was none.
        ttft_p99_ms: the same.
        gap_p99_ms: between two tokens of a stream.
        requests: answers, with those that were waited for after the time was up.
        tokens: the same.
        chunks: pieces of streams that these tokens came in; a busy vLLM puts several into one.
        errors: requests that failed, or had an answer that is wrong.
        cpu_s: what the target's processes took, for `requests`, `tokens` and `chunks`.
    """

    rps: float
    tps: float
    ttft_p50_ms: float | None
    ttft_p99_ms: float | None
    gap_p99_ms: float | None
    requests: int
    tokens: int
    chunks: int
    errors: int
    cpu_s: float

    @classmethod
    def of(cls, found: Mapping[str, Any], cpu: float) -> "Run":
        """From what the load generator says."""
        return cls(
            rps=found["requests"] / found["seconds"],
            tps=found["tokens"] / found["seconds"],
            ttft_p50_ms=found["ttft"]["p50_ms"],
            ttft_p99_ms=found["ttft"]["p99_ms"],
            gap_p99_ms=found["gap"]["p99_ms"],
            requests=found["whole_requests"],
            tokens=found["whole_tokens"],
            chunks=found["whole_pieces"],
            errors=found["errors"],
            cpu_s=cpu,
        )


@dataclass(frozen=True)
class Idle:
    """Memory of a target, in MiB, before and while so many idle streams were open."""

    before_mib: float
    mib: float
    open: int


Runs = Mapping[Scenario, Sequence[Run]]
"""Of one target: a run for each round."""


def figures(direct: Runs, ours: Runs, kind: str, idle: Idle | None = None) -> Figures:
    """The figures of one target with a kind of engine; memory only where idle streams were held."""
    few, many = (Scenario(kind, stream=False, connections=connections) for connections in CONNECTIONS)
    few_streams, streams = (Scenario(kind, stream=True, connections=connections) for connections in CONNECTIONS)
    found = {
        "rps_ratio_c8": compared(ours[few], direct[few], ratio, lambda run: run.rps),
        "rps_ratio_c64": compared(ours[many], direct[many], ratio, lambda run: run.rps),
        "tokens_ratio_c8": compared(ours[few_streams], direct[few_streams], ratio, lambda run: run.tps),
        "tokens_ratio_c64": compared(ours[streams], direct[streams], ratio, lambda run: run.tps),
        "ttft_added_ms_p50": compared(ours[streams], direct[streams], difference, lambda run: run.ttft_p50_ms),
        "ttft_added_ms_p99": compared(ours[streams], direct[streams], difference, lambda run: run.ttft_p99_ms),
        "itl_ratio_p99": compared(ours[streams], direct[streams], ratio, lambda run: run.gap_p99_ms),
        "cpu_s_100k_chunks": median(each(run.cpu_s, run.chunks, 100_000) for run in ours[streams]),
        "cpu_s_1k_requests": median(each(run.cpu_s, run.requests, 1000) for run in ours[many]),
    }
    if idle is not None:
        found["idle_streams_mib"] = idle.mib
    return {name: None if value is None else round(value, 3) for name, value in found.items()}


def missed(found: Figures) -> list[str]:
    """The names of the figures that are on the wrong side of their goals."""
    return [name for name, value in found.items() if GOALS[name].missed(value)]


def compared(
    ours: Sequence[Run],
    direct: Sequence[Run],
    how: Callable[[float | None, float | None], float | None],
    what: Callable[[Run], float | None],
) -> float | None:
    """The median of what two targets make of each other, round by round."""
    return median(how(what(one), what(other)) for one, other in zip(ours, direct, strict=True))


def ratio(value: float | None, base: float | None) -> float | None:
    """None where there is nothing to compare with, or nothing to compare."""
    return None if value is None or not base else value / base


def difference(value: float | None, base: float | None) -> float | None:
    """None where one of them is missing."""
    return None if value is None or base is None else value - base


def each(cost: float, count: int, unit: int) -> float | None:
    """What so many cost; None where there was none."""
    return cost / count * unit if count else None


def median(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None of none."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None

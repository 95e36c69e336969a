"""What the gateway costs: the same load sent straight to an engine, through Slipway's gateway, and through LiteLLM as it comes.

The engine is a compiled stand-in that generates nothing of meaning, and so is the load generator (bench/gateway). All targets
run at once and are asked in turn, round by round; a figure is the median of the rounds, a ratio that of the rounds' ratios.
The engine is of two kinds: a *paced* one gives each stream so many tokens a second, as a GPU does, and the goals are for
it; a *burning* one gives as many as it can on the same cores, and what comes of that stands beside.

What it says of memory and CPU is of the target's own processes. Prints a table with the goals, or one JSON object with
``--json``. Asserts nothing.
"""

import argparse
import json
import os
import platform
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gateway_programs import Engine, Load, Task, built
from bench.gateway_targets import TARGETS, Target, cpu_s, memory_mib
from tools.gobuild import BuildError

Figures = dict[str, float | None]
"""What is reported of one target, by name; None where nothing came of it."""

CONNECTIONS = (8, 64)
RATE = 160
"""Tokens a second of each stream of the paced engine."""
LIMIT_S = 3600
"""Longer than this nothing runs."""


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
class Length:
    """How long it all takes: rounds, seconds of each load, tokens of a stream, and idle streams."""

    rounds: int
    seconds: float
    drain_s: float
    tokens: int
    idle: int
    kinds: tuple[str, ...]

    def scenarios(self) -> list[Scenario]:
        """Of one round."""
        return [
            Scenario(kind, stream, connections)
            for kind in self.kinds
            for stream in (False, True)
            for connections in CONNECTIONS
        ]


FULL = Length(rounds=3, seconds=4, drain_s=10, tokens=128, idle=1000, kinds=("paced", "burning"))
QUICK = Length(rounds=1, seconds=1.5, drain_s=3, tokens=64, idle=100, kinds=("paced",))


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
        errors: requests that failed, or had an answer that is wrong.
        cpu_s: what the target's processes took, for `requests` and `tokens`.
    """

    rps: float
    tps: float
    ttft_p50_ms: float | None
    ttft_p99_ms: float | None
    gap_p99_ms: float | None
    requests: int
    tokens: int
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument(
        "--quick", action="store_true", help="about a minute: one round, the paced engine, 100 idle streams"
    )
    parser.add_argument(
        "--rounds", type=int, choices=range(1, 21), metavar="1..20", help="instead of 3, or of 1 with --quick"
    )
    ours = [name for name in TARGETS if name not in ("direct", "stock")]
    parser.add_argument("--target", choices=ours, default="gateway", help="what is held against the goals")
    arguments = parser.parse_args()
    length = QUICK if arguments.quick else FULL
    if arguments.rounds:
        length = Length(**{**vars(length), "rounds": arguments.rounds})
    # So that all that was started is ended here, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Idle streams: two connections each in a gateway.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        runs, idle = measured(arguments.target, length)
    except (BuildError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    direct = runs["direct"]
    found = {name: figures(direct, runs[name], idle[name].mib) for name in (arguments.target, "stock")}
    if arguments.json:
        print(json.dumps({**found[arguments.target], "stock": found["stock"]}))
        return
    print_table(arguments.target, found, length, idle)
    print_beside(runs, length)


def measured(target: str, length: Length) -> tuple[dict[str, Runs], dict[str, Idle]]:
    """Runs of each target, and its memory with idle streams."""
    programs = built()
    begun = time.monotonic()
    names = ("direct", target, "stock")
    runs: dict[str, dict[Scenario, list[Run]]] = {
        name: {scenario: [] for scenario in length.scenarios()} for name in names
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slipway-gateway-")))
        engine = stack.enter_context(Engine(programs, folder, rate=RATE, limit_s=LIMIT_S))
        targets: dict[str, Target] = {}
        for name in names:
            (folder / name).mkdir()
            targets[name] = TARGETS[name](folder / name, engine.url, engine.log)
            stack.callback(targets[name].stop)
            targets[name].start()
        tell(f"starting {', '.join(names)}")
        for one in targets.values():
            one.wait()
        tell(f"started after {time.monotonic() - begun:.0f} s")
        for number in range(length.rounds):
            for scenario in length.scenarios():
                # None is always the first, after whom the machine is warm.
                for name in rotated(names, number):
                    if time.monotonic() - begun > LIMIT_S:
                        raise RuntimeError(f"it took more than {LIMIT_S} s")
                    run = loaded(programs, targets[name], scenario, length)
                    runs[name][scenario].append(run)
                    tell(f"round {number + 1} of {length.rounds}, {scenario}: {name} {shown(run, scenario)}")
        idle = {name: held(programs, name, targets[name], length.idle) for name in names if name != "direct"}
    return {name: dict(found) for name, found in runs.items()}, idle


def loaded(programs: Path, target: Target, scenario: Scenario, length: Length) -> Run:
    """One load on one target."""
    task = Task(
        url=f"{target.url}/chat/completions",
        headers=dict(target.headers),
        authority=str(target.authority or ""),
        model=scenario.kind,
        connections=scenario.connections,
        seconds=length.seconds,
        drain_s=length.drain_s,
        max_tokens=length.tokens if scenario.stream else 1,
        stream=scenario.stream,
    )
    with Load(programs, task) as load:
        before = cpu_s(target.processes())
        found = load.go()
        cpu = cpu_s(target.processes()) - before
    for said in filter(None, (load.first_error, found["first_error"])):
        tell(f"  the first error: {said[:300]}")
    return Run.of(found, cpu)


def held(programs: Path, name: str, target: Target, count: int) -> Idle:
    """Memory of a target while streams are open in which nothing happens."""
    before = memory_mib(target.processes())
    task = Task(
        url=f"{target.url}/chat/completions",
        headers=dict(target.headers),
        authority=str(target.authority or ""),
        model="idle",
        connections=count,
        warm_up_s=150,
        stream=True,
        hold=True,
    )
    with Load(programs, task) as load:
        memory = memory_mib(target.processes())
        found = Idle(before, memory, load.go()["requests"])
    tell(f"{name}: {found.before_mib:.0f} MiB, {found.mib:.0f} MiB with {found.open} of {count} idle streams open")
    if load.first_error:
        tell(f"  the first error: {load.first_error[:300]}")
    return found


def figures(direct: Runs, ours: Runs, idle_mib: float) -> Figures:
    """The figures of one target, those of the paced engine."""
    few, many = (Scenario("paced", stream=False, connections=connections) for connections in CONNECTIONS)
    few_streams, streams = (Scenario("paced", stream=True, connections=connections) for connections in CONNECTIONS)
    found = {
        "rps_ratio_c8": compared(ours[few], direct[few], ratio, lambda run: run.rps),
        "rps_ratio_c64": compared(ours[many], direct[many], ratio, lambda run: run.rps),
        "tokens_ratio_c8": compared(ours[few_streams], direct[few_streams], ratio, lambda run: run.tps),
        "tokens_ratio_c64": compared(ours[streams], direct[streams], ratio, lambda run: run.tps),
        "ttft_added_ms_p50": compared(ours[streams], direct[streams], difference, lambda run: run.ttft_p50_ms),
        "ttft_added_ms_p99": compared(ours[streams], direct[streams], difference, lambda run: run.ttft_p99_ms),
        "itl_ratio_p99": compared(ours[streams], direct[streams], ratio, lambda run: run.gap_p99_ms),
        "cpu_s_100k_chunks": median(each(run.cpu_s, run.tokens, 100_000) for run in ours[streams]),
        "cpu_s_1k_requests": median(each(run.cpu_s, run.requests, 1000) for run in ours[many]),
        "idle_streams_mib": idle_mib,
    }
    return {name: None if value is None else round(value, 3) for name, value in found.items()}


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


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The same, beginning with another."""
    start = by % len(names)
    return [*names[start:], *names[:start]]


def print_table(target: str, found: Mapping[str, Figures], length: Length, idle: Mapping[str, Idle]) -> None:
    """The figures beside their goals."""
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    red, plain = ("\x1b[31m", "\x1b[0m") if colours else ("", "")
    print(
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; paced engine, {RATE} "
        f"tokens/s a stream; {length.rounds} rounds of {length.seconds:g} s, {length.idle} idle streams"
    )
    print(f"{'figure':18}  {'goal':>7}  {target:>16}  {'stock LiteLLM':>16}  what it is")
    for name, goal in GOALS.items():
        cells = []
        for of in (target, "stock"):
            text = number(found[of][name])
            missed = goal.missed(found[of][name])
            cell = f"{text + (' missed' if missed else ''):>16}"
            cells.append(f"{red}{cell}{plain}" if missed else cell)
        print(f"{name:18}  {goal!s:>7}  {'  '.join(cells)}  {goal.text}")
    for name, one in idle.items():
        print(f"{name}: {one.before_mib:.0f} MiB before, {one.open} of {length.idle} idle streams were open at once")


def print_beside(runs: Mapping[str, Runs], length: Length) -> None:
    """Each load for itself: medians of the rounds."""
    print()
    print(
        f"{'engine':8}{'load':>12}  {'target':10}{'req/s':>9}{'ratio':>7}{'tok/s':>10}{'ratio':>7}{'ttft p50':>10}{'p99 ms':>9}"
        f"{'gap p99':>9}{'CPU s':>8}{'failed':>8}"
    )
    for scenario in length.scenarios():
        for name, found in runs.items():
            ours, direct = found[scenario], runs["direct"][scenario]
            cells = (
                (median(run.rps for run in ours), 9),
                (compared(ours, direct, ratio, lambda run: run.rps), 7),
                (median(run.tps for run in ours), 10),
                (compared(ours, direct, ratio, lambda run: run.tps), 7),
                (median(run.ttft_p50_ms for run in ours), 10),
                (median(run.ttft_p99_ms for run in ours), 9),
                (median(run.gap_p99_ms for run in ours), 9),
                (median(run.cpu_s for run in ours), 8),
            )
            what = f"{scenario.connections} {'streams' if scenario.stream else 'requests'}"
            line = "".join(f"{number(value):>{width}}" for value, width in cells)
            print(f"{scenario.kind:8}{what:>12}  {name:10}{line}{sum(run.errors for run in ours):8}")


def number(value: float | None) -> str:
    """A figure with as many digits as it is worth."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def shown(run: Run, scenario: Scenario) -> str:
    """A run in a few words."""
    speed = f"{run.tps:.0f} tokens/s" if scenario.stream else f"{run.rps:.0f} requests/s"
    return f"{speed}{f', {run.errors} failed' if run.errors else ''}"


def tell(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

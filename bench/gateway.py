"""What the gateway costs: the same load sent straight to an engine, through Slipway's gateway, and through LiteLLM as it comes.

Ours is measured twice: the front that asks the engine itself (`gateway`, which is held against the goals), and the front with
``gateway.fast_path: false`` (`litellm_path`). All targets run at once and are asked in turn, round by round; a figure is the
median of the rounds, a ratio that of the rounds' ratios.

There are two engines. The stand-in is compiled and generates nothing of meaning, as the load generator (bench/gateway): a
*paced* one gives each stream so many tokens a second, as a GPU does, and the goals are for it; a *burning* one gives as many as
it can on the same cores, and what comes of that stands beside. The other is the *tiny vLLM*, the real engine on the CPU with a
tiny model (bench/gateway_vllm.py); it burns the same cores, too.

What it says of memory and CPU is of the target's own processes. Prints tables with the goals, or one JSON object with
``--json``. Asserts nothing.
"""

import argparse
import json
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench.gateway_figures import CONNECTIONS, Figures, Idle, Run, Runs, Scenario, figures
from bench.gateway_processes import cpu_s, memory_mib
from bench.gateway_programs import Engine, Load, Task, built
from bench.gateway_report import print_beside, print_table, shown, tell
from bench.gateway_targets import TARGETS, Target
from bench.gateway_vllm import tiny_vllm
from tools.gobuild import BuildError

RATE = 160
"""Tokens a second of each stream of the paced engine."""
LIMIT_S = 3600
"""Longer than this nothing runs."""
BESIDE = ("litellm_path", "stock")
"""What stands beside the target that is held against the goals."""


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


FULL = Length(rounds=3, seconds=4, drain_s=10, tokens=128, idle=1000, kinds=("paced", "burning", "vllm"))
QUICK = Length(rounds=1, seconds=1.5, drain_s=3, tokens=64, idle=100, kinds=("paced", "vllm"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes: one round, without the burning engine, 100 idle streams"
    )
    parser.add_argument(
        "--rounds", type=int, choices=range(1, 21), metavar="1..20", help="instead of 3, or of 1 with --quick"
    )
    parser.add_argument(
        "--engine",
        choices=("stand-in", "vllm", "both"),
        default="both",
        help="by default both; idle streams are the stand-in's",
    )
    ours = [name for name in TARGETS if name not in ("direct", "stock")]
    parser.add_argument("--target", choices=ours, default="gateway", help="what is held against the goals")
    arguments = parser.parse_args()
    length = QUICK if arguments.quick else FULL
    if arguments.rounds:
        length = replace(length, rounds=arguments.rounds)
    if arguments.engine != "both":
        length = replace(
            length, kinds=tuple(kind for kind in length.kinds if (kind == "vllm") == (arguments.engine == "vllm"))
        )
    # So that all that was started is ended here, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Idle streams: two connections each in a gateway.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    names = tuple(dict.fromkeys((arguments.target, *BESIDE)))
    try:
        runs, idle = measured(("direct", *names), length)
    except (BuildError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    found: dict[str, dict[str, Figures]] = {}
    for kind in ("paced", "vllm"):
        if kind in length.kinds:
            found[kind] = {
                name: figures(runs["direct"], runs[name], kind, idle.get(name) if kind == "paced" else None)
                for name in names
            }
    if arguments.json:
        print(json.dumps(as_json(found, arguments.target)))
        return
    lasted = f"{length.rounds} rounds of {length.seconds:g} s, {length.idle} idle streams"
    if "paced" in found:
        print_table(f"paced stand-in, {RATE} tokens/s a stream; {lasted}", found["paced"])
    if "vllm" in found:
        print_table(f"tiny vLLM on the same cores, which the goals are not for; {lasted}", found["vllm"])
    for name, one in idle.items():
        print(f"{name}: {one.before_mib:.0f} MiB before, {one.open} of {length.idle} idle streams were open at once")
    print_beside(runs, length.scenarios())


def as_json(found: dict[str, dict[str, Figures]], target: str) -> dict[str, object]:
    """The target's figures with the paced stand-in, those of the others there by their names; then the tiny vLLM's by target."""
    paced = dict(found.get("paced", {}))
    result: dict[str, object] = {**paced.pop(target, {}), **paced}
    if "vllm" in found:
        result["tiny_vllm"] = found["vllm"]
    return result


def measured(names: Sequence[str], length: Length) -> tuple[dict[str, Runs], dict[str, Idle]]:
    """Runs of each target, and its memory with idle streams."""
    programs = built()
    begun = time.monotonic()
    runs: dict[str, dict[Scenario, list[Run]]] = {
        name: {scenario: [] for scenario in length.scenarios()} for name in names
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slipway-gateway-")))
        engine = stack.enter_context(Engine(programs, folder, rate=RATE, limit_s=LIMIT_S))
        engines = dict.fromkeys(("paced", "burning", "idle"), engine.url)
        if "vllm" in length.kinds:
            tell("starting the tiny vLLM")
            vllm = tiny_vllm(folder, "vllm")
            stack.callback(vllm.stop)
            vllm.start()
            engines["vllm"] = vllm.url
            vllm.wait()
        targets: dict[str, Target] = {}
        for name in names:
            (folder / name).mkdir()
            targets[name] = TARGETS[name](folder / name, engines, engine.log)
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
        idle = {}
        if "paced" in length.kinds:
            idle = {name: held(programs, name, targets[name], length.idle) for name in names if name != "direct"}
        tell(f"done after {time.monotonic() - begun:.0f} s")
    return {name: dict(found) for name, found in runs.items()}, idle


def loaded(programs: Path, target: Target, scenario: Scenario, length: Length) -> Run:
    """One load on one target."""
    task = Task(
        url=f"{target.url(scenario.kind)}/chat/completions",
        headers=dict(target.headers),
        authority=str(target.authority or ""),
        model=scenario.kind,
        connections=scenario.connections,
        seconds=length.seconds,
        drain_s=length.drain_s,
        max_tokens=length.tokens if scenario.stream else 1,
        stream=scenario.stream,
        merges=scenario.kind == "vllm",
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
        url=f"{target.url('idle')}/chat/completions",
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


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The same, beginning with another."""
    start = by % len(names)
    return [*names[start:], *names[:start]]


if __name__ == "__main__":
    main()

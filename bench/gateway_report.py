"""What the gateway's bench found, for people."""

import os
import platform
import sys
from collections.abc import Iterable, Mapping

from bench.gateway_figures import GOALS, Figures, Run, Runs, Scenario, compared, median, missed, ratio


def print_table(of: str, found: Mapping[str, Figures]) -> None:
    """The figures of targets beside their goals; the first target is ours, of which is said what it misses."""
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    red, plain = ("\x1b[31m", "\x1b[0m") if colours else ("", "")
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {of}")
    print(f"{'figure':18}  {'goal':>7}  {'  '.join(f'{name:>16}' for name in found)}  what it is")
    ours = next(iter(found))
    for name in found[ours]:
        goal, cells = GOALS[name], []
        for figures in found.values():
            misses = goal.missed(figures[name])
            cell = f"{number(figures[name]) + (' missed' if misses else ''):>16}"
            cells.append(f"{red}{cell}{plain}" if misses else cell)
        print(f"{name:18}  {goal!s:>7}  {'  '.join(cells)}  {goal.text}")
    print(f"{ours} misses: {', '.join(missed(found[ours])) or 'none'}\n")


def print_beside(runs: Mapping[str, Runs], scenarios: Iterable[Scenario]) -> None:
    """Each load for itself: medians of the rounds."""
    print()
    print(
        f"{'engine':8}{'load':>12}  {'target':13}{'req/s':>9}{'ratio':>7}{'tok/s':>10}{'ratio':>7}{'ttft p50':>10}{'p99 ms':>9}"
        f"{'gap p99':>9}{'CPU s':>8}{'failed':>8}"
    )
    for scenario in scenarios:
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
            print(f"{scenario.kind:8}{what:>12}  {name:13}{line}{sum(run.errors for run in ours):8}")


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

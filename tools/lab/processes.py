"""The processes of a host, found by what is on their command line.

Found and not remembered: a number in a file may be another process's by now, or missing after a kill between a start
and its note. psutil compares start times before it signals, so that a reused number is never hit.
"""

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Running:
    """A host that runs: its process outside, and since when (UTC, ISO 8601)."""

    pid: int
    since: str


def processes_naming(path: Path) -> list[psutil.Process]:
    """The live processes with `path`, or an option set to it, among their arguments."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(argument.rpartition("=")[2] == str(path) for argument in process.cmdline()) and _lives(process):
                found.append(process)
    return found


def running(processes: Sequence[psutil.Process], preferred: str) -> Running | None:
    """Describe a host by the one of its processes called `preferred`, or by any; None if there are none.

    While a host reboots, its own may be missing for a moment.
    """
    named = [process for process in processes if process.name() == preferred]
    for process in (*named, *processes):
        with contextlib.suppress(psutil.NoSuchProcess):
            since = datetime.fromtimestamp(process.create_time(), UTC)
            return Running(process.pid, since.isoformat(timespec="seconds"))
    return None


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill them and wait until they are gone."""
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait(processes)


def wait(processes: Iterable[psutil.Process], patience: float = 10) -> list[psutil.Process]:
    """Wait until they have ended; returns those that have not after `patience` seconds.

    A process that has ended and was not reaped counts as gone: who reaps it, and when, is not our business.
    """
    deadline = time.monotonic() + patience
    while (left := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

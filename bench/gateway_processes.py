"""Processes of the gateway's bench: started, waited for, ended, and what they and those below them take."""

import ssl
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

START_S = 240


def started(command: list[Any], folder: Path, own: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process whose words go to the file `journal`."""
    with (folder / "journal").open("wb") as journal:
        return subprocess.Popen(
            command, cwd=folder, env=own, stdin=subprocess.DEVNULL, stdout=journal, stderr=subprocess.STDOUT
        )


def running(process: subprocess.Popen[bytes] | None) -> list[int]:
    """The process' id, unless it has ended."""
    return [process.pid] if process is not None and process.poll() is None else []


def ended(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started."""
    tree = family([process.pid])
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs([one for one in tree if one.pid != process.pid], timeout=5)
    for one in left:
        one.kill()


def until_it_answers(
    url: str,
    folder: Path,
    processes: Callable[[], list[int]],
    authority: Path | None = None,
) -> None:
    """Wait for status 200.

    Raises:
        RuntimeError: it ended, or took too long; the text has the end of what it said.
    """
    deadline = time.monotonic() + START_S
    verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=authority) if authority else False
    with httpx.Client(timeout=5, trust_env=False, verify=verify) as client:
        while processes() and time.monotonic() < deadline:
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
    said = (folder / "journal").read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"{url} does not answer:\n{said}")


def family(processes: list[int]) -> list[psutil.Process]:
    """Processes and all below them that run."""
    found = []
    for number in processes:
        try:
            process = psutil.Process(number)
            found += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def cpu_s(processes: list[int]) -> float:
    """CPU seconds that processes have taken, those below them and those that these have outlived included."""
    total = 0.0
    for process in family(processes):
        try:
            taken = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += taken.user + taken.system + taken.children_user + taken.children_system
    return total


def memory_mib(processes: list[int]) -> float:
    """Their memory and that of those below them; what several share counts once (PSS)."""
    total = 0
    for process in family(processes):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20

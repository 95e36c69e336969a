"""rsync and curl, which do the work: for a bounded time, and with nothing of a secret among their arguments."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from .base import FullError
from .manifest import StoreError

_FULL = "No space left on device"


def run(
    command: list[str], error: Callable[[str], StoreError], *, given: str = "", seconds: float | None = None
) -> None:
    """Run one to its end, or for so many seconds, with `given` on its standard input.

    Raises:
        StoreError: by `error` of its first complaint, or the program is not there.
        FullError: the disk is full.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise StoreError(f"{command[0]} is not on this host; install it") from None
    _, complained, over = ended(process, given, seconds)
    if over or process.returncode == 0:
        return
    if _FULL in complained:
        raise FullError
    lines = [line.strip() for line in complained.splitlines() if line.strip()]
    raise error(lines[0] if lines else f"{command[0]} ended with {process.returncode}")


def ended(process: subprocess.Popen[str], given: str, seconds: float | None) -> tuple[str, str, bool]:
    """Both outputs, and whether its time was over."""
    try:
        said, complained = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        said, complained = process.communicate()
        return said or "", complained or "", True
    return said or "", complained or "", False

"""Whether there is room for what is to be written, asked before the first byte."""

from __future__ import annotations

import os
from pathlib import Path

from .manifest import StoreError

_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def amount(size: float) -> str:
    """Bytes as people read them: ``140.2 GB``, which are 10^9 bytes."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"


def free(folder: Path) -> int:
    """Bytes that may still be written below a folder."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def expect(folder: Path, needed: int, what: str) -> None:
    """See that there is room.

    Raises:
        StoreError: there is not.
    """
    left = free(folder)
    if needed > left:
        raise StoreError(
            f"{folder} has no room for {what}: {amount(needed)} needed, {amount(left)} free; nothing was written: free some "
            "(slipway store prune names what no stack needs), or mount a larger disk there"
        )


def filled(folder: Path, missing: int) -> StoreError:
    """What is said when a disk became full half-way."""
    return StoreError(
        f"{folder} became full: {amount(missing)} still missing, {amount(free(folder))} free; what has come is kept and not "
        "taken for whole: free some (slipway store prune names what no stack needs) and repeat, it goes on from there"
    )

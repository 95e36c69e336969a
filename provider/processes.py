"""Keeping hold of all processes that a run starts, and ending them at once.

ssh's ControlPersist masters detach themselves with a double fork; a subreaper stays their ancestor all the same, so that
psutil finds them. Only Linux knows subreapers: elsewhere a master ends by itself after its idle time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Collection

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Makes this process the parent of what its descendants orphan."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants(spare: Collection[int] = (), within: float = 0.3) -> None:
    """Kills everything below this process, again while orphans arrive, for at most `within` seconds."""
    me = psutil.Process()
    deadline = time.monotonic() + within
    while True:
        alive = False
        for process in me.children(recursive=True):
            if process.pid in spare:
                continue
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    alive = True
        if not alive or time.monotonic() > deadline:
            return
        # They die as soon as the kernel gets to it; only then do their children become ours to see.
        time.sleep(0.005)


def reap_orphans() -> None:
    """Collects ended orphans; only for a process that waits for no child of its own just now."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass

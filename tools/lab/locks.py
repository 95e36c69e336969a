"""File locks that end with their process, however it ends."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.lab.errors import LabError


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None, timeout: float = 600) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; the file goes when the lock is released.

    Args:
        path: made where it is missing; its folder must exist.
        waiting: called once when another process holds the lock.
        timeout: seconds to wait for it.

    Raises:
        LabError: the other process held it for longer than `timeout`.
    """
    deadline = time.monotonic() + timeout
    told = False
    while (handle := _try(path)) is None:
        if not told:
            waiting()
            told = True
        if time.monotonic() > deadline:
            raise LabError(f"another process has held {path} for {timeout:.0f} s; see `fuser {path}`")
        time.sleep(0.2)
    try:
        yield
    finally:
        # Removed while still held: who opened it meanwhile finds that its file is not the one in the folder.
        path.unlink(missing_ok=True)
        os.close(handle)


def _try(path: Path) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None

"""Which kernel runs, and which one the next boot takes."""

from __future__ import annotations

import re
from pathlib import Path

from ansible.module_utils import slipway_kernels
from ansible.module_utils.slipway_kernels import numbers
from ansible.module_utils.slipway_modules import run


def running(root: Path = Path("/")) -> str:
    """The release of the kernel that runs."""
    return _text(root / "proc/sys/kernel/osrelease")


def boot_id(root: Path = Path("/")) -> str:
    """Another one after each boot."""
    return _text(root / "proc/sys/kernel/random/boot_id")


def next_boot(root: Path = Path("/")) -> str:
    """The release of the kernel that the next boot takes; empty where the host has none of its own, as a container."""
    return slipway_kernels.next_boot(root, run)


def newer(root: Path = Path("/")) -> str:
    """The kernel of the next boot where that is newer than the running one; empty elsewhere.

    An older one was chosen by somebody, and one that runs without a file of its own came from outside.
    """
    there, runs = next_boot(root), running(root)
    own = (root / "boot" / f"vmlinuz-{runs}").exists()
    return there if own and numbers(there) > numbers(runs) else ""


def rebuilt(installed: str, root: Path = Path("/")) -> bool:
    """Whether the running kernel is another build than the installed one of the same release, of this version of its package."""
    match = re.search(r" Debian (\S+) ", _text(root / "proc/version"))
    return match is not None and bool(installed) and match[1] != installed


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""

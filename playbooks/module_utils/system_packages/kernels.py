"""Which kernel runs, and which one the next boot takes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def running(root: Path = Path("/")) -> str:
    """The release of the kernel that runs."""
    return _text(root / "proc/sys/kernel/osrelease")


def boot_id(root: Path = Path("/")) -> str:
    """Another one after each boot."""
    return _text(root / "proc/sys/kernel/random/boot_id")


def next_boot(root: Path = Path("/")) -> str:
    """The release of the kernel that the next boot takes; empty where the host has none of its own, as a container."""
    try:
        done = subprocess.run(("grubby", "--default-kernel"), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pass
    else:
        if done.returncode == 0 and "vmlinuz-" in done.stdout:
            return done.stdout.strip().partition("vmlinuz-")[2]
    for link in ("vmlinuz", "boot/vmlinuz"):
        if (root / link).is_symlink():
            return (root / link).readlink().name.partition("vmlinuz-")[2]
    images = [image.name.partition("vmlinuz-")[2] for image in (root / "boot").glob("vmlinuz-*")]
    return max(images, key=numbers, default="")


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


def numbers(version: str) -> list[int]:
    """The numbers of a version, of which the later one is the larger list."""
    return [int(number) for number in re.findall(r"\d+", version)]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""

"""How fast a host reads the files that its engines load: the disk itself, past the page cache, for a few seconds.

A file is read by one reader in large blocks from its beginning, as engines load one. O_DIRECT goes past the cache: advice to drop
pages (posix_fadvise) is not heeded for those that a running engine has mapped, so without O_DIRECT nothing is said.
"""

from __future__ import annotations

import mmap
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MODELS = "var/lib/slipway/models"
LEAST = 64 << 20
"""Smaller files are read before a disk shows what it can."""
SECONDS = 2.0
BLOCK = 8 << 20
FILE_SYSTEMS = 3
_WEIGHTS = (".safetensors", ".gguf", ".bin")
_ABSOLUTE = re.compile(r"(?<![\w./-])/[\w./-]+")


class NoDirectError(Exception):
    """The file system reads through the page cache alone."""


@dataclass(frozen=True)
class Speed:
    """What one file showed of its file system."""

    path: str
    gb_s: float


def weights(root: Path) -> list[Path]:
    """The largest file of weights on each file system that has any: of models that were brought, and of those that units name."""
    named = {Path(text) for text in _ABSOLUTE.findall(" ".join(_commands(root)))}
    folders = [*sorted((root / MODELS).glob("*")), *sorted(root / str(path).lstrip("/") for path in named)]
    largest: dict[int, tuple[int, Path]] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*")) if (folder / "config.json").is_file() or _is_ours(folder) else [folder]:
            if file.suffix in _WEIGHTS and file.is_file():
                status = file.stat()
                if status.st_size >= LEAST and status.st_size > largest.get(status.st_dev, (0, file))[0]:
                    largest[status.st_dev] = (status.st_size, file)
    return [file for _, file in sorted(largest.values())[-FILE_SYSTEMS:]]


def speed(file: Path, seconds: float = SECONDS) -> Speed:
    """Reads for so long, or to the end; in 10^9 bytes a second.

    Raises:
        NoDirectError: it can't be read past the cache.
        OSError: it can't be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        raise NoDirectError from None
    # Of pages, since O_DIRECT wants its memory aligned.
    with mmap.mmap(-1, BLOCK) as block:
        try:
            began, read = time.monotonic(), 0
            while time.monotonic() - began < seconds:
                got = os.preadv(descriptor, [block], read)
                read += got
                if got < BLOCK:
                    break
        finally:
            os.close(descriptor)
        return Speed(str(file), read / 1e9 / max(time.monotonic() - began, 1e-6))


def _is_ours(folder: Path) -> bool:
    return folder.parent.name == "models" and (folder / ".slipway.json").is_file()


def _commands(root: Path) -> Iterator[str]:
    for unit in sorted((root / "etc/systemd/system").glob("slipway-*.service")):
        for line in unit.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("ExecStart="):
                yield line

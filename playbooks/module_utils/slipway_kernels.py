"""Kernels by their releases: which is newer, which one the next boot takes, and for which a driver's modules do not build."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path


def numbers(version: str) -> list[int]:
    """The numbers of a kernel's or package's version, of which the later one is the larger list."""
    return [int(number) for number in re.findall(r"\d+", version)]


def next_boot(root: Path, run: Callable[..., tuple[int, str]]) -> str:
    """The release of the kernel that the next boot takes; empty where the host has none of its own, as a container.

    Args:
        root: the host's.
        run: exit status and output of a command.
    """
    status, said = run("grubby", "--default-kernel")
    if status == 0 and "vmlinuz-" in said:
        return said.strip().partition("vmlinuz-")[2]
    for link in ("vmlinuz", "boot/vmlinuz"):
        if (root / link).is_symlink():
            return (root / link).readlink().name.partition("vmlinuz-")[2]
    images = [image.name.partition("vmlinuz-")[2] for image in (root / "boot").glob("vmlinuz-*")]
    return max(images, key=numbers, default="")


def broken_from(kernel: str, system: str, known: Iterable[dict[str, str]]) -> str:
    """The first of the kernels that a branch's modules do not build for, where this is one of them; else empty.

    Args:
        kernel: its release.
        system: such as ``debian-12`` or ``redhat-9``.
        known: by ``system`` (how that begins), ``first`` and ``below``.
    """
    within = (
        each["first"]
        for each in known
        if system.startswith(each["system"]) and numbers(each["first"]) <= numbers(kernel) < numbers(each["below"])
    )
    return next(within, "")

"""Which stacks a change touches, from two checkouts: the folder before it and the folder after it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from slipway.errors import UserMistake

SHARED = (
    "Pulumi.yaml",
    "__main__.py",
    "components",
    "playbooks",
    "policies",
    "provider",
    "pyproject.toml",
    "requirements.txt",
    "slipway",
)
"""What all stacks are made of. A difference there can reach every one of them."""
CONFIGURATIONS = "policies/config"
"""The stacks' own policy configurations: below `policies`, and each of them one stack's alone."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}")
_SECTION = "slipway:platform"


class ChangesError(UserMistake):
    """The two folders can't be compared; one line with what is wrong and what to do."""


class How(StrEnum):
    """What a change does to a stack."""

    NEW = "new"
    REMOVED = "removed"
    CHANGED = "changed"
    """Its own files differ."""
    SHARED = "shared"
    """Only code that all stacks share differs."""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One stack that a change touches."""

    name: str
    how: How
    files: tuple[str, ...]
    """Its own files that differ, from the checkout's folder on."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All that a change touches."""

    stacks: tuple[Changed, ...]
    """By name."""
    shared: tuple[str, ...]
    """Files of code that all stacks share and that differ."""


def changes(base: Path, head: Path) -> Changes:
    """What differs between the checkouts `base` and `head`.

    Raises:
        ChangesError: a folder is no checkout, or a stack has a name that can't go into a command line.
    """
    for folder in (base, head):
        if not (folder / "stacks").is_dir():
            raise ChangesError(
                f"{folder}: holds no folder stacks, so nothing could be compared; give a checkout's folder"
            )
    shared = tuple(_differing(base, head))
    before, after = _names(base), _names(head)
    found = []
    for name in sorted(before | after):
        files = tuple(_own(name, base, head))
        if name not in before:
            how = How.NEW
        elif name not in after:
            how = How.REMOVED
        elif files:
            how = How.CHANGED
        elif shared:
            how = How.SHARED
        else:
            continue
        found.append(Changed(name=name, how=how, files=files))
    return Changes(stacks=tuple(found), shared=shared)


def _names(root: Path) -> set[str]:
    names = {file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in root.glob("stacks/Pulumi.*.yaml")}
    for name in sorted(names):
        # Names become jobs, files and arguments: a stranger's branch may choose from letters that mean nothing to a shell.
        if not _NAME.fullmatch(name):
            raise ChangesError(
                f"stacks: {name!r} can't name a stack that is reviewed; nothing was compared: "
                "rename the file, with letters, digits, _ and - alone"
            )
    return names


def _own(name: str, base: Path, head: Path) -> Iterator[str]:
    """The stack's own files that differ: its settings, its policy configuration, its catalogue."""
    settings = f"stacks/Pulumi.{name}.yaml"
    catalogues = {found for root in (base, head) if (found := _catalogue(root / settings)) is not None}
    for file in (settings, f"{CONFIGURATIONS}/{name}.json", *sorted(catalogues)):
        if _content(base / file) != _content(head / file):
            yield file


def _catalogue(file: Path) -> str | None:
    """The file of further GPUs, tiers and models that the stack names."""
    try:
        document: Any = yaml.safe_load(_content(file) or b"")
        named = document["config"][_SECTION]["catalog"]
    except (ValueError, yaml.YAMLError, LookupError, TypeError):
        # Settings that can't be read are the check's to refuse.
        return None
    return named if isinstance(named, str) else None


def _differing(base: Path, head: Path) -> Iterator[str]:
    for name in SHARED:
        files = sorted({*_files(base, name), *_files(head, name)})
        yield from (file for file in files if _content(base / file) != _content(head / file))


def _files(root: Path, name: str) -> Iterator[str]:
    """The files at or below `name`, from `root` on; caches and hidden folders apart."""
    if (root / name).is_file():
        yield name
    for folder, below, files in os.walk(root / name):
        below[:] = [
            each for each in below if not each.startswith((".", "__pycache__")) and not each.endswith(".egg-info")
        ]
        for file in files:
            path = (Path(folder) / file).relative_to(root).as_posix()
            if not path.endswith(".pyc") and not path.startswith(f"{CONFIGURATIONS}/"):
                yield path


def _content(file: Path) -> bytes | None:
    """None where there is none. Of a link, where it leads: what it leads to may be outside the checkout."""
    try:
        return bytes(file.readlink()) if file.is_symlink() else file.read_bytes()
    except OSError:
        return None

"""Which stacks a change touches, from two checkouts: the folder before it and the folder after it."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from slipway.errors import UserMistake

APART = (
    ".ansible-lint",
    ".editorconfig",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".pre-commit-hooks.yaml",
    ".shellcheckrc",
    ".vscode/",
    ".yamllint",
    "LICENSE",
    "Makefile",
    "bench/",
    "docs/",
    "tests/",
)
"""What no stack is made of, and no review. Whatever else differs can reach every stack: a list of what does would miss a new
module beside the program, or a link."""
PIPELINE = "docs/gitlab-review.yml"
"""The one document that is run."""
QUIET = ("playbooks/",)
"""Of what all stacks share: what runs on hosts alone. The rest runs where a change is reviewed."""
CONFIGURATIONS = "policies/config"
"""The stacks' own policy configurations: below `policies`, and each of them one stack's alone."""

_NOT_OURS = re.compile(r"\.git|\.venv|\.ansible|\.hypothesis|\.\w+_cache|__pycache__|review-out|.*\.egg-info")
"""Folders that tools make; where git knows what belongs to the checkout, it is asked instead."""
_OWN = re.compile(rf"(stacks/Pulumi\.[^/]*\.yaml|{CONFIGURATIONS}/[^/]*\.json)")
_CATALOGUE = re.compile(
    r"(?!\.|(cli|components|playbooks|policies|provider|slipway|tools)/|Pulumi\.yaml).*\.(ya?ml|json)"
)
_INVENTORY = re.compile(
    r"(?!\.|(cli|components|playbooks|policies|provider|slipway|stacks|tools)/|Pulumi\.yaml)"
    r"(.*\.(ya?ml|json|ini)|[^/]+/([^/]+/)*[^/.]+)"
)
"""What stands in an inventory, or beside it: what no interpreter takes for code."""
_BESIDE = ("group_vars", "host_vars")
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
    """Files that all stacks share and that differ."""

    @property
    def judges(self) -> tuple[str, ...]:
        """Those of them that a review rests on: its code, and the code that it runs."""
        return tuple(file for file in self.shared if not file.startswith(QUIET))


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
    before, after = _names(base), _names(head)
    for name in sorted(after):
        # Names become jobs, files and arguments: a stranger's branch may choose from letters that mean nothing to a shell.
        if not _NAME.fullmatch(name):
            raise ChangesError(
                f"stacks: {name!r} can't name a stack that is reviewed; nothing was compared: "
                "rename the file, with letters, digits, _ and - alone"
            )
    named = {file for names, root in ((before, base), (after, head)) for file in _named(names, root)}
    shared = tuple(_differing(base, head, named))
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
    return {file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in root.glob("stacks/Pulumi.*.yaml")}


def _named(names: set[str], root: Path) -> set[str]:
    """The files that stacks name as catalogues and inventories. Code that a stack names is code all the same."""
    found: set[str] = set()
    for name in names:
        settings = _settings(root / f"stacks/Pulumi.{name}.yaml")
        catalogue = _catalogue(settings)
        if catalogue is not None and _CATALOGUE.fullmatch(catalogue):
            found.add(catalogue)
        found |= {file for file in _inventories(settings, root) if _INVENTORY.fullmatch(file)}
    return found - {PIPELINE}


def _own(name: str, base: Path, head: Path) -> Iterator[str]:
    """The stack's own files that differ: its settings, its policy configuration, its catalogue, its inventories."""
    file = f"stacks/Pulumi.{name}.yaml"
    named: set[str] = set()
    for settings in (_settings(base / file), _settings(head / file)):
        catalogue = _catalogue(settings)
        named |= set() if catalogue is None else {catalogue}
        for root in (base, head):
            named |= _inventories(settings, root)
    for each in (file, f"{CONFIGURATIONS}/{name}.json", *sorted(named)):
        if _content(base / each) != _content(head / each):
            yield each


def _settings(file: Path) -> Mapping[str, Any]:
    """What the stack says; nothing where it can't be read, which is the check's to refuse."""
    try:
        document: Any = yaml.safe_load((_content(file) or (False, b""))[1])
        found = document["config"][_SECTION]
    except (ValueError, yaml.YAMLError, LookupError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _catalogue(settings: Mapping[str, Any]) -> str | None:
    """The file of further GPUs, tiers and models that the stack names."""
    named = settings.get("catalog")
    return named if isinstance(named, str) else None


def _inventories(settings: Mapping[str, Any], root: Path) -> set[str]:
    """The inventories that its pools name, as far as they lie in the checkout, and the variables beside them."""
    pools = settings.get("pools")
    found: set[str] = set()
    for pool in pools.values() if isinstance(pools, Mapping) else ():
        section = pool.get("inventory") if isinstance(pool, Mapping) else None
        file = section.get("file") if isinstance(section, Mapping) else None
        if not isinstance(file, str) or "\0" in file:
            continue
        place = posixpath.normpath(file)
        if place == "." or place.startswith(("/", "~", "../")) or place == "..":
            continue
        folder = root / place if (root / place).is_dir() else (root / place).parent
        beside = {each for name in _BESIDE for each in (folder / name).rglob("*")}
        inside = set(folder.iterdir()) if folder == root / place else set()
        found |= {place, *(each.relative_to(root).as_posix() for each in beside | inside if not each.is_dir())}
    return found


def _differing(base: Path, head: Path, catalogues: set[str]) -> Iterator[str]:
    """What all stacks share and what differs."""
    for file in sorted({*_files(base), *_files(head)}):
        if file in catalogues or _OWN.fullmatch(file) or (_is_apart(file) and file != PIPELINE):
            continue
        if _content(base / file) != _content(head / file):
            yield file


def _is_apart(file: str) -> bool:
    """Of a folder what lies in it: a link in its place is none of `APART`."""
    return file.endswith(".md") or any(file.startswith(name) if name.endswith("/") else file == name for name in APART)


def _files(root: Path) -> Iterator[str]:
    """All files and links, from `root` on: of a checkout what git knows, caches that somebody committed included."""
    if (root / ".git").exists():
        tracked, others = _listed(root, "--cached"), _listed(root, "--others", "--exclude-standard")
        if tracked is not None and others is not None:
            yield from tracked
            yield from (name for name in others if not any(map(_NOT_OURS.fullmatch, name.split("/"))))
            return
    for place, below, files in os.walk(root):
        folder = Path(place)
        links = [name for name in below if (folder / name).is_symlink()]
        below[:] = [name for name in below if name not in links and not _NOT_OURS.fullmatch(name)]
        for name in (*files, *links):
            if not _NOT_OURS.fullmatch(name):
                yield (folder / name).relative_to(root).as_posix()


def _listed(root: Path, *which: str) -> list[str] | None:
    """What git lists; None where it can't tell."""
    done = subprocess.run(["git", "-C", root, "ls-files", "-z", *which], capture_output=True, check=False)
    return None if done.returncode else [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _content(file: Path) -> tuple[bool, bytes] | None:
    """None where there is none. Of a link, where it leads: what it leads to may be outside the checkout."""
    try:
        return (True, os.fsencode(file.readlink())) if file.is_symlink() else (False, file.read_bytes())
    except OSError:
        return None

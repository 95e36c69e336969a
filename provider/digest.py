"""A digest over all files that make a role: it changes with their content and with nothing else.

Counted are the role's own files, those of the roles it depends on, includes or imports, and the modules and plugins beside
`roles/`, which any role may use. Not counted are times, owners, the checkout's place, caches, editors' leftovers, READMEs and
`molecule/`. A role named by a template can be any, so all roles count then.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SHARED = ("action_plugins", "filter_plugins", "library", "lookup_plugins", "module_utils", "test_plugins")

_IGNORED = re.compile(r"^(?:__pycache__|\.git|\.DS_Store|molecule|README(?:\..*)?|.*\.py[co]|.*~|\.#.*|\..*\.sw.)$")
_INCLUDES = frozenset({"include_role", "import_role"})
_PARSED = ("tasks", "handlers", "meta")


def digest(playbooks: Path, role: str) -> str:
    """`sha256:…` of the role as it would be applied now.

    Raises:
        OSError: a file can't be read.
    """
    total = hashlib.sha256()
    folders = [playbooks / "roles" / name for name in sorted(closure(playbooks / "roles", role))]
    folders += [playbooks / name for name in SHARED]
    for folder in folders:
        for file in sorted(_files(folder)):
            state = file.stat()
            content = _content(str(file), state.st_mtime_ns, state.st_size, state.st_ino)
            executable = "x" if state.st_mode & 0o100 else "-"
            total.update(f"{file.relative_to(playbooks).as_posix()}\0{executable}\0{content}\n".encode())
    return f"sha256:{total.hexdigest()}"


def closure(roles: Path, role: str) -> set[str]:
    """The role and all local roles that it leads to."""
    found: set[str] = set()
    pending = [role]
    while pending:
        name = pending.pop()
        if name in found or not (roles / name).is_dir():
            continue
        found.add(name)
        for other in _mentioned(roles / name):
            if "{{" in other:
                return {folder.name for folder in roles.iterdir() if folder.is_dir()}
            pending.append(other)
    return found


def _mentioned(folder: Path) -> Iterator[str]:
    for part in _PARSED:
        for file in sorted(_files(folder / part)):
            if file.suffix in {".yml", ".yaml"}:
                try:
                    document = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 -- a SafeLoader
                except (yaml.YAMLError, UnicodeDecodeError):
                    continue  # Ansible says so better, with the place
                yield from _roles(document)
                if part == "meta" and isinstance(document, dict):
                    yield from _dependencies(document.get("dependencies"))


def _roles(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _roles(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if str(key).rsplit(".", 1)[-1] in _INCLUDES:
                if isinstance(value, dict) and isinstance(value.get("name"), str):
                    yield value["name"]
                elif isinstance(value, str) and (match := re.search(r"name=(\S+)", value)):
                    yield match[1]
            else:
                yield from _roles(value)


def _dependencies(node: Any) -> Iterator[str]:
    for item in node if isinstance(node, list) else []:
        name = (item.get("role") or item.get("name")) if isinstance(item, dict) else item
        if isinstance(name, str):
            yield name


def _files(folder: Path) -> Iterator[Path]:
    visited: set[Path] = set()
    for current, folders, files in os.walk(folder, followlinks=True):
        real = Path(current).resolve()
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not _IGNORED.match(name)]
        yield from (path for name in files if not _IGNORED.match(name) and (path := Path(current) / name).is_file())


@functools.lru_cache(maxsize=4096)
def _content(path: str, _mtime: int, _size: int, _inode: int) -> str:
    """A file's digest; read once per command, as all Playbooks share the modules and many the roles."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Loader(yaml.SafeLoader):
    """Reads Ansible's YAML for its structure: tags such as !vault and !unsafe stand for nothing here."""


_Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)

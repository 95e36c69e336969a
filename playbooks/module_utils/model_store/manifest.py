"""What a model's folder ought to hold: of each file its size and SHA-256, kept in the folder itself.

The manifest is written last, so a folder without one is not whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

MANIFEST = ".slipway-manifest.json"
MARK = ".slipway.json"
"""What tells one version from another; engines are started anew when it changes."""
INCOMPLETE = "not whole\n"
"""The mark while files take their places."""
OWN = frozenset({MANIFEST, MARK})
FORMAT = 1
BLOCK = 1 << 22

Files = dict[str, dict[str, Any]]
"""By the path in the folder: ``size`` in bytes, and ``sha256`` or, of a hub's small files, ``git`` (the SHA-1 of a blob)."""


class StoreError(Exception):
    """It can't be done; the text is for the person at the keyboard."""


def checked(files: Files) -> Files:
    """The files, once each of them has one name, below the folder, and a size.

    Raises:
        StoreError: one has not, or there is none.
    """
    if not files:
        raise StoreError("there is no file to bring; look whether the source is the right one")
    for path, entry in files.items():
        parts = path.split("/")
        why = ""
        if not path.isprintable():
            why = "it has characters that can't be shown"
        elif {"", ".", ".."} & set(parts):
            why = "it would leave the model's folder, or its place there can be written in other ways too"
        elif parts[0].startswith(".slipway"):
            why = "names that begin with .slipway are Slipway's own"
        if why:
            raise StoreError(f"{path!r} can't be a file of a model: {why}; rename it at the source, or leave it out")
        size = entry.get("size")
        if not isinstance(size, int) or size < 0:
            raise StoreError(f"the size of {path} is not known, so nobody could tell a part of it from the whole")
    return files


def read(folder: Path) -> dict[str, Any] | None:
    """``{"record": digest, "files": {…}}`` of a folder; None where it is not whole."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["format"] != FORMAT or not isinstance(content["record"], str):
            return None
        return {"record": content["record"], "files": checked(content["files"])}
    except (OSError, ValueError, KeyError, TypeError, StoreError):
        return None


def write(file: Path, text: str) -> None:
    """A file that appears whole or not at all, and is on the disk then."""
    new = file.with_name(f"{file.name}.new")
    with new.open("w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    new.chmod(0o644)
    new.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Have a file or folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def text_of(record: str, files: Files) -> str:
    """A manifest as it is kept."""
    return json.dumps({"format": FORMAT, "record": digest_of(record), "files": files}, indent=1, sort_keys=True) + "\n"


def digest_of(record: str) -> str:
    """What a manifest keeps of the record that it goes with."""
    return hashlib.sha256(record.encode()).hexdigest()


def size_of(path: Path) -> int | None:
    """Bytes of a file; None where there is none, or it is a link or folder."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if path.is_file() and not path.is_symlink() else None


def judged(folder: Path, files: Files, names: list[str]) -> dict[str, str]:
    """Of each of some files its SHA-256; empty where it is not there, or not what it ought to be.

    Several are read at the same time: one core reads less than a fast disk gives.
    """

    def judge(name: str) -> str:
        if size_of(folder / name) != files[name]["size"]:
            return ""
        return _verified(folder / name, files[name])

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return dict(zip(names, pool.map(judge, names)))


def wrong(folder: Path, files: Files) -> list[str]:
    """Files that are missing or not what they ought to be."""
    return [name for name, found in judged(folder, files, sorted(files)).items() if not found]


def strangers(folder: Path, files: Files) -> list[str]:
    """What else lies in the folder: an engine would load a shard of another model as a part of this one."""
    found = []
    for current, folders, names in os.walk(folder):
        links = [name for name in folders if Path(current, name).is_symlink()]
        for name in (*names, *links):
            path = str(Path(current, name).relative_to(folder))
            if path not in files and path not in OWN:
                found.append(path)
    return sorted(found)


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    found = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def _verified(path: Path, entry: dict[str, Any]) -> str:
    sha256 = hashlib.sha256()
    git = hashlib.sha1(f"blob {entry['size']}\0".encode(), usedforsecurity=False)
    known = entry.get("sha256")
    by_git = not known and entry.get("git")
    with path.open("rb") as opened:
        while block := opened.read(BLOCK):
            sha256.update(block)
            if by_git:
                git.update(block)
    if known:
        return sha256.hexdigest() if sha256.hexdigest() == known else ""
    return sha256.hexdigest() if not by_git or git.hexdigest() == by_git else ""

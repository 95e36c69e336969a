"""Folders: of the store on another host or on this one, or brought by somebody else. By rsync, or linked."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .base import PATIENCE_S, Source
from .manifest import MANIFEST, OWN, Files, StoreError, read, sha256_of
from .programs import run


class Store(Source):
    """A model's folder in the store, by rsync: of another host (``rsync://…``), or of this one."""

    pinned = False

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def files(self) -> Files:
        """By its manifest."""
        with tempfile.TemporaryDirectory(prefix=".slipway-") as folder:
            target = Path(folder, "manifest")
            run(["rsync", *self._timeouts(), f"{self._url}/{MANIFEST}", str(target)], self._said)
            target.rename(target.with_name(MANIFEST))
            found = read(Path(folder))
        if found is None:
            raise StoreError(f"the manifest of {self._url} can't be read; run the `up` again, it is written anew")
        return found["files"]

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:
        """Several files one after the other: the store's disk and network are shared by all hosts."""
        how = ("--append", "--files-from=-", "--from0", "--copy-links", *self._timeouts())
        # From the folder above: the daemon of rsync 3.5.0 finds no file below a folder that the address names.
        above, _, last = self._url.rpartition("/")
        run(
            ["rsync", *how, f"{above}/", f"{folder}/"],
            self._said,
            given="\0".join(f"{last}/./{name}" for name in names),
            seconds=seconds,
        )
        return ""

    def _timeouts(self) -> tuple[str, ...]:
        remote = self._url.startswith("rsync://")
        return (f"--timeout={PATIENCE_S}", *(("--contimeout=15",) if remote else ()))

    def _said(self, text: str) -> StoreError:
        return StoreError(
            f"{self._url} does not give the files: {text}; see that slipway-store.service runs on the store's host and that no "
            "firewall is between, then repeat: what has come is kept"
        )


class Beside(Store):
    """A model's folder in the store of this very host: linked, where both are on one file system."""

    def needs(self, names: list[str], folder: Path, size: Callable[[str], int]) -> int:
        """Nothing where it is linked."""
        return 0 if self._near(folder) else super().needs(names, folder, size)

    def files(self) -> Files:
        """By its manifest."""
        found = read(Path(self._url))
        if found is None:
            raise StoreError(f"{self._url} is not whole; run the `up` again")
        return found["files"]

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:
        """Links, or copies."""
        if not self._near(folder):
            return super().bring(names, folder, seconds)
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            os.link(Path(self._url, name), target)
        return ""

    def _near(self, folder: Path) -> bool:
        return Path(self._url).stat().st_dev == folder.stat().st_dev


class Folder(Store):
    """A folder of this host that somebody else brought: read where it lies, copied, and not changed."""

    def files(self) -> Files:
        """All that is in it, read once for the checksums."""
        top = Path(self._url)
        if not top.is_dir():
            raise StoreError(
                f"{top} is no folder of this host; put the model there, or name another in source.store_path"
            )
        return counted(top)

    def _said(self, text: str) -> StoreError:
        return StoreError(f"{self._url} can't be copied: {text}; what has come is kept")


def counted(top: Path) -> Files:
    """All files of a folder with size and SHA-256, links followed; what a hub's client keeps beside its downloads is none."""
    found = {}
    for path in sorted(_below(top)) if top.is_dir() else [top]:
        name = path.name if path == top else str(path.relative_to(top))
        if path.is_file() and name not in OWN and not name.startswith(".cache/"):
            found[name] = path
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        sums = list(pool.map(sha256_of, found.values()))
    return {name: {"size": path.stat().st_size, "sha256": sum_} for (name, path), sum_ in zip(found.items(), sums)}


def _below(top: Path) -> Iterator[Path]:
    """What is no folder below a folder, in linked ones too; of folders that a link leads back to, nothing again."""
    ways: dict[str, frozenset[tuple[int, int]]] = {str(top): frozenset()}
    for current, folders, names in os.walk(top, followlinks=True):
        status = Path(current).stat()
        above = ways.pop(current) | {(status.st_dev, status.st_ino)}
        yield from (Path(current, name) for name in names)
        inner = []
        for name in folders:
            status = Path(current, name).stat()
            if (status.st_dev, status.st_ino) not in above:
                ways[f"{current}/{name}"] = above
                inner.append(name)
        folders[:] = inner

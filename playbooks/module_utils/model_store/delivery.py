"""One model's way into its folder, in rounds: a killed one is gone on with, and nothing half-done is ever taken for whole.

Files arrive in a folder beside the model's, are verified there by their checksums, and only then take their places; the manifest
and the mark are written last. So a folder with both is whole, whatever was killed and whenever.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import manifest
from .base import ChangedError, FullError, Source
from .manifest import INCOMPLETE, MANIFEST, MARK, Files, StoreError, checked, size_of
from .space import amount, expect, filled, free

PLAN = ".slipway-plan.json"
_LOCK_PATIENCE_S = 600
_TRIES = 2
_IDLE_ROUNDS = 3


def incoming_of(target: Path) -> Path:
    """Where the files of a model's folder arrive; on the same file system, so that they can take their places at once."""
    return target.with_name(f".{target.name}.incoming")


@dataclass(frozen=True)
class Round:
    """How far a delivery has come."""

    done: bool
    changed: bool
    """Whether anything in the model's folder was, or in check mode would be, changed."""
    there: int = 0
    """Bytes."""
    total: int = 0
    missing: tuple[str, ...] = ()
    """Files that have not come, or not wholly."""
    said: str = ""
    """For people."""


class Delivery:
    """Brings what a source has to a folder.

    `record` is the content of the mark; files of another record are another model.
    """

    def __init__(self, target: Path, record: str, what: str) -> None:
        self.target, self.record, self.what = target, record, what
        self.incoming = incoming_of(target)

    def is_whole(self, files: Files | None = None) -> bool:
        """Whether the folder holds what it ought to: of this record, and where `files` are given, just those."""
        known = manifest.read(self.target)
        try:
            mark = (self.target / MARK).read_text(encoding="utf-8")
        except OSError:
            return False
        if known is None or mark != self.record or known["record"] != manifest.digest_of(self.record):
            return False
        if files is not None and not _same(files, known["files"]):
            return False
        return not manifest.strangers(self.target, known["files"]) and not manifest.wrong(self.target, known["files"])

    def step(self, source: Source, seconds: float) -> Round:
        """One round of at most so many seconds of transfer.

        Raises:
            StoreError: it does not work; what has come is kept.
        """
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            plan = self._plan()
            if plan is not None and source.is_told and not _same(source.files(), plan["files"]):
                plan = None
            if plan is None:
                if source.pinned and self.is_whole():
                    return self._nothing_to_do()
                try:
                    files = checked(source.files())
                except StoreError:
                    # Nobody has to be asked about what is there.
                    if self.is_whole():
                        return self._nothing_to_do()
                    raise
                if self.is_whole(files):
                    return self._nothing_to_do()
                plan = self._begin(source, files)
            return self._on(source, plan, seconds)

    def _on(self, source: Source, plan: dict[str, Any], seconds: float) -> Round:
        if plan.get("placing"):
            return self._take_places(plan)
        began, before = time.monotonic(), self._there(plan)
        why = ""
        missing = self._missing(plan)
        if missing:
            why = self._bring(source, plan, missing, seconds)
            self._expect_the_same(source, plan)
            missing = self._missing(plan)
        there, total = self._there(plan), _total(plan)
        if missing:
            self._expect_progress(source, plan, there, why)
            rate = (there - before) / max(time.monotonic() - began, 0.001)
            left = f", {_span((total - there) / rate)} left" if rate > 0 else ""
            said = f"{self.what}: {amount(there)} of {amount(total)}, {amount(rate)}/s{left}"
            return Round(done=False, changed=True, there=there, total=total, missing=tuple(missing), said=said)
        damaged = self._verify(source, plan)
        if damaged:
            again = f"{self.what}: {', '.join(damaged[:3])} came damaged and is fetched again"
            return Round(
                done=False, changed=True, there=self._there(plan), total=total, missing=tuple(damaged), said=again
            )
        return self._take_places(plan)

    def _bring(self, source: Source, plan: dict[str, Any], missing: list[str], seconds: float) -> str:
        """More of what is missing; why no more came, where the source says it."""
        where, files = self.target.parent, plan["files"]
        needed = source.needs(missing, self.incoming, lambda name: int(files[name]["size"]))
        if needed > free(where):
            raise filled(where, needed)
        try:
            return source.bring(missing, self.incoming, seconds)
        except FullError:
            raise filled(where, _total(plan) - self._there(plan)) from None
        except ChangedError:
            # The next `up` asks anew what there is.
            (self.incoming / PLAN).unlink()
            raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise filled(where, _total(plan) - self._there(plan)) from None
            raise StoreError(f"{self.incoming} can't be written: {error.strerror}") from None

    def _expect_the_same(self, source: Source, plan: dict[str, Any]) -> None:
        """A file that has become more than it ought to be is another one."""
        for name in plan["fetch"] if source.pinned else ():
            if (size_of(self.incoming / name) or 0) > plan["files"][name]["size"]:
                (self.incoming / PLAN).unlink()
                raise ChangedError(
                    f"{source.called(name)} of {self.what} is larger than when its delivery began: it was changed meanwhile; see "
                    "that it is the right one, then repeat: the files are fetched from their beginning"
                )

    def _expect_progress(self, source: Source, plan: dict[str, Any], there: int, why: str) -> None:
        """Rounds after which no more is there than ever before are not gone on with for ever."""
        idle = 0 if there > plan.get("most", 0) or source.is_told else plan.get("idle", 0) + 1
        plan["most"] = max(there, plan.get("most", 0))
        if idle >= _IDLE_ROUNDS:
            plan["idle"] = 0
            self._keep(plan)
            raise StoreError(
                f"{self.what}: nothing comes any more{f' ({why})' if why else ''}; look at the source and the network, then "
                "repeat: what has come is kept"
            )
        plan["idle"] = idle
        self._keep(plan)

    def _nothing_to_do(self) -> Round:
        return Round(done=True, changed=self._settle(), said=f"{self.what}: whole")

    def _plan(self) -> dict[str, Any] | None:
        """What was begun before, where it is of the same record."""
        try:
            plan: dict[str, Any] = json.loads((self.incoming / PLAN).read_text(encoding="utf-8"))
            if plan["record"] == self.record and checked(plan["files"]):
                return plan
        except (OSError, ValueError, KeyError, TypeError, StoreError):
            pass
        return None

    def _begin(self, source: Source, files: Files) -> dict[str, Any]:
        """Looks what there is to fetch, and whether there is room, before anything is written."""
        for path in self.incoming.iterdir():
            remove(path)
        there = {} if not self.target.is_dir() else manifest.judged(self.target, files, sorted(files))
        fetch = [name for name in sorted(files) if not there.get(name)]
        near = self._near(files, fetch)
        far = [name for name in fetch if name not in near]
        needed = source.needs(far, self.incoming, lambda name: int(files[name]["size"]))
        expect(self.target.parent, needed, self.what)
        for name, path in near.items():
            (self.incoming / name).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                os.link(path, self.incoming / name)
        known = {name: {**entry, "sha256": there.get(name) or entry.get("sha256", "")} for name, entry in files.items()}
        plan = {"record": self.record, "files": known, "fetch": fetch, "verified": [], "tries": {}}
        self._keep(plan)
        return plan

    def _near(self, files: Files, fetch: list[str]) -> dict[str, Path]:
        """Of what is to be fetched, what another version beside this one has already."""
        wanted = {files[name]["sha256"]: name for name in fetch if files[name].get("sha256")}
        found: dict[str, Path] = {}
        for folder in sorted(self.target.parent.iterdir()) if wanted else []:
            known = manifest.read(folder) if folder not in (self.target, self.incoming) else None
            for path, entry in (known or {"files": {}})["files"].items():
                name = wanted.get(entry.get("sha256", ""))
                if name and size_of(folder / path) == entry["size"]:
                    found[name] = folder / path
        return found

    def _missing(self, plan: dict[str, Any]) -> list[str]:
        found = []
        for name in plan["fetch"]:
            size = size_of(self.incoming / name)
            if size is not None and size > plan["files"][name]["size"]:
                (self.incoming / name).unlink()
                size = None
            if size != plan["files"][name]["size"]:
                found.append(name)
        return found

    def _there(self, plan: dict[str, Any]) -> int:
        return sum(size_of(self.incoming / name) or 0 for name in plan["fetch"])

    def _verify(self, source: Source, plan: dict[str, Any]) -> list[str]:
        """What came damaged; it is gone then, and fetched again once."""
        names = [name for name in plan["fetch"] if name not in plan["verified"]]
        found = manifest.judged(self.incoming, plan["files"], names)
        damaged = [name for name in names if not found[name]]
        for name in names:
            if found[name]:
                plan["files"][name]["sha256"] = found[name]
                plan["verified"].append(name)
            else:
                (self.incoming / name).unlink()
                plan["tries"][name] = plan["tries"].get(name, 0) + 1
        self._keep(plan)
        lost = [name for name in damaged if plan["tries"][name] >= _TRIES]
        if lost:
            (self.incoming / PLAN).unlink()
            raise StoreError(
                f"{source.called(lost[0])} of {self.what} came twice with another checksum than it ought to have; the source "
                "holds a damaged or another file: verify it there (slipway store verify), and repeat"
            )
        return damaged

    def _take_places(self, plan: dict[str, Any]) -> Round:
        """Everything has come and is verified. A run that is killed in here is gone on with here."""
        files: Files = {
            name: {"size": entry["size"], "sha256": entry["sha256"]} for name, entry in plan["files"].items()
        }
        plan["placing"] = True
        self._keep(plan)
        self.target.mkdir(exist_ok=True)
        self.target.chmod(0o755)
        # From here on until the end the folder is not whole.
        manifest.write(self.target / MARK, INCOMPLETE)
        with contextlib.suppress(FileNotFoundError):
            (self.target / MANIFEST).unlink()
        for name in plan["fetch"]:
            path = self.incoming / name
            if not path.exists():
                continue  # it has its place since a round that was killed
            place = self.target / name
            _make_way(self.target, name)
            manifest.sync(path)
            path.replace(place)
        for name in manifest.strangers(self.target, files):
            remove(self.target / name)
        for current, folders, names in os.walk(self.target, topdown=False):
            if not folders and not names and Path(current) != self.target:
                Path(current).rmdir()
        self._settle(files)
        manifest.write(self.target / MANIFEST, manifest.text_of(self.record, files))
        manifest.write(self.target / MARK, self.record)
        for path in self.incoming.iterdir():
            remove(path)
        total = _total(plan)
        return Round(done=True, changed=True, there=total, total=total, said=f"{self.what}: {amount(total)} verified")

    def _settle(self, files: Files | None = None) -> bool:
        """Owner and modes: root's, for everybody to read. Whether any was otherwise."""
        known = files if files is not None else (manifest.read(self.target) or {"files": {}})["files"]
        wanted = {self.target / name: 0o644 for name in (*known, MANIFEST, MARK)}
        wanted |= {self.target / parent: 0o755 for name in known for parent in Path(name).parents}
        changed = False
        for path, mode in wanted.items():
            if not path.exists():
                continue
            status = path.stat()
            if status.st_mode & 0o7777 != mode or (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(path, os.geteuid(), os.getegid())
                path.chmod(mode)
                changed = True
        return changed

    def _keep(self, plan: dict[str, Any]) -> None:
        manifest.write(self.incoming / PLAN, json.dumps(plan))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time: a killed `up` may have left a round that still runs for some seconds."""
        with locked(self.incoming, self.what, _LOCK_PATIENCE_S):
            yield


@contextlib.contextmanager
def locked(folder: Path, what: str, patience_s: float) -> Iterator[None]:
    """Have a folder of arriving files for oneself; it is made, and taken away where it is empty in the end.

    Raises:
        StoreError: another run has it for longer than that.
    """
    end = time.monotonic() + patience_s
    while True:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have ended, and taken the folder away.
            if folder.is_dir() and os.fstat(descriptor).st_ino == folder.stat().st_ino:
                break
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(descriptor)
                raise StoreError(
                    f"{what} is being fetched by another run on this host; wait for its end, then repeat"
                ) from None
        os.close(descriptor)
        time.sleep(0.1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()
        os.close(descriptor)


def _total(plan: dict[str, Any]) -> int:
    return sum(plan["files"][name]["size"] for name in plan["fetch"])


def _same(files: Files, known: Files) -> bool:
    """Whether a source's files are those of a manifest, as far as the source tells."""
    return files.keys() == known.keys() and all(
        entry["size"] == known[name]["size"] and entry.get("sha256") in (None, "", known[name]["sha256"])
        for name, entry in files.items()
    )


def _make_way(top: Path, name: str) -> None:
    """Folders for a file, where something else may have their places."""
    for parent in reversed(Path(name).parents):
        path = top / parent
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        path.mkdir(exist_ok=True)
    place = top / name
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)


def remove(path: Path) -> None:
    """A file, a link or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )

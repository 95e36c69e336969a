"""What `owned_packages` keeps and does whatever the package manager: records, masks, and one run at a time.

The managers themselves are `slipway_apt` and `slipway_dnf`; `Manager` is what both offer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

UNITS = Path("/etc/systemd/system")


class PackageError(Exception):
    """A package manager failed; the text is for the person at the keyboard."""


@dataclass
class Record:
    """What one owner asked for and brought in; the file format of the records."""

    requested: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)
    """Packages an install is about to bring in; empty unless an install was cut off."""
    units: list[str] = field(default_factory=list)
    """Unit files that were there before the planned install: only these may be started by package scripts."""
    held: list[str] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    manual: list[str] = field(default_factory=list)
    """Packages that were there as somebody's dependency and that were marked as wanted."""

    @classmethod
    def load(cls, path: Path) -> Record | None:
        """Read a record; None when there is none."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise PackageError(
                f"{path} is damaged ({error}), so it is unknown which packages are Slipway's: "
                f"mend or remove that file (removing it leaves the packages on the host for good)"
            ) from error
        return cls(**{name: sorted(content.get(name, [])) for name in cls.__dataclass_fields__})

    def save(self, path: Path) -> None:
        """Write the record so that a crash leaves the old or the new one, never half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {name: sorted(set(getattr(self, name))) for name in self.__dataclass_fields__}
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@dataclass(frozen=True)
class Wish:
    """What an owner asks for."""

    names: list[str]
    """Without versions."""
    exact: dict[str, str] = field(default_factory=dict)
    """Versions that are asked for, or shell patterns of them, by name."""
    without: list[str] = field(default_factory=list)
    """What must not be there beside them."""
    hold: list[str] = field(default_factory=list)
    mask: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Change:
    """What a package manager is to do in one step."""

    names: list[str] = field(default_factory=list)
    """What is to be installed."""
    exact: dict[str, str] = field(default_factory=dict)
    """In which version, or one that the shell pattern names, be it older or newer than what is there, held or not."""
    purge: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.names or self.purge)


@dataclass
class Outcome:
    """What was done, or would be."""

    changed: bool = False
    installed: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


class Manager(Protocol):
    """A package manager. All names are those of packages; a foreign architecture's carry its name."""

    holder: tuple[str, ...]
    """Packages without which it can hold nothing."""

    def installed(self) -> set[str]:
        """Packages on the host, fully or half way."""

    def unfinished(self) -> bool:
        """Whether it was cut off and has something to complete."""

    def complete(self) -> None:
        """Let it finish what was cut off."""

    def marked(self, kind: str) -> set[str]:
        """Packages with a mark: ``manual`` (somebody asked for it) or ``hold`` (upgrades leave it alone)."""

    def mark(self, kind: str, names: set[str]) -> None:
        """Set a mark: ``manual``, ``auto`` (the opposite), ``hold`` or ``unhold``."""

    def stale(self) -> bool:
        """Whether its lists of what there is are missing or old."""

    def refresh(self) -> None:
        """Fetch those lists."""

    def versions(self, names: set[str]) -> dict[str, str]:
        """The installed versions of packages; without the epoch, which nobody means."""

    def plan(self, change: Change, known: set[str]) -> set[str]:
        """What a change would bring in beside what is `known` to be there."""

    def install(self, change: Change) -> None:
        """Install packages without those that they merely recommend, and purge what must not be there beside them."""

    def unneeded(self, now: set[str]) -> set[str]:
        """What of `now` nothing needs and nobody asked for, in its own judgement."""

    def remove(self, names: set[str]) -> None:
        """Remove packages with their configuration."""

    def purge_leftovers(self, names: set[str]) -> None:
        """Remove the configuration of packages that somebody removed by hand."""

    def quiet(self, known: Sequence[str]) -> contextlib.AbstractContextManager[None]:
        """While it lasts, scripts of packages start no units but those that are `known`."""

    def tidy(self) -> None:
        """Take away what a killed run has left."""


def run(*command: str, check: bool = True, errors: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in the C locale without questions; PackageError with its last lines when it fails.

    Of what it printed, lines that begin with `errors` are preferred.
    """
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
        "NEEDRESTART_MODE": "l",
        "NEEDRESTART_SUSPEND": "1",
        "APT_LISTCHANGES_FRONTEND": "none",
    }
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if check and result.returncode:
        said = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        told = [line for line in said if errors and line.startswith(errors)] or said
        raise PackageError(f"{' '.join(command[:2])} failed: {' / '.join(told[-4:])}")
    return result


def unit_files() -> list[str]:
    """Names of the unit files on the host; empty without systemd."""
    try:
        listing = run("systemctl", "list-unit-files", "--no-legend", "--plain", check=False).stdout
    except FileNotFoundError:
        return []
    return sorted(line.split()[0] for line in listing.splitlines() if line.strip())


@contextlib.contextmanager
def locked(folder: Path, wait_s: float = math.inf) -> Iterator[None]:
    """One run at a time on this host, also of one whose caller was killed: the lock is the folder itself, so nothing is left.

    Raises:
        PackageError: another one has it for longer than `wait_s` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, wait_s)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, wait_s: float) -> None:
    if wait_s == math.inf:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    ends = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends:
                raise PackageError(
                    f"another run changes packages for more than {wait_s:g} s; repeat when it has ended"
                ) from None
            time.sleep(1)
        else:
            return


def others(folder: Path, owner: str) -> list[Record]:
    """The records of all other owners."""
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [record for path in paths if path.stem != owner and (record := Record.load(path))]


def hand_over(folder: Path, owner: str, names: set[str]) -> None:
    """Give packages that stay to the owners who asked for one of them, so that the last one to go takes them away."""
    for path in sorted(folder.glob("*.json")):
        record = Record.load(path) if path.stem != owner else None
        if record and names & {*record.requested, *record.packages, *record.planned}:
            record.packages = sorted({*record.packages, *names})
            record.save(path)


def is_masked(unit: str) -> bool:
    """Whether the administrator's level of systemd's configuration masks a unit."""
    return os.path.realpath(UNITS / unit) == "/dev/null"


def set_masks(units: set[str], *, masked: bool) -> None:
    """Mask units, or undo it; a mask also keeps a unit from being started by other packages' scripts."""
    for unit in sorted(units):
        if masked:
            (UNITS / unit).unlink(missing_ok=True)
            (UNITS / unit).symlink_to("/dev/null")
        elif is_masked(unit):
            (UNITS / unit).unlink()
    if units:
        run("systemctl", "daemon-reload", check=False)


def sweep(paths: list[str]) -> None:
    """Remove what purged packages left: files, and folders in which nobody has put anything."""
    for path in sorted(map(Path, paths), key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()

"""Where the lab keeps things: state of this user, caches of this user, and what lives only until the next boot."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MEMORY = "SLIPWAY_LAB_MEMORY"
"""In the environment: `Places.memory`. Tests throw their hosts away; a disk takes minutes to write and to forget them."""
LEAST_FOR_MEMORY = 20 * 2**30
"""Bytes of memory that a machine has at least whose tests keep their hosts there."""
ROOM_OF_A_HOST = 40 * 2**30
"""Bytes that a host of tests sees as its disk: twice what preflight asks of a host of which nothing else is said."""


def memory_of_tests(total: int) -> str:
    """`Places.memory` for tests on a machine with `total` bytes of memory; empty where it has little.

    It is a limit and no reservation, so it may be more than the machine has: preflight asks for free disk that tests never
    fill. Most hosts of tests write half a gigabyte, those of drivers and of the store several.
    """
    return str(ROOM_OF_A_HOST) if total >= LEAST_FOR_MEMORY else ""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one lab. Two labs with different `state` share the machine's bridge, and `cache` if they like."""

    state: Path
    cache: Path
    uv_cache: Path
    known_hosts: Path
    run: Path = Path("/run/slipway-lab")
    memory: str = ""
    """How much of what each host writes may stay in the machine's memory, as mount's `size=` says it; empty: all is on disk."""

    @classmethod
    def default(cls) -> Self:
        """The places under the home folder; `sudo HOME=…` keeps them with the user who asked."""
        state = Path("~/.local/state/slipway").expanduser()
        cache = Path("~/.cache/slipway").expanduser()
        return cls(
            state=state / "lab",
            cache=cache / "lab",
            uv_cache=cache / "uv",
            known_hosts=state / "known_hosts",
            memory=os.environ.get(MEMORY, ""),
        )

    @property
    def hosts(self) -> Path:
        """One folder per host."""
        return self.state / "hosts"

    @property
    def key(self) -> Path:
        """The private key that opens every host of this lab; the public one has `.pub` added."""
        return self.state / "id_ed25519"


def make_folder(path: Path, mode: int = 0o755) -> Path:
    """Make `path` and what is missing above it, owned like the nearest folder that was there.

    Root makes the folders of a lab; under a user's home they have to stay that user's.
    """
    missing = [path, *path.parents]
    present = next(folder for folder in missing if folder.is_dir())
    owner = present.stat()
    for folder in reversed(missing[: missing.index(present)]):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode if folder == path else 0o755)
        os.chown(folder, owner.st_uid, owner.st_gid)
    return path


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write `path` whole or not at all, owned like its folder."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    owner = path.parent.stat()
    os.chown(new, owner.st_uid, owner.st_gid)
    new.chmod(mode)
    new.replace(path)

"""The systems that a host may run, and what differs between them: one table.

Preflight refuses by it, packages get their names from it, environments their interpreter, and docs/hosts.md is held against
it. It looks at nothing but a host's os-release. How a package manager is spoken to is not here: see `slipway_apt` and
`slipway_dnf`.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OS_RELEASE = Path("/etc/os-release")
OWN_PYTHON = "/usr/bin/python3"
"""The system's own interpreter: Ansible's modules run in it everywhere."""
OLDEST_PYTHON = (3, 11)
"""What the locks of the programs need: vLLM's and the hub client's hold releases that refuse an older one."""
STANDALONE = "3.12.16"
"""The release of uv's own builds that is brought in where a system has none that is new enough. The uv that role base locks
knows the SHA-256 of each such build: another release of it needs a uv that knows it."""
PYTHON_FOLDER = "/opt/slipway/python"

_LATER = (1000,)
"""Newer than any release that has a number, as Debian's testing is, which has none."""

NO_LUA = (
    "the front is nginx with its Lua module, and {why}; put gateway and front on a host with Debian 12 or Ubuntu 24.04 or "
    "later, in a pool called edge"
)


@dataclass(frozen=True)
class System:
    """One release of a distribution."""

    name: str
    """For people."""
    identities: tuple[str, ...]
    """`ID` in its os-release, and that of what is rebuilt from it."""
    oldest: tuple[int, ...]
    """The first release that it stands for."""
    before: tuple[int, ...] = ()
    """The first one that it stands for no more; empty where it stands for all that come."""
    manager: str = "apt"
    """The package manager: apt or dnf."""
    python: str = OWN_PYTHON
    """The interpreter that environments are made from; `{machine}` is the processor's name."""
    standalone: str = ""
    """The release of uv's own builds that this is; empty where the distribution brings it."""
    packages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What packages are called, by their names in Debian, where that differs; none where nothing is needed."""
    refused: dict[str, str] = field(default_factory=dict)
    """Roles that can't run there, with the reason and the mend."""

    @property
    def interpreter(self) -> str:
        """The path of the interpreter that environments are made from, on this machine."""
        return self.python.format(machine=platform.machine())

    def named(self, names: list[str]) -> list[str]:
        """Packages, given by their names in Debian, as they are called here; each once."""
        found = [own for name in names for own in self.packages.get(name, (name,))]
        return list(dict.fromkeys(found))


SYSTEMS = (
    System(name="Debian 12", identities=("debian",), oldest=(12,), before=(13,)),
    System(name="Debian 13", identities=("debian",), oldest=(13,)),
    System(
        name="Ubuntu 22.04",
        identities=("ubuntu",),
        oldest=(22, 4),
        before=(24, 4),
        # Its own is 3.10, which the locks refuse.
        python=f"{PYTHON_FOLDER}/cpython-{STANDALONE}-linux-{{machine}}-gnu/bin/python3.12",
        standalone=STANDALONE,
        # The interpreter brings its headers along.
        packages={"python3-dev": ()},
        refused={"nginx": NO_LUA.format(why="the one of Ubuntu 22.04 is nginx 1.18, which lacks what the front uses")},
    ),
    System(name="Ubuntu 24.04", identities=("ubuntu",), oldest=(24, 4)),
    System(
        name="RHEL 9.4",
        identities=("rhel", "rocky", "almalinux"),
        oldest=(9, 4),
        before=(10,),
        manager="dnf",
        # Of AppStream, from 9.4 on; the system's own is 3.9.
        python="/usr/bin/python3.12",
        packages={
            # curl-minimal is there, and the whole one would want it gone.
            "curl": (),
            "python3-venv": ("python3.12",),
            "python3-dev": ("python3.12-devel",),
            "libc6-dev": ("glibc-devel",),
            "libgomp1": ("libgomp",),
            "libstdc++6": ("libstdc++",),
            "libnuma1": ("numactl-libs",),
        },
        refused={"nginx": NO_LUA.format(why="neither the distribution nor EPEL packages that module")},
    ),
)

SUPPORTED = "Debian 12 or later, Ubuntu 22.04 or later, or RHEL, Rocky Linux or AlmaLinux 9.4 or a later 9"
"""The table in words, for messages."""


def read_release(text: str) -> dict[str, str]:
    """The fields of an os-release."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value.strip().strip("\"'") for key, _, value in pairs if key and not key.startswith("#")}


def find(release: dict[str, Any]) -> System | None:
    """The system with these fields of os-release; None for one that is not supported."""
    version = tuple(int(number) for number in re.findall(r"\d+", release.get("VERSION_ID", ""))) or _LATER
    for system in SYSTEMS:
        if (
            release.get("ID") in system.identities
            and version >= system.oldest
            and (not system.before or version < system.before)
        ):
            return system
    return None


def this_system(os_release: Path = OS_RELEASE) -> System | None:
    """The system that this runs on; None for one that is not supported."""
    try:
        return find(read_release(os_release.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return None

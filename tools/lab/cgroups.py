"""A control group per host.

Without one, nspawn puts every host's services into the same `payload` group, and a service that runs on two hosts has
one group for both. Each systemd finds processes there that it cannot see, fails to kill the group (seen: "Failed to
kill control group, ignoring: Input/output error"), and the workers of a stopped service live on.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from tools.lab.hosts import Machine

_MOUNT = Path("/sys/fs/cgroup")
_PATIENCE = 5


def hierarchies() -> list[Path]:
    """Where systemd keeps its groups: cgroup v2, or the two trees of the hybrid layout."""
    if (_MOUNT / "cgroup.procs").exists():
        return [_MOUNT]
    return [tree for tree in (_MOUNT / "unified", _MOUNT / "systemd") if tree.is_dir()]


def hybrid() -> bool:
    """Whether this machine still has the layout of cgroup v1, pure or mixed."""
    return not (_MOUNT / "cgroup.procs").exists()


def group(machine: Machine) -> str:
    """The name of the host's group."""
    return f"slipway-lab-{machine.identity}"


def make(machine: Machine) -> list[Path]:
    """Make the host's group in each hierarchy."""
    groups = [tree / group(machine) for tree in hierarchies()]
    for folder in groups:
        folder.mkdir(exist_ok=True)
    return groups


def kill(machine: Machine) -> None:
    """Kill what still runs in the host's group, whatever became of its first process."""
    for folder in _everywhere(machine):
        for file in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                for line in file.read_text().split():
                    os.kill(int(line), signal.SIGKILL)


def remove(machine: Machine) -> None:
    """Remove the host's groups, the deepest first, once the last process in them is gone."""
    deadline = time.monotonic() + _PATIENCE
    while tops := _everywhere(machine):
        for top in tops:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        if time.monotonic() > deadline:
            return  # an empty group harms nobody, and the next removal takes it
        time.sleep(0.02)


def _everywhere(machine: Machine) -> list[Path]:
    name = group(machine)
    return [folder for folder in (_MOUNT / name, *_MOUNT.glob(f"*/{name}")) if folder.is_dir()]

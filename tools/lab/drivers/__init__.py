"""The programs that can run a host, behind one small protocol, and which of them this machine can use."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tools.lab.errors import LabError
from tools.lab.hosts import Machine
from tools.lab.processes import Running
from tools.lab.shell import PATH

_TOOLS = {
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


class Driver(Protocol):
    """Makes a host from a base system and runs it. Every method may be repeated."""

    name: str

    def why_unusable(self) -> str | None:
        """What this machine lacks and how to install it; None if nothing."""

    def create(self, machine: Machine, base: Path) -> None:
        """Make the host's root folder from `base` and have it in place."""

    def start(self, machine: Machine, base: Path) -> None:
        """Boot the host; does not wait for it."""

    def stop(self, machine: Machine) -> None:
        """End the host's processes at once."""

    def destroy(self, machine: Machine) -> None:
        """Remove all there is of a stopped host outside its folder, and its root folder."""

    def running(self, machine: Machine) -> Running | None:
        """The host's process; None if it does not run."""


def missing_tools(**own: str) -> str | None:
    """Which programs are missing, with the packages that bring them; `own` are the driver's (program=package)."""
    tools = {name.replace("_", "-"): package for name, package in own.items()} | _TOOLS
    missing = [tool for tool in tools if shutil.which(tool, path=PATH) is None]
    if not missing:
        return None
    packages = sorted({tools[tool] for tool in missing})
    return f"no {', '.join(missing)} (`apt-get install {' '.join(packages)}`)"


def choose(drivers: Sequence[Driver]) -> Driver:
    """The first driver that this machine can use.

    Raises:
        LabError: none can be used; with what each of them lacks.
    """
    reasons = []
    for driver in drivers:
        reason = driver.why_unusable()
        if reason is None:
            return driver
        reasons.append(f"{driver.name}: {reason}")
    raise LabError(
        f"this machine cannot run lab hosts; {'; '.join(reasons)}. "
        "One of them is enough. Or use hosts of your own: name them under `hosts:` in the stack"
    )

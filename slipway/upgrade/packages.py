"""The packages of hosts' own systems in a rolling change: what is pending on a host, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.deployment.types import Machine
from slipway.layers import drivers

BRING_S = 7200
"""What bringing a host's packages may take: modules that are compiled take minutes, and so do packages from a slow mirror."""
REBOOT_S = 1800
"""As long as role nvidia_driver gives a reboot: a server with eight GPUs takes its time."""
WAIT_S = 1200
"""How long another run on the host is waited for: that of a command that was killed goes on to its end."""
LONGEST_S = WAIT_S + BRING_S + REBOOT_S
_STALE_S = 24 * 3600
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What a host's package manager would do, as `system_packages.turn.look` says it."""

    upgraded: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    """Releases of those that come."""
    unfinished: bool = False
    """Whether an earlier run was cut off."""
    role_due: bool = False
    """Whether the driver's role is still to run for a kernel that an earlier run brought."""
    reboot: str = ""
    """Why a reboot is due already; empty where none is."""
    age_s: int | None = None
    """Of the lists that it was read from; None where that is not known."""
    may_reboot: bool = True
    """Whether the stack lets the host be rebooted."""

    @classmethod
    def of(cls, answer: Mapping[str, Any], machine: Machine) -> Pending:
        """What a host answered."""
        may_reboot = machine.driver is None or machine.driver.settings.reboot
        names = {key: tuple(answer[key]) for key in ("upgraded", "new", "removed", "kernels")}
        return cls(
            **names,
            unfinished=answer["unfinished"],
            role_due=answer["role_due"],
            reboot=answer["reboot"],
            age_s=answer["age_s"],
            may_reboot=may_reboot,
        )

    @property
    def due(self) -> bool:
        """Whether the host has a turn for it."""
        return self.brings or (bool(self.reboot) and self.may_reboot)

    @property
    def brings(self) -> bool:
        """Whether there is more to do than a reboot."""
        return bool(self.count or self.unfinished or self.role_due)

    @property
    def count(self) -> int:
        """Packages that would change."""
        return len(self.upgraded) + len(self.new) + len(self.removed)

    @property
    def reboots(self) -> bool:
        """Whether a reboot is foreseen. Some packages ask for one only once they are installed."""
        return self.may_reboot and bool(self.kernels or self.reboot)

    @property
    def words(self) -> str:
        """For people."""
        told = [
            *([f"{self.count} package{'' if self.count == 1 else 's'}"] if self.count else []),
            *(["what was cut off is completed"] if self.unfinished else []),
            *(["the driver's role is to note the kernel"] if self.role_due else []),
            *(f"kernel {kernel}" for kernel in self.kernels),
            *([f"removes {', '.join(self.removed[:_SHOWN])}"] if self.removed else []),
            *([f"a reboot is due: {self.reboot}"] if self.reboot else []),
        ]
        if self.age_s is not None and self.age_s > _STALE_S:
            told.append(f"by lists of {self.age_s // _STALE_S} d ago")
        return "packages: " + "; ".join(told)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "upgraded": list(self.upgraded),
            "new": list(self.new),
            "removed": list(self.removed),
            "kernels": list(self.kernels),
            "reboot_due": self.reboot or None,
        }


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What became of it on one host."""

    changed: tuple[str, ...]
    """Names of packages."""
    rebooted: bool
    reboot_due: str
    """Why the host is still to be rebooted; empty where it isn't."""
    seconds: float
    """Of bringing and reboot together."""
    role_due: bool = False
    """Whether the driver's role is to run."""

    @property
    def words(self) -> str:
        """For people."""
        count = len(self.changed)
        what = f"{count} package{'' if count == 1 else 's'} changed"
        return f"{what}{', rebooted' if self.rebooted else ''} in {self.seconds:.0f} s"

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "changed": list(self.changed),
            "rebooted": self.rebooted,
            "reboot_due": self.reboot_due or None,
            "seconds": self.seconds,
        }


def order(machine: Machine, *, fresh: bool, driver: bool) -> dict[str, Any]:
    """What a host is told (`system_packages.turn`).

    Args:
        machine: which.
        fresh: whether it fetches its lists first.
        driver: whether Slipway has put a driver there; one that the stack alone has is still to come.
    """
    known = None
    if machine.driver is not None and driver:
        told = drivers.variables(machine.driver, machine.pool)
        known = {
            "broken_kernels": told["nvidia_driver_broken_kernels"],
            "setting": told["nvidia_driver_setting"],
        }
    return {"driver": known, "fresh": fresh, "wait_s": WAIT_S}

"""What there is to be brought up to date, as a package manager says it, and what both managers offer for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Pending:
    """Names of packages."""

    upgraded: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)
    """Releases of the kernels that come."""

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.upgraded or self.new or self.removed)


class System(Protocol):
    """A host with its package manager. All names are those of packages."""

    def unfinished(self) -> bool:
        """Whether it was cut off and has something to complete."""

    def finish(self) -> None:
        """Completes what was cut off."""

    def refresh(self) -> None:
        """Fetches the lists of what there is."""

    def age(self) -> int | None:
        """Seconds since those were fetched; None where that is not known, or does not matter."""

    def versions(self) -> dict[str, str]:
        """By name the version of each installed package."""

    def kernel_holds(self, folder: Path) -> set[str]:
        """Packages of kernels that Slipway holds along with its driver, by its records in `folder`; empty without one."""

    def release(self, names: set[str]) -> None:
        """Lets upgrades change packages that are held."""

    def keep(self, names: set[str], folder: Path) -> None:
        """Holds what is installed of `names` and of kernels, and notes it as Slipway's; nothing without its driver."""

    def pending(self, released: set[str]) -> Pending:
        """What an upgrade would do if these were not held."""

    def for_kernel(self, kernel: str) -> list[str]:
        """What the driver's modules need to be there for a kernel: headers to build them with, or the modules themselves."""

    def plan(self, names: list[str]) -> list[str]:
        """What is not there yet and would come with these, they included; empty where all of them are there."""

    def install(self, names: list[str], folder: Path) -> list[str]:
        """Installs packages, notes them as Slipway's, and says what is new."""

    def remove(self, names: list[str], folder: Path) -> None:
        """Takes those of them away that are there, also half way, and out of Slipway's notes."""

    def build(self, kernel: str) -> str:
        """Has the driver's modules built for a kernel; why that did not go, else empty."""

    def upgrade(self) -> None:
        """Brings all up to date that is not held; files of configuration that somebody changed stay."""

    def reboot_asked(self) -> str:
        """Why the system itself wants to be rebooted; empty where it doesn't."""

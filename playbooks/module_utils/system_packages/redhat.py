"""RHEL 9 and what is rebuilt from it: dnf's own upgrade, and kernels of which several are installed beside one another."""

from __future__ import annotations

import re
from pathlib import Path

from ansible.module_utils.slipway_dnf import Dnf, dnf
from ansible.module_utils.slipway_modules import build, sources
from ansible.module_utils.slipway_packages import PackageError, run

from .pending import Pending

DRIVER = Path("/etc/slipway/nvidia/rpms")
"""The packages of a driver of Slipway's."""
_KERNELS = ("kernel", "kernel-core", "kernel-modules", "kernel-modules-core", "kernel-devel")
"""What role nvidia_driver locks along with it."""
_UNLOCKED = "--disableplugin=versionlock"
_SOME = 100
"""dnf's exit status where there is something to upgrade."""
_ENTRY = re.compile(r"(\S+)\.(\w+)\s+(?:\d+:)?(\S+)\s+\S+")


class RedHat:
    """See `pending.System`."""

    def __init__(self) -> None:
        """The real host's."""
        self._dnf = Dnf()

    def unfinished(self) -> bool:
        """Never: rpm keeps no note of a transaction that was cut off."""
        return False

    def finish(self) -> None:
        """Nothing: see above."""

    def refresh(self) -> None:
        """Fetches the lists anew."""
        self._dnf.refresh()

    def age(self) -> int | None:
        """Not known: dnf itself looks how old they are."""
        return None

    def versions(self) -> dict[str, str]:
        """Of kernels, of which there are several, all versions."""
        listing = run("rpm", "-qa", "--queryformat", "%{NAME}.%{ARCH}\t%{VERSION}-%{RELEASE}\n").stdout
        found: dict[str, list[str]] = {}
        for name, version in (line.split("\t") for line in listing.splitlines()):
            found.setdefault(name, []).append(version)
        return {name: " ".join(sorted(versions)) for name, versions in found.items()}

    def kernel_holds(self, folder: Path) -> set[str]:  # noqa: ARG002 -- as with apt
        """Where the driver is Slipway's, so are these locks."""
        return set(_KERNELS) & self._dnf.marked("hold") if DRIVER.exists() else set()

    def release(self, names: set[str]) -> None:
        """By versionlock."""
        self._dnf.mark("unhold", names)

    def keep(self, names: set[str], folder: Path) -> None:  # noqa: ARG002 -- as with apt
        """A lock is of the versions that are installed, so it is made anew."""
        self._dnf.mark("hold", names)

    def pending(self, released: set[str]) -> Pending:
        """Without the locks but those of others; dnf says neither what comes along nor what goes."""
        locked = self._dnf.marked("hold") - released
        done = run("dnf", "check-update", "--quiet", _UNLOCKED, check=False)
        if done.returncode not in (0, _SOME):
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise PackageError(f"dnf check-update failed: {' / '.join(lines[-4:]) or done.returncode}")
        found = [each for each in listed(done.stdout) if each[0] not in locked]
        return Pending(
            upgraded=sorted({name for name, _, _ in found}),
            kernels=[f"{version}.{arch}" for name, arch, version in found if name == "kernel-core"],
        )

    def for_kernel(self, kernel: str) -> list[str]:
        """Headers where DKMS has a driver."""
        return [f"kernel-devel-{kernel}"] if sources() else []

    def install(self, names: list[str], folder: Path) -> list[str]:  # noqa: ARG002 -- as with apt
        """A transaction is made as a whole, or not at all."""
        before = self.versions()
        dnf("install", "-y", _UNLOCKED, "--setopt=install_weak_deps=False", *names)
        return names if self.versions() != before else []

    def remove(self, names: list[str]) -> None:
        """Of several versions the very one; dnf takes no notice of one that is not there."""
        dnf("remove", "-y", "--noautoremove", *names)

    def build(self, kernel: str) -> str:
        """By DKMS, from the headers' own folder: the kernel itself, which has a link to it, comes later."""
        return build(kernel, "--kernelsourcedir", f"/usr/src/kernels/{kernel}")

    def upgrade(self) -> None:
        """Changed files of configuration stay, with the new ones beside them (.rpmnew)."""
        dnf("upgrade", "-y")

    def reboot_asked(self) -> str:
        """As dnf's own plugin says, where it is there."""
        done = run("dnf", "needs-restarting", "--reboothint", check=False)
        said = re.findall(r"^\s*\* (\S+)$", done.stdout, re.MULTILINE)
        return f"dnf needs-restarting asks for it, for {', '.join(said[:5])}" if done.returncode == 1 and said else ""


def listed(said: str) -> list[tuple[str, str, str]]:
    """Name, architecture and version of each line of `dnf check-update`, up to what others make obsolete."""
    lines = said.partition("Obsoleting Packages")[0].splitlines()
    return [(match[1], match[2], match[3]) for line in lines if (match := _ENTRY.fullmatch(line.strip()))]

"""Debian and Ubuntu: apt's own upgrade, in which packages may come and go, and kernels that are packages of their own."""

from __future__ import annotations

import fnmatch
import re
import tempfile
import time
from pathlib import Path

from ansible.module_utils.slipway_apt import LISTS, Apt, apt, simulate
from ansible.module_utils.slipway_modules import build, sources
from ansible.module_utils.slipway_packages import Change, Record, run, unit_files

from . import kernels
from .pending import Pending

STATUS = Path("/var/lib/dpkg/status")
HEADERS = "nvidia_headers.json"
"""The record of what the driver's modules are built with."""
REBOOT = Path("/run/reboot-required")
_KERNELS = ("linux-generic*", "linux-headers-*", "linux-image-*", "linux-modules-*")
"""Of role nvidia_driver's holds those that move with the kernel."""
_IMAGE = re.compile(r"linux-image-(?:unsigned-)?(\d[\w.+~-]*)")
_SERVED = re.compile(r"linux-modules-nvidia-.+?-(?=\d+\.)")
"""Modules that the distribution built, each for one kernel."""


class Debian:
    """See `pending.System`."""

    def __init__(self) -> None:
        """The real host's."""
        self._apt = Apt()

    def unfinished(self) -> bool:
        """As dpkg's audit says."""
        return self._apt.unfinished()

    def finish(self) -> None:
        """By dpkg and apt."""
        self._apt.complete()

    def refresh(self) -> None:
        """Waits for another apt."""
        self._apt.refresh()

    def age(self) -> int | None:
        """By the folder of the lists."""
        times = [place.stat().st_mtime for place in (LISTS, LISTS / "partial") if place.exists()]
        return round(time.time() - max(times)) if times else None

    def versions(self) -> dict[str, str]:
        """All that dpkg has, also half way."""
        listing = run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${binary:Package}\t${Version}\n").stdout
        lines = (line.split("\t") for line in listing.splitlines())
        return {name: version for status, name, version in lines if status[1] not in "nc"}

    def kernel_holds(self, folder: Path) -> set[str]:
        """What an administrator held besides is none of them."""
        record = Record.load(folder / "nvidia_driver.json")
        return set() if record is None else set(record.held) & self._apt.marked("hold") & _of_kernels(set(record.held))

    def release(self, names: set[str]) -> None:
        """Apt's mark."""
        self._apt.mark("unhold", names)

    def keep(self, names: set[str], folder: Path) -> None:
        """In the driver's record too, so that a removal of the driver ends these holds."""
        path = folder / "nvidia_driver.json"
        record = Record.load(path)
        if record is None:
            return
        there = self._apt.installed()
        wanted = _of_kernels(there) | (names & there)
        record.held = sorted({*record.held, *wanted})
        record.save(path)
        self._apt.mark("hold", wanted)

    def pending(self, released: set[str]) -> Pending:
        """Simulated against a copy of dpkg's status, in which the holds are no more."""
        with tempfile.TemporaryDirectory(prefix=".slipway-") as folder:
            status = Path(folder) / "status"
            status.write_text(without_holds(STATUS.read_text(encoding="utf-8"), released), encoding="utf-8")
            caches = ("-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=")
            said = simulate("dist-upgrade", "-o", f"Dir::State::status={status}", *caches)
        return simulated(said)

    def for_kernel(self, kernel: str) -> list[str]:
        """Headers where DKMS has a driver; modules of the distribution where the running kernel has some."""
        runs = kernels.running()
        served = {
            match[0] + kernel
            for name in self._apt.installed()
            if (match := _SERVED.match(name)) and name.endswith(f"-{runs}")
        }
        return sorted(served | ({f"linux-headers-{kernel}"} if sources() else set()))

    def plan(self, names: list[str]) -> list[str]:
        """As apt simulates it."""
        there = self._apt.installed()
        missing = [name for name in names if name not in there]
        return sorted(self._apt.plan(Change(missing), there)) if missing else []

    def install(self, names: list[str], folder: Path) -> list[str]:
        """What is held stays: modules that need another version of the driver do not come, for the driver would by halves."""
        before = self._apt.installed()
        apt("install", "--no-install-recommends", *names)
        new = self._apt.installed() - before
        path = folder / HEADERS
        record = Record.load(path) or Record()
        record.packages = sorted({*record.packages, *new})
        record.save(path)
        return sorted(new)

    def remove(self, names: list[str], folder: Path) -> None:
        """By dpkg itself: what it was cut off in comes after, since headers half way may fail each time."""
        there = set(names) & self._apt.installed()
        if there:
            self._apt.purge(there)
        path = folder / HEADERS
        record = Record.load(path)
        if record is not None and set(names) & set(record.packages):
            record.packages = sorted(set(record.packages) - set(names))
            record.save(path)

    def build(self, kernel: str) -> str:
        """By DKMS."""
        return build(kernel)

    def upgrade(self) -> None:
        """A service that comes with a new package is not started."""
        with self._apt.quiet(unit_files()):
            apt("dist-upgrade")

    def reboot_asked(self) -> str:
        """Ubuntu's mark, and on Debian another build of the kernel that runs."""
        if REBOOT.exists():
            wants = REBOOT.with_name(f"{REBOOT.name}.pkgs")
            names = sorted(set(wants.read_text(encoding="utf-8").split())) if wants.exists() else []
            return f"{REBOOT} is there" + (f", for {', '.join(names[:5])}" if names else "")
        image = f"linux-image-{kernels.running()}"
        version = run("dpkg-query", "-W", "-f", "${Version}", image, check=False).stdout.strip()
        return f"{image} is {version}, and another build of it runs" if kernels.rebuilt(version) else ""


def without_holds(status: str, names: set[str]) -> str:
    """Dpkg's status in which these packages are not held."""
    plain = {name.partition(":")[0] for name in names}
    found = []
    for entry in status.split("\n\n"):
        name = re.search(r"^Package: (\S+)$", entry, re.MULTILINE)
        held = name is not None and name[1] in plain
        found.append(re.sub(r"^Status: hold ", "Status: install ", entry, flags=re.MULTILINE) if held else entry)
    return "\n\n".join(found)


def simulated(said: str) -> Pending:
    """Of a simulation of apt-get: `Inst NAME [OLD] (NEW …)`, without `[OLD]` where it is new, and `Remv NAME`."""
    came = [line.split() for line in said.splitlines() if line.startswith("Inst ")]
    new = sorted(words[1] for words in came if not words[2].startswith("["))
    return Pending(
        upgraded=sorted(words[1] for words in came if words[2].startswith("[")),
        new=new,
        removed=sorted(line.split()[1] for line in said.splitlines() if line.startswith(("Remv ", "Purg "))),
        kernels=[match[1] for name in new if (match := _IMAGE.fullmatch(name)) and not name.endswith("-dbg")],
    )


def _of_kernels(names: set[str]) -> set[str]:
    return {
        name
        for name in names
        if "nvidia" not in name and any(fnmatch.fnmatchcase(name, pattern) for pattern in _KERNELS)
    }

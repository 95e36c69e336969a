"""RHEL 9 and what is rebuilt from it: dnf's own upgrade, and kernels of which several are installed beside one another."""

from __future__ import annotations

import re
from pathlib import Path

from ansible.module_utils.slipway_dnf import COMES, GOES, Dnf, dnf, entries, name_of, simulate
from ansible.module_utils.slipway_modules import build, sources
from ansible.module_utils.slipway_packages import run

from .pending import Pending

DRIVER = Path("/etc/slipway/nvidia/rpms")
"""The packages of a driver of Slipway's."""
_KERNELS = ("kernel", "kernel-core", "kernel-modules", "kernel-modules-core", "kernel-devel")
"""What role nvidia_driver locks along with it."""
_UNLOCKED = "--disableplugin=versionlock"
_OF_DRIVER = ("*nvidia*", "nvlsm", "cuda-drivers*")
"""All that belongs to a driver, as NVIDIA's guide locks it: the role locks what it names, and not what comes along with that."""


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
        """By versionlock, each lock in its own words: by a package's name the plugin would forget too what is excluded of it."""
        self._dnf.mark("unhold", {spec for spec in self._dnf.locks() if name_of(spec) in names and spec[0] != "!"})

    def keep(self, names: set[str], folder: Path) -> None:  # noqa: ARG002 -- as with apt
        """A lock is of the versions that are installed, so it is made anew; in full words, as one is ended."""
        if not DRIVER.exists():
            return
        names = names | set(_KERNELS)
        form = "%{NAME}-%|EPOCH?{%{EPOCH}}:{0}|:%{VERSION}-%{RELEASE}.*\n"
        said = run("rpm", "-q", "--queryformat", form, *sorted(names), check=False).stdout
        specs = {line for line in said.splitlines() if name_of(line) in names}
        if specs:
            dnf("versionlock", "add", "--raw", "--disablerepo=*", "--quiet", *sorted(specs))

    def pending(self, released: set[str]) -> Pending:
        """The upgrade itself, up to dnf's question, by the lists that are there: dnf would fetch those that it takes for old."""
        said = simulate("upgrade", "--cacheonly", *self._options(released))
        new = entries(said, COMES)
        return Pending(
            upgraded=sorted({words[0] for words in entries(said, ("Upgrading",))}),
            new=sorted({words[0] for words in new}),
            removed=sorted({words[0] for words in entries(said, GOES)}),
            kernels=[f"{words[2]}.{words[1]}" for words in new if words[0] == "kernel-core"],
        )

    def for_kernel(self, kernel: str) -> list[str]:
        """Headers where DKMS has a driver."""
        return [f"kernel-devel-{kernel}"] if sources() else []

    def plan(self, names: list[str]) -> list[str]:
        """As dnf says before it asks; by name and version, of which there may be several."""
        there = _builds()
        missing = [name for name in names if name not in there]
        if not missing:
            return []
        options = ("--setopt=install_weak_deps=False", *self._options(set(_KERNELS)))
        said = entries(simulate("install", *options, *missing), COMES)
        return sorted({*missing, *(f"{words[0]}-{words[2].rpartition(':')[2]}.{words[1]}" for words in said)})

    def install(self, names: list[str], folder: Path) -> list[str]:  # noqa: ARG002 -- as with apt
        """A transaction is made as a whole, or not at all."""
        before = _builds()
        dnf("install", "-y", "--setopt=install_weak_deps=False", *self._options(set(_KERNELS)), *names)
        there = set(before.values())
        return sorted(
            build for build, name in _builds().items() if build not in before and (build in names or name not in there)
        )

    def remove(self, names: list[str], folder: Path) -> None:  # noqa: ARG002 -- as with apt
        """Of several versions the very one; dnf takes no notice of one that is not there."""
        dnf("remove", "-y", "--noautoremove", *names)

    def build(self, kernel: str) -> str:
        """By DKMS, from the headers' own folder: the kernel itself, which has a link to it, comes later."""
        return build(kernel, "--kernelsourcedir", f"/usr/src/kernels/{kernel}")

    def upgrade(self) -> None:
        """Changed files of configuration stay, with the new ones beside them (.rpmnew)."""
        dnf("upgrade", "-y", *self._options(set()))

    def _options(self, released: set[str]) -> list[str]:
        """Of dnf, for which the driver stays and these packages are not locked; what else is locked is named in their stead."""
        excluded = list(_OF_DRIVER) if DRIVER.exists() else []
        if released:
            for spec in self._dnf.locks():
                excluded += [spec[1:]] if spec[0] == "!" else sorted({name_of(spec)} - released - {""})
        options = [f"--exclude={','.join(dict.fromkeys(excluded))}"] if excluded else []
        return [*options, _UNLOCKED] if released else options

    def reboot_asked(self) -> str:
        """As dnf's own plugin says, where it is there."""
        done = run("dnf", "needs-restarting", "--reboothint", check=False)
        said = re.findall(r"^\s*\* (\S+)$", done.stdout, re.MULTILINE)
        return f"dnf needs-restarting asks for it, for {', '.join(said[:5])}" if done.returncode == 1 and said else ""


def _builds() -> dict[str, str]:
    """By `NAME-VERSION-RELEASE.ARCH` the name of each installed package."""
    listing = run("rpm", "-qa", "--queryformat", "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\t%{NAME}\n").stdout
    return dict(line.split("\t") for line in listing.splitlines())

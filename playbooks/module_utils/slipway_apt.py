"""apt and dpkg, as `owned_packages` speaks to them. It configures no sources and upgrades nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ansible.module_utils.slipway_packages import Change, PackageError, run

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_MARK = "# slipway owned_packages"
LISTS = Path("/var/lib/apt/lists")
LISTS_MAX_AGE = 24 * 3600
LOCK_WAIT = 300
_ERRORS = "E:"
_NO_RECOMMENDED = "--no-install-recommends"


class Apt:
    """The package manager of Debian and Ubuntu."""

    holder: tuple[str, ...] = ()

    def installed(self) -> set[str]:
        """Packages that dpkg has on the host, fully or half way; a foreign architecture's carry its name."""
        native = run("dpkg", "--print-architecture").stdout.strip()
        listing = run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Architecture}\n").stdout
        found = set()
        for line in listing.splitlines():
            status, name, architecture = line.split("\t")
            if status[1] not in "nc":
                found.add(name if architecture in (native, "all") else f"{name}:{architecture}")
        return found

    def unfinished(self) -> bool:
        """Whether dpkg was cut off and has packages to configure."""
        return bool(run("dpkg", "--audit").stdout.strip())

    def complete(self) -> None:
        """Let dpkg and apt finish what was cut off."""
        if self.unfinished():
            run("dpkg", "--configure", "-a", "--force-confdef", "--force-confold", errors=_ERRORS)
            apt("install", "--fix-broken")

    def marked(self, kind: str) -> set[str]:
        """Packages with an apt mark: manual or hold."""
        return set(run("apt-mark", f"show{kind}").stdout.split())

    def mark(self, kind: str, names: set[str]) -> None:
        """Set apt's mark: manual, auto, hold or unhold."""
        if names:
            run("apt-mark", kind, *sorted(names), errors=_ERRORS)

    def stale(self) -> bool:
        """Whether apt's lists are missing or were last refreshed more than a day ago."""
        times = [entry.stat().st_mtime for entry in LISTS.glob("*_Packages*")]
        stamps = [LISTS.stat().st_mtime] if times else []
        return not times or time.time() - max(times + stamps) > LISTS_MAX_AGE

    def refresh(self) -> None:
        """Refresh apt's lists; DPkg::Lock::Timeout does not cover the lock of those."""
        _waiting(lambda: apt("update"))

    def purge(self, names: set[str]) -> None:
        """Purge just these packages, also half-way ones where dpkg was cut off: apt refuses to work then."""
        _waiting(lambda: run("dpkg", "--purge", "--force-remove-reinstreq", *sorted(names)))

    def versions(self, names: set[str]) -> dict[str, str]:
        """The installed versions of packages; without the epoch, which nobody means."""
        form = "${db:Status-Abbrev}\t${Package}\t${Version}\n"
        listing = run("dpkg-query", "-W", "-f", form, *sorted(names), check=False).stdout
        lines = (line.split("\t") for line in listing.splitlines())
        return {name: version.rpartition(":")[2] for status, name, version in lines if status[1] not in "nc"}

    def plan(self, change: Change, known: set[str]) -> set[str]:
        """Packages that apt would newly install."""
        return _named("Inst", self._explained(simulate, change)) - known

    def install(self, change: Change) -> None:
        """Install without recommended packages."""
        self._explained(apt, change)

    @staticmethod
    def _explained(work: Callable[..., str], change: Change) -> str:
        """Has `work` make a change; where there is no such version, the error says which there are."""
        try:
            return work("install", _NO_RECOMMENDED, *_words(change))
        except PackageError as error:
            if "Version '" not in str(error) or "was not found" not in str(error):
                raise
            raise PackageError(
                f"{error}; apt's sources have {available(change.names)}: ask for a version that is there, or mend the sources"
            ) from error

    def unneeded(self, now: set[str]) -> set[str]:
        """What apt would remove by itself: a package that somebody's own package depends on or recommends is not among it."""
        options = ("-o", "APT::AutoRemove::RecommendsImportant=false", "-o", "APT::AutoRemove::SuggestsImportant=false")
        return _named("Remv", simulate("autoremove", *options)) & now

    def remove(self, names: set[str]) -> None:
        """Purge packages."""
        apt("purge", *sorted(names))

    def purge_leftovers(self, names: set[str]) -> None:
        """Purge the configuration of packages that somebody removed by hand."""
        listing = run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\n").stdout
        left = {line.split("\t")[1] for line in listing.splitlines() if line[1] == "c"} & names
        if left:
            run("dpkg", "--purge", *sorted(left))

    @contextlib.contextmanager
    def quiet(self, known: Sequence[str]) -> Iterator[None]:
        """While packages are installed, only services that were there before may be started or restarted."""
        self.tidy()
        if POLICY.exists():  # the administrator's own policy stands
            yield
            return
        names = " ".join(known)
        POLICY.write_text(
            f'#!/bin/sh\n{POLICY_MARK}\ncase " {names} " in\n*" $1 "*|*" $1.service "*) exit 0 ;;\nesac\nexit 101\n',
            encoding="utf-8",
        )
        POLICY.chmod(0o755)
        try:
            yield
        finally:
            self.tidy()

    def tidy(self) -> None:
        """Take away our policy-rc.d, also one that a killed run left behind; never somebody else's."""
        with contextlib.suppress(FileNotFoundError):
            if POLICY_MARK in POLICY.read_text(encoding="utf-8"):
                POLICY.unlink()


def apt(*arguments: str) -> str:
    """Run apt-get, waiting for another one's lock; returns what it printed."""
    return run(
        "apt-get",
        *arguments,
        "-y",
        "-q",
        "-o",
        f"DPkg::Lock::Timeout={LOCK_WAIT}",
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
        errors=_ERRORS,
    ).stdout


def _waiting(work: Callable[[], object]) -> None:
    """Does it, as soon as another one lets go of its lock."""
    end = time.monotonic() + LOCK_WAIT
    while True:
        try:
            work()
        except PackageError as error:
            if "lock" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(2)
        else:
            return


def simulate(*arguments: str) -> str:
    """What apt-get would do; needs no lock and changes nothing."""
    return run("apt-get", *arguments, "--simulate", "-q", "-o", "Debug::NoLocking=true", errors=_ERRORS).stdout


def available(names: list[str]) -> str:
    """The versions of packages that apt's lists have, for a message."""
    listing = run("apt-cache", "madison", *names, check=False).stdout
    words = (line.split("|") for line in listing.splitlines())
    found = dict.fromkeys(f"{line[0].strip()} {line[1].strip()}" for line in words if len(line) > 2)
    return ", ".join(found) or "none of them"


def _words(change: Change) -> list[str]:
    """A change in the words of `apt-get install`."""
    words = [f"{name}={change.exact[name]}" if name in change.exact else name for name in change.names]
    words += [f"{name}-" for name in change.purge]
    return ["--allow-change-held-packages", "--allow-downgrades", *words] if change.exact or change.purge else words


def _named(verb: str, simulation: str) -> set[str]:
    """Packages after a verb (Inst, Remv) in a simulation."""
    return {words[1] for line in simulation.splitlines() if (words := line.split())[:1] == [verb]}

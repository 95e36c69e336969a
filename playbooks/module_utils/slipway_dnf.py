"""dnf 4 and rpm, as `owned_packages` speaks to them: RHEL 9 and what is rebuilt from it.

It configures no repositories and upgrades nothing. rpm keeps no note of a transaction that was cut off, so there is nothing to
complete but the install itself, which the next run repeats.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from ansible.module_utils.slipway_packages import Change, PackageError, run

_ERRORS = "Error"
_NO_WEAK = "--setopt=install_weak_deps=False"
_NO_REPOSITORIES = ("--disablerepo=*", "--quiet")
_INSTALLING, _REMOVING = ("Installing", "Installing dependencies"), ("Removing", "Removing dependent packages")
COMES, GOES = (*_INSTALLING, "Installing weak dependencies"), (*_REMOVING, "Removing unused dependencies")
"""All headings of what an upgrade brings anew, and of what it takes away; what it changes is under `Upgrading`."""
_HEADING = re.compile(r"([A-Z][a-z]+[a-z ]*):\s*")
_LOCK = re.compile(r"!?(.+)-\d+:[^-]+-[^-]+")
_ARCHITECTURES = ("noarch", "(none)")


class Dnf:
    """The package manager of RHEL."""

    holder: tuple[str, ...] = ("python3-dnf-plugin-versionlock",)

    def installed(self) -> set[str]:
        """Packages that rpm has on the host; a foreign architecture's carry its name."""
        native = run("rpm", "--eval", "%{_arch}").stdout.strip()
        listing = run("rpm", "-qa", "--queryformat", "%{NAME}\t%{ARCH}\n").stdout
        pairs = (line.split("\t") for line in listing.splitlines())
        return {name if arch in (native, *_ARCHITECTURES) else f"{name}.{arch}" for name, arch in pairs}

    def unfinished(self) -> bool:
        """Never: see above."""
        return False

    def complete(self) -> None:
        """Nothing: see above."""

    def marked(self, kind: str) -> set[str]:
        """Packages that somebody asked for (manual), or whose version is locked (hold)."""
        if kind == "manual":
            listing = dnf("repoquery", *_NO_REPOSITORIES, "--userinstalled", "--queryformat", "%{name}")
            return set(listing.split())
        return {locked for spec in self.locks() if not spec.startswith("!") and (locked := name_of(spec))}

    def locks(self) -> list[str]:
        """All rules of the plugin versionlock, as it lists them; those with `!` exclude a version."""
        return dnf("versionlock", "list", *_NO_REPOSITORIES, check=False).split()

    def mark(self, kind: str, names: set[str]) -> None:
        """Set a mark: manual or auto by dnf itself, hold or unhold by its plugin versionlock."""
        verbs = {
            "manual": ("mark", "install"),
            "auto": ("mark", "remove"),
            "hold": ("versionlock", "add"),
            "unhold": ("versionlock", "delete"),
        }
        if names:
            dnf(*verbs[kind], *_NO_REPOSITORIES, *sorted(names))

    def stale(self) -> bool:
        """Never: dnf itself looks how old its lists are."""
        return False

    def refresh(self) -> None:
        """Fetch the lists of all repositories anew."""
        dnf("makecache", "--refresh")

    def versions(self, names: set[str]) -> dict[str, str]:
        """The installed versions of packages."""
        form = "%{NAME}\t%{VERSION}-%{RELEASE}\n"
        listing = run("rpm", "-q", "--queryformat", form, *sorted(names), check=False).stdout
        return dict(pair for line in listing.splitlines() if len(pair := line.split("\t")) == 2)

    def plan(self, change: Change, known: set[str]) -> set[str]:
        """Packages that dnf would newly install."""
        return transaction(simulate("install", _NO_WEAK, *_words(change)), _INSTALLING) - known

    def install(self, change: Change) -> None:
        """Install without weak dependencies. A package that starts its service while it is installed is none of RHEL's ways."""
        dnf("install", "-y", _NO_WEAK, *_words(change))

    def unneeded(self, now: set[str]) -> set[str]:
        """What dnf would remove by itself."""
        return transaction(simulate("autoremove", *_NO_REPOSITORIES[:1]), _REMOVING) & now

    def remove(self, names: set[str]) -> None:
        """Remove packages, and nothing that depends on them or that they brought along."""
        options = (*_NO_REPOSITORIES[:1], "--noautoremove")
        dragged = transaction(simulate("remove", *options, *sorted(names)), _REMOVING) - names
        if dragged:
            raise PackageError(
                f"dnf would remove {' '.join(sorted(dragged))} along with {' '.join(sorted(names))}: "
                "remove them first, if nothing needs them, then repeat"
            )
        dnf("remove", "-y", *options, *sorted(names))

    def purge_leftovers(self, names: set[str]) -> None:
        """Nothing: a removal leaves only files that somebody changed, as .rpmsave."""

    @contextlib.contextmanager
    def quiet(self, known: Sequence[str]) -> Iterator[None]:  # noqa: ARG002 -- as with apt
        """Nothing: packages of RHEL start no service when they are installed."""
        yield

    def tidy(self) -> None:
        """Nothing."""


def _words(change: Change) -> list[str]:
    """A change in the words of `dnf install`.

    Raises:
        PackageError: one in which something is removed, which dnf does in another step.
    """
    if change.purge:
        raise PackageError(
            f"{' '.join(change.purge)} can't be removed in the step that installs others: remove them first"
        )
    return [f"{name}-{change.exact[name]}" if name in change.exact else name for name in change.names]


def dnf(*arguments: str, check: bool = True) -> str:
    """Run dnf, which waits for another one's lock by itself; returns what it printed."""
    return run("dnf", *arguments, check=check, errors=_ERRORS).stdout


def simulate(*arguments: str) -> str:
    """What dnf would do: the table that it shows before it asks. It ends with an error, as nobody agreed."""
    result = run("dnf", *arguments, "--assumeno", check=False)
    if result.returncode and "Operation aborted" not in result.stdout + result.stderr:
        raise_error(arguments, result.stderr or result.stdout)
    return result.stdout


def raise_error(arguments: Sequence[str], said: str) -> None:
    """A PackageError of a simulation that failed, in dnf's own last words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(_ERRORS)] or lines
    raise PackageError(f"dnf {arguments[0]} failed: {' / '.join(told[-4:])}")


def name_of(spec: str) -> str:
    """The package of a rule of versionlock's; empty where it is not as the plugin writes them."""
    match = _LOCK.fullmatch(spec)
    return "" if match is None else match.group(1)


def transaction(table: str, headings: tuple[str, ...]) -> set[str]:
    """Names under some headings of the table that dnf shows."""
    return {words[0] for words in entries(table, headings)}


def entries(table: str, headings: tuple[str, ...]) -> list[list[str]]:
    """Name, architecture, version and what else stands there, of each package under some headings of the table that dnf shows.

    What is too long for its column is followed by a line that goes on with the next one.
    """
    found: list[list[str]] = []
    within = False
    for line in table.splitlines():
        if match := _HEADING.fullmatch(line):
            within = match.group(1) in headings
        elif not line.strip() or line.startswith(("Transaction Summary", "=")):
            within = False
        elif within and line.startswith("  ") and found:
            found[-1] += line.split()
        elif within and line.startswith(" "):
            found.append(line.split())
    return found

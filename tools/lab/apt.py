"""The machine's own apt sources, read in both their formats: lab hosts are made from the mirror that works here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tools.lab.errors import LabError

_KEYRING = re.compile(r"/(debian|ubuntu)-archive-keyring\.(gpg|pgp|asc)$")
_POCKETS = ("", "-updates", "-security", "-backports", "/updates")
_MOVING_NAMES = ("stable", "oldstable", "testing")
RELEASES = {"bookworm": "debian", "trixie": "debian", "jammy": "ubuntu", "noble": "ubuntu"}
"""Releases that lab hosts may have beside the machine's own, with their distribution."""


@dataclass(frozen=True, slots=True)
class Source:
    """One entry: packages of `components` in `suites`, found at `uris`."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What lab hosts are made of: a distribution, its suite, the mirror, and the entries that belong to it."""

    identity: str
    suite: str
    mirror: str
    components: tuple[str, ...]
    sources: tuple[Source, ...] = field(default=())


def read_distribution(etc: Path = Path("/etc"), release: str = "") -> Distribution:
    """The distribution of this machine, from its os-release and its apt sources; or another `release`.

    On Ubuntu that is Ubuntu's suite and mirror: the lab then tests what Ubuntu users run. Another release of the same
    distribution is looked for where the machine's own comes from; one of another distribution has to be among the sources.

    Raises:
        LabError: this is neither Debian nor Ubuntu, no archive of the suite is among the sources, or the release is not known.
    """
    if release:
        return _other(_read(etc / "apt"), read_distribution(etc), release)
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', (etc / "os-release").read_text(), re.MULTILINE))
    identity, suite = fields.get("ID", ""), fields.get("VERSION_CODENAME", "")
    if identity not in {"debian", "ubuntu"} or not suite:
        raise LabError(
            f"lab hosts are made with debootstrap from Debian's or Ubuntu's archive; this machine is "
            f"{fields.get('PRETTY_NAME', 'neither')}. Use hosts of your own: name them under `hosts:` in the stack"
        )
    sources = tuple(source for source in _read(etc / "apt") if _belongs(source, suite))
    main = next((source for source in sources if {suite, *_MOVING_NAMES} & set(source.suites)), None)
    if main is None:
        raise LabError(
            f"no archive of {suite} with component main is among the apt sources in {etc / 'apt'}: lab hosts need "
            "one; add the mirror that this machine may use"
        )
    return Distribution(identity, suite, main.uris[0], _components(identity), sources)


def _components(identity: str) -> tuple[str, ...]:
    # Ubuntu keeps python3-venv in universe.
    return ("main", "universe") if identity == "ubuntu" else ("main",)


def _other(listed: Iterable[Source], own: Distribution, release: str) -> Distribution:
    """Another release than the machine's own, or that one by its name."""
    if release == own.suite:
        return own
    identity = RELEASES.get(release)
    if identity is None:
        raise LabError(f"lab hosts of release {release!r} are not known; there are {', '.join(RELEASES)}")
    named = tuple(source for source in listed if _belongs(source, release) and set(source.suites) - set(_MOVING_NAMES))
    main = next((source for source in named if release in source.suites), None)
    if main is not None:
        return Distribution(identity, release, main.uris[0], _components(identity), named)
    if identity != own.identity:
        raise LabError(
            f"no archive of {release} with component main is among the apt sources of this machine, which runs {own.suite}: "
            f"add one ({identity.title()}'s, with its keyring) or choose a release of {own.identity.title()}"
        )
    moved = tuple(
        replace(source, suites=suites)
        for source in own.sources
        if (
            suites := tuple(
                release + suite.removeprefix(own.suite) for suite in source.suites if suite.startswith(own.suite)
            )
        )
    )
    return Distribution(identity, release, own.mirror, _components(identity), moved)


def render(sources: Iterable[Source]) -> str:
    """The entries in deb822 form, for a host's sources.list.d."""
    stanzas = []
    for source in sources:
        stanza = (
            f"Types: deb\nURIs: {' '.join(source.uris)}\nSuites: {' '.join(source.suites)}\n"
            f"Components: {' '.join(source.components)}\n"
        )
        stanzas.append(stanza + (f"Signed-By: {source.signed_by}\n" if source.signed_by else ""))
    return "\n".join(stanzas)


def _belongs(source: Source, suite: str) -> bool:
    """Whether an entry is the distribution's own: hosts have no keys of other vendors."""
    own = {name + pocket for name in (suite, *_MOVING_NAMES) for pocket in _POCKETS}
    vendor = source.signed_by and not _KEYRING.search(source.signed_by)
    return not vendor and "main" in source.components and bool(source.uris) and set(source.suites) <= own


def _read(apt: Path) -> list[Source]:
    found: list[Source] = []
    parts = apt / "sources.list.d"
    for file in [apt / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]:
        if file.is_file():
            found += (_deb822 if file.suffix == ".sources" else _one_line)(file.read_text(errors="replace"))
    return found


def _one_line(text: str) -> list[Source]:
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)", line.strip())
        if match:
            signed_by = re.search(r"signed-by=(\S+)", match[1] or "", re.IGNORECASE)
            found.append(
                Source(_uris([match[2]]), (match[3],), tuple(match[4].split()), signed_by[1] if signed_by else "")
            )
    return found


def _deb822(text: str) -> list[Source]:
    found = []
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        fields = {
            name.lower(): value
            for name, value in re.findall(r"^([A-Za-z-]+):[ \t]*((?:.*)(?:\n[ \t]+.*)*)", stanza, re.MULTILINE)
        }
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").strip().lower() != "no":
            uris, suites, components = (tuple(fields.get(key, "").split()) for key in ("uris", "suites", "components"))
            found.append(Source(_uris(uris), suites, components, fields.get("signed-by", "").strip()))
    return found


def _uris(uris: Iterable[str]) -> tuple[str, ...]:
    """Addresses that a host can reach too; a list of mirrors is replaced by its first."""
    found: list[str] = []
    for uri in uris:
        mirrors = re.match(r"mirror\+file:(/.*)", uri)
        if mirrors and Path(mirrors[1]).is_file():
            found += re.findall(r"^(https?://\S+)", Path(mirrors[1]).read_text(), re.MULTILINE)[:1]
        elif uri.startswith(("http://", "https://")):
            found.append(uri)
    return tuple(found)

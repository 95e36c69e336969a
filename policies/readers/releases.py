"""Releases of known programs, wherever a resource names one, and the list of those that must not run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from typing_extensions import override

from policies.node import Node, Secret, UnknownValueError
from policies.readers import images
from policies.readers.engines.platform import served
from policies.readers.kubernetes import charts
from policies.readers.kubernetes.pods import image
from policies.readers.scripts import startup as scripts
from policies.readers.tables import table
from policies.readers.unknown import known_first, unknown_as_item
from policies.resources import PLATFORM, Resource

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

CHARTS = charts.TYPES
"""Types that install a Helm chart."""
TYPES = tuple(dict.fromkeys((PLATFORM, *images.TYPES, *scripts.TYPES)))
"""Types in which `releases` finds something."""

_IN_TAG = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+)+(?:\.?(?:post|rc|dev|a|b)\d+)?)")
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*===?\s*([\w.+!-]+)")


@dataclass(frozen=True)
class Named:
    """A release of a program, as a resource names it."""

    kind: str
    """What `name` is a name of: `packages`, `programs`, `images` or `charts`."""
    name: str
    release: str
    where: str
    shown: str
    """What messages show of it."""


@dataclass(frozen=True)
class Denied:
    """An entry of the list of releases that must not run."""

    name: str
    releases: tuple[str, ...]
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    images: tuple[str, ...]
    parts: tuple[str, ...]
    charts: tuple[str, ...]
    why: str
    """What the release does, after its name."""
    mend: str


class Place(Node):
    """A place where releases may be named."""

    __slots__ = ()

    def named(self) -> Iterator[Named]:
        """What it names.

        Raises:
            UnknownValueError: it is not known yet.
        """
        raise NotImplementedError


class _Component(Place):
    """An engine or a gateway of Slipway's platform."""

    __slots__ = ("key",)

    def __init__(self, node: Node, key: str) -> None:
        super().__init__(node.raw, node.path)
        self.key = key
        """The key under which it names its program."""

    @override
    def named(self) -> Iterator[Named]:
        name, release = self.get(self.key), self.get("release")
        if name and release:
            yield Named("programs", str(name), str(release), self.at("release"), str(release))


class _Chart(Place):
    __slots__ = ()

    @override
    def named(self) -> Iterator[Named]:
        chart, version = self.get("chart"), self.get("version")
        if chart and version:
            name = str(chart).rstrip("/").rpartition("/")[2]
            yield Named("charts", name, str(version), self.at("version"), str(version))


class _Image(Place):
    __slots__ = ()

    @override
    def named(self) -> Iterator[Named]:
        reference = str(self.get())
        name, tag, _ = image(reference)
        found = _IN_TAG.search(tag or "")
        if found is not None:
            shown = repr(self.raw) if isinstance(self.raw, Secret) else reference.partition("@")[0]
            yield Named("images", name, found[1], self.path, shown)


class _Script(Place):
    __slots__ = ("script",)

    def __init__(self, script: scripts.Script) -> None:
        super().__init__(script.raw, script.path)
        self.script = script

    @override
    def named(self) -> Iterator[Named]:
        for install in self.script.installs():
            for requirement in install.requirements if install.kind == "pip" else ():
                found = _PIN.match(requirement)
                if found is not None:
                    shown = "[secret]" if self.script.hidden else f"{install.verb} {requirement}"
                    yield Named("packages", found[1], found[2], self.path, shown)


def releases(resource: Resource) -> Iterator[Place | UnknownValueError]:
    """Every place in the resource that may name a release; in the place of one that is not known, that value.

    Raises:
        UnknownValueError: what would hold one is unknown.
    """
    inputs = resource.inputs
    if resource.type == PLATFORM:
        for launch in unknown_as_item(served(inputs)):
            yield launch if isinstance(launch, UnknownValueError) else _Component(launch.node("engine"), "name")
        yield from (_Component(gateway, "program") for gateway in inputs.each("gateways"))
    elif resource.type in CHARTS:
        yield _Chart(inputs.raw, inputs.path)
        yield from (_Image(place.raw, place.path) for place in charts.images(resource))
    else:
        named: Iterator[Place] = (_Image(place.raw, place.path) for place in images.images(resource))
        run: Iterator[Place] = map(_Script, scripts.scripts(resource))
        yield from known_first((named, run))


def denied(named: Named, more: Sequence[str] = ()) -> Iterator[Denied]:
    """The entries that the release falls under.

    Args:
        named: the release.
        more: entries of one's own, each a name and a version specifier: `vllm <0.30`.
    """
    for entry in (*_denied(), *(_own(text) for text in more)):
        if _is_of(named, entry) and any(_within(named.release, specifier) for specifier in entry.releases):
            yield entry


def _within(release: str, specifier: str) -> bool:
    """Whether a release falls under a version specifier (PEP 440); one that can't be read does not."""
    from packaging.version import InvalidVersion, Version

    try:
        return _specifier(specifier).contains(Version(release), prereleases=True)
    except InvalidVersion:
        return False


def _is_of(named: Named, entry: Denied) -> bool:
    if named.kind == "images":
        ended = any(f"/{named.name}".endswith(f"/{end}") for end in entry.images)
        return ended or bool(set(re.split(r"[_-]", named.name.rpartition("/")[2])) & set(entry.parts))
    name = re.sub(r"[-_.]+", "-", named.name).casefold()
    return name in {"packages": entry.packages, "programs": entry.programs, "charts": entry.charts}[named.kind]


@cache
def _denied() -> tuple[Denied, ...]:
    entries = table("denied-releases")["denied"]
    return tuple(
        Denied(
            name=entry["name"],
            releases=tuple(entry["releases"]),
            packages=tuple(entry["packages"]),
            programs=tuple(entry.get("programs", entry["packages"])),
            images=tuple(entry["images"]),
            parts=tuple(entry.get("parts", ())),
            charts=tuple(entry.get("charts", ())),
            why=f"{entry['why']} ({entry['source']})",
            mend=f"take {entry['fixed']}",
        )
        for entry in entries
    )


@cache
def _own(text: str) -> Denied:
    name, _, specifier = text.partition(" ")
    names = (name.casefold(),)
    why, mend = f"is on this stack's own list ({text})", "take a release that is not on the list"
    return Denied(name, (specifier,), names, names, names, (), names, why, mend)


@cache
def _specifier(text: str) -> SpecifierSet:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(text)

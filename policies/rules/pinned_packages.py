"""What is installed is pinned.

In start-up scripts Python packages by hash and others by an exact release; of a platform the programs of its engines by SHA-256.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.engines.platform import PlatformLaunch, served
from policies.readers.engines.sources import called
from policies.readers.scripts.shell import clean
from policies.readers.scripts.startup import TYPES, Script, scripts
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_SAID = {
    "pip": (
        "Python packages are installed without hashes, and what they depend on comes as it is today",
        "build them into the image, or install with `--require-hashes -r` from a locked file",
    ),
    "npm": (
        "a package is installed without an exact release",
        "build it into the image, or name the release as in `name@1.2.3`",
    ),
    "pipe": (
        "a download is run as it comes",
        "build it into the image, or download it, compare its SHA-256 and run it then",
    ),
}
"""By the kind of install: what is so, and what to do."""


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The models of a platform; of other resources their scripts."""
    yield from served(resource.inputs) if resource.type == PLATFORM else scripts(resource)


def check(item: PlatformLaunch | Script, about: About) -> Iterator[Violation]:
    """What it installs can't change by itself."""
    yield from _program(item) if isinstance(item, PlatformLaunch) else _script(item)


def _program(launch: PlatformLaunch) -> Iterator[Violation]:
    """A program that machines fetch from an address has a digest; others come with Slipway's locked hashes, or from here."""
    program = launch.node("engine", "program")
    address = program.get("url")
    if address is not None and not program.get("sha256"):
        what = f"{launch.terms.shown}, for {called(launch)}, is fetched from {clean(address)} without a digest"
        mend = "give its SHA-256 in engine.program.sha256"
        yield violation(program, "sha256", what=what, mend=mend)


def _script(script: Script) -> Iterator[Violation]:
    """Every install in it is pinned."""
    for install in script.installs():
        if not install.pinned:
            what, mend = _SAID[install.kind]
            # The command alone: the whole script would be long, and may hold secrets.
            shown = "[secret]" if script.hidden else install.shown
            yield Violation(where=script.path, value=shown, what=what, mend=mend)


RULE = Rule(
    id="pinned-packages",
    title="What a start-up script or a platform installs is pinned by hash",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="whoever takes over one package or its server runs code on the next machine that starts",
    mend="build what is needed into the image",
    source="pip documentation, Secure installs, Hash-checking Mode; BerriAI/litellm#24518",
    url="https://pip.pypa.io/en/stable/topics/secure-installs/",
    types=(PLATFORM, *TYPES),
    items=items,
    check=check,
)

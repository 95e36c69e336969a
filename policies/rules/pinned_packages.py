"""What a start-up script installs is pinned: Python packages by hash, others by an exact release."""

from collections.abc import Iterator

from policies.rule import About, Group, Rule, Severity, Violation
from policies.subjects.scripts import TYPES, Script, scripts

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


def check(script: Script, about: About) -> Iterator[Violation]:
    """Every install in it is pinned."""
    for install in script.installs():
        if not install.pinned:
            what, mend = _SAID[install.kind]
            # The command alone: the whole script would be long, and may hold secrets.
            shown = "[secret]" if script.hidden else install.shown
            yield Violation(where=script.path, value=shown, what=what, mend=mend)


RULE = Rule(
    id="pinned-packages",
    title="What a start-up script installs is pinned by hash",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="whoever takes over one package or its server runs code on the next machine that starts",
    mend="build what is needed into the image",
    source="pip documentation, Secure installs, Hash-checking Mode; BerriAI/litellm#24518",
    url="https://pip.pypa.io/en/stable/topics/secure-installs/",
    types=TYPES,
    items=scripts,
    check=check,
)

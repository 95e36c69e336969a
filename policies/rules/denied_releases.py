"""No release runs that is known to be tampered with, or to let strangers in."""

from collections.abc import Iterator

from policies.readers.releases import TYPES, Place, denied, releases
from policies.rule import About, Group, Rule, Severity, Violation


def check(place: Place, about: About) -> Iterator[Violation]:
    """None of the releases named there is on the list."""
    for named in place.named():
        for entry in denied(named, about.parameters["denied"]):
            what = f"{entry.name} {named.release} {entry.why}"
            yield Violation(where=named.where, value=named.shown, what=what, mend=entry.mend)


RULE = Rule(
    id="denied-releases",
    title="No release runs that is known to be tampered with, or to let strangers in",
    group=Group.SECURITY,
    severity=Severity.CRITICAL,
    reason="attackers look for this release by its name",
    mend="take another release",
    source="BerriAI/litellm#24518 and the advisories in policies/data/denied-releases.yaml",
    url="https://github.com/BerriAI/litellm/issues/24518",
    types=TYPES,
    items=releases,
    check=check,
    parameters={
        "denied": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^\S+ [<>=!~].*$"},
            "default": [],
            "description": "Further releases, each a name (of a package, image or chart) and a specifier: `vllm <0.30`.",
        }
    },
)

"""The licence of each model that is served allows what the site does with it."""

from collections.abc import Iterator

from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import TYPES, launches
from policies.readers.engines.platform import PlatformLaunch
from policies.readers.engines.sources import called
from policies.rule import About, Group, Rule, Severity, Violation


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """The licence is one of those allowed; without a list, one that allows commercial use."""
    licence, commercial, where = _licence(launch)
    allowed = [str(each).casefold() for each in about.parameters["allowed"]]
    if licence is None:
        if not about.parameters["unknownAllowed"]:
            mend = "serve a model of the catalogue, or add an exception that says who read its licence"
            yield Violation(where, called(launch), "nobody has said what this model's licence is", mend)
    elif allowed:
        if licence.casefold() not in allowed:
            yield Violation(where, licence, f"the licence of {called(launch)} is not on the list of those allowed")
    elif not commercial:
        yield Violation(where, licence, f"the licence of {called(launch)} forbids commercial use")


def _licence(launch: Launch) -> tuple[str | None, bool, str]:
    """Licence, whether it allows commercial use, and where that is said."""
    if isinstance(launch, PlatformLaunch):
        # Nothing said about commercial use is a model that the catalogue does not know, or a partial declaration.
        commercial = launch.get("commercialUse", default=True)
        return launch.get("licence"), bool(commercial), launch.at("licence")
    known = launch.known_model
    return (None, False, launch.path) if known is None else (known.licence, known.commercial_use, launch.path)


RULE = Rule(
    id="model-licences",
    title="The licence of each model that is served allows its use here",
    group=Group.COMPLIANCE,
    severity=Severity.HIGH,
    reason="the maker can forbid the service, and claim damages for what it has earned",
    mend="serve a model whose licence allows it, or put the licence on this rule's list `allowed` once you have leave",
    source="ISO/IEC 42001:2023, A.10.3, Suppliers; the models' licences as their makers publish them",
    url="https://www.iso.org/standard/42001",
    types=TYPES,
    items=launches,
    check=check,
    parameters={
        "allowed": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Licences as the catalogue writes them (SPDX, or the maker's name); empty: all with commercial use.",
        },
        "unknownAllowed": {
            "type": "boolean",
            "default": True,
            "description": "Whether a model may be served whose licence the catalogue does not know.",
        },
    },
)

"""Requests to a private model never go on to a cloud's.

Not judged: fall-backs that a caller, a key or a team brings along, and those in the parameters of one backend.
"""

from collections.abc import Iterator

from policies.node import UnknownValueError
from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.litellm import TYPES, Configuration, Ways, Where, configurations


def check(configuration: Configuration, about: About) -> Iterator[Violation]:
    """Neither within a model's group, nor by an alias, nor by a fall-back."""
    unknown: list[UnknownValueError] = []
    own, allowed = about.parameters["privateDomains"], set(about.parameters["allowed"])
    backends, aliases = configuration.backends(unknown, own), configuration.aliases(unknown)
    ways = Ways(backends, aliases, own)
    groups = {backend.group for backend in backends} - allowed
    for backend in backends:
        if backend.where is Where.CLOUD:
            what = "a private model shares its name, and so its requests, with a cloud's"
            mend = "give the cloud's model another model_name"
            told = violation(backend.model, what=what, mend=mend)
            yield from _told(told, groups & {backend.group}, ways, unknown)
    for name, target in aliases.items():
        if ways.cloud(target):
            told = violation(
                target, what="requests to a private model go to a cloud's by an alias", mend="remove the alias"
            )
            yield from _told(told, groups & {name}, ways, unknown)
    for source, target in configuration.fallbacks(unknown):
        sources = groups if source is None else {ways.group(source)} - allowed
        try:
            led = ways.cloud(target)
        except UnknownValueError as error:
            unknown.append(error)
            continue
        if led:
            told = violation(target, what="what a private model fails at goes on to a cloud's")
            yield from _told(told, sources, ways, unknown)
    if unknown:
        raise unknown[0]


def _told(told: Violation, sources: set[str], ways: Ways, unknown: list[UnknownValueError]) -> Iterator[Violation]:
    """The violation where one of the sources is private; where one may be, that it is not known."""
    if any(map(ways.private, sources)):
        yield told
        return
    places = [place for source in sorted(sources) if (place := ways.unsaid(source)) is not None]
    unknown += [UnknownValueError(place.path) for place in places]


RULE = Rule(
    id="cloud-fallback",
    title="Private models have no fall-back in a cloud",
    group=Group.COMPLIANCE,
    severity=Severity.CRITICAL,
    reason="prompts that were promised to stay inside leave as soon as an engine is busy or down",
    mend="remove the fall-back, or name another private model",
    source="LiteLLM documentation, Proxy, Fallbacks; Supported Models & Providers",
    url="https://docs.litellm.ai/docs/proxy/reliability",
    types=TYPES,
    items=configurations,
    check=check,
    parameters={
        "allowed": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Names of private models that may fall back to a cloud.",
        },
        "privateDomains": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Domains of one's own whose names look public, such as corp.example.com: their hosts are private. "
            "An address of another public name, or from a variable, is not judged but told where a cloud's model is near.",
        },
    },
)

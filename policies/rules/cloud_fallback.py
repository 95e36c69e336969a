"""Requests to a private model never go on to a cloud's.

Private is what runs on one's own servers. In Slipway's platform a model's fall-backs do no harm where only private teams may ask
for it: their requests stay inside whatever fails. Not judged: fall-backs that a caller, a key or a team brings along, and those
in the parameters of one backend.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.gateways.litellm import TYPES, Configuration, configurations
from policies.readers.gateways.routes import Routes
from policies.readers.gateways.ways import Ways, Where
from policies.readers.unknown import each
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_MEND = (
    "remove the fall-back, make the teams private that may ask for it, or put the model on this rule's list `allowed`"
)


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The models of a platform, and configurations of LiteLLM."""
    if resource.type == PLATFORM:
        yield from each(resource.inputs, "models")
    else:
        yield from configurations(resource)


def check(item: Node, about: About) -> Iterator[Violation]:
    """Nothing of a private model's requests leaves."""
    if isinstance(item, Configuration):
        yield from _litellm(item, about)
    else:
        yield from _model(item, about)


def _model(model: Node, about: About) -> Iterator[Violation]:
    """A name of a platform for which an engine here answers: by none of its targets and fall-backs does it leave."""
    name = str(model.get("name"))
    routes = Routes(about.resource.inputs, about.parameters["privateDomains"])
    leaving = [] if name in about.parameters["allowed"] else list(_leaving(model, name, routes))
    # Most names stay inside; then it is no matter who may ask for them.
    if leaving and routes.is_here(name) and (model.get("private", default=False) or routes.asked_openly(name)):
        yield from leaving


def _leaving(model: Node, name: str, routes: Routes) -> Iterator[Violation]:
    for target, _ in model.entries("targets"):
        for where in routes.outside(target):
            what = f"{name} shares its requests, of which a part is answered here, with {where}"
            yield violation(model, "targets", target, what=what, mend="give the provider's model a name of its own")
    for fallback in model.each("fallbacks"):
        for where in routes.leaves_by(str(fallback.get())):
            yield violation(fallback, what=f"what {name} fails at goes on to {where}", mend=_MEND)


def _litellm(configuration: Configuration, about: About) -> Iterator[Violation]:
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
    types=(PLATFORM, *TYPES),
    items=items,
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

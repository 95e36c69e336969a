"""Engines fetch what requests name by an address from few hosts, and from none inside.

Looked at are the models of Slipway's platform, whose vLLM fetches from nowhere unless it is told hosts. Not judged: engines that
have no such setting, and names that the site's DNS gives an inner address.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from policies.node import Node, UnknownValueError
from policies.readers.engines.platform import served
from policies.readers.gateways.ways import is_private
from policies.readers.unknown import each, unknown_as_item
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The hosts, model by model."""
    for launch in unknown_as_item(served(resource.inputs)):
        if isinstance(launch, UnknownValueError):
            yield launch
        else:
            yield from each(launch, "engine", "mediaDomains")


def check(domain: Node, about: About) -> Iterator[Violation]:
    """It is a public host, and one that the site names where it names any."""
    host, allowed = str(domain.get()), about.parameters["allowed"]
    if any(fnmatchcase(host, pattern) for pattern in allowed):
        return
    if is_private(host):
        yield violation(domain, what=f"whoever has a key can have the engine ask {host}, which is inside")
    elif allowed:
        yield violation(domain, what=f"the engine fetches from {host}, and allowed are {', '.join(allowed)}")


RULE = Rule(
    id="media-domains",
    title="Engines fetch what requests name from few hosts, and from none inside",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="callers see through the engine what its network alone may see: metadata of the cloud, other services",
    mend="take the host off engine.media_domains and have clients send data: URLs, or put it on this rule's list `allowed`",
    source="OWASP Top 10:2021, A10 Server-Side Request Forgery; vLLM documentation, Security",
    url="https://owasp.org/Top10/A10_2021-Server-Side_Request_Forgery_%28SSRF%29/",
    types=(PLATFORM,),
    items=items,
    check=check,
    parameters={
        "allowed": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Hosts from which engines may fetch, with `*` and `?`; inner ones too. Where none is named, every "
            "public host may be.",
        },
    },
)

"""Web pages that may ask the front are named one by one."""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.unknown import each
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The origins that the front allows."""
    yield from each(resource.inputs, "front", "allowedOrigins")


def check(origin: Node, about: About) -> Iterator[Violation]:
    """It is one origin, and whoever serves it is known."""
    name = str(origin.get())
    if "*" in name or name == "null":
        yield violation(origin, what=f"{name} lets pages of many sites ask with a key that they got hold of")
    elif name.startswith("http://") and not about.parameters["plain"]:
        yield violation(origin, what=f"whoever is on the way to {name} can change the page, and ask with its key")


RULE = Rule(
    id="exact-origins",
    title="Web pages that may ask the front are named one by one, and come by HTTPS",
    group=Group.SECURITY,
    severity=Severity.MEDIUM,
    reason="a page that a user opens anywhere can use what the user's browser reaches, and read the answers",
    mend="name the origin exactly in front.allowed_origins, like https://app.example.com",
    source="OWASP Web Security Testing Guide 4.2, 4.11.7 Testing Cross Origin Resource Sharing",
    url="https://owasp.org/www-project-web-security-testing-guide/v42/4-Web_Application_Security_Testing/11-Client-side_Testing/07-Testing_Cross_Origin_Resource_Sharing",
    types=(PLATFORM,),
    items=items,
    check=check,
    parameters={
        "plain": {
            "type": "boolean",
            "default": False,
            "description": "Whether pages without TLS may ask, as on developers' own machines.",
        },
    },
)

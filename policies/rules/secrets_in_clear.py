"""No key, password or token stands in clear in a stack's configuration or in a resource's inputs."""

from collections.abc import Iterator

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.secrets.texts import Text, texts, texts_of
from policies.resources import PLATFORM, STACK, Resource
from policies.rule import About, Group, Rule, Severity, Violation

_HIDDEN = "[hidden]"
_PLATFORM_CONFIG = "slipway:platform"


def items(resource: Resource) -> Iterator[Node]:
    """Every text that may hold a secret, each alone; for the stack itself all of it."""
    inputs = resource.inputs
    if resource.type == STACK:
        yield inputs
        return
    if resource.type == PLATFORM:
        yield from inputs.each("clearSecrets")
    yield from (text for text in texts_of(resource) if text.suspicious())


def check(item: Node, about: About) -> Iterator[Violation]:
    """Neither a token's form, nor a literal value under a secret's name."""
    if about.resource.type == STACK:
        yield from _configuration(about.stack.config)
    elif not isinstance(item, Text):
        # What Slipway itself has found in the stack's file.
        what = f"{_PLATFORM_CONFIG}.{item.get()} stands in clear in the stack's file"
        yield Violation(where=item.path, value=_HIDDEN, what=what)
    elif item.raw is UNKNOWN:
        # By a secret's name, not known yet, and not kept secret.
        raise UnknownValueError(item.path)
    else:
        yield from _told(item, "stands in clear")


def _configuration(config: Node) -> Iterator[Violation]:
    for key, node in config.entries():
        # The platform's own secrets are told by the platform; what else is in it arrives in its inputs.
        if key != _PLATFORM_CONFIG:
            for text in texts(node, key):
                yield from _told(text, "stands in clear in the stack's configuration")


def _told(text: Text, how: str) -> Iterator[Violation]:
    found = text.secrets()
    if found:
        yield Violation(where=text.path, value=_HIDDEN, what=f"{' and '.join(found)} {how}")


RULE = Rule(
    id="secrets-in-clear",
    title="No key, password or token stands in clear in configuration or inputs",
    group=Group.SECURITY,
    severity=Severity.CRITICAL,
    reason="whoever reads the stack's file, its state or a log of it has the secret",
    mend="keep it by `pulumi config set --secret`, or refer to a secret store or a Kubernetes Secret; replace what was in clear",
    source="CWE-798, Use of Hard-coded Credentials; OWASP Secrets Management Cheat Sheet",
    url="https://cwe.mitre.org/data/definitions/798.html",
    types=("*",),
    items=items,
    check=check,
)

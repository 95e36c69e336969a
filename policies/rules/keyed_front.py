"""Whoever calls an engine or a gateway needs a key.

Looked at are vLLM, SGLang, Text Generation Inference and LiteLLM: in pods, ECS tasks, and containers that a machine's script
starts and publishes. Not judged: other engines, and keys that a front of its own (KServe, an operator) asks for.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.resources import Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation
from policies.subjects.container_launch import ContainerLaunch
from policies.subjects.front import open_engine, open_gateway
from policies.subjects.kubernetes import Container
from policies.subjects.starts import TYPES, gateways, starts


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Engines and gateways."""
    yield from starts(resource)
    yield from gateways(resource)


def check(item: Node, about: About) -> Iterator[Violation]:
    """Whichever of them it is."""
    if isinstance(item, ContainerLaunch):
        # Every pod of a cluster reaches an engine's port, unless a network plugin enforces a policy: so it needs a key.
        what = open_engine(item, about.resource, about.stack)
        mend = f"set {item.terms.key_setting} from a Secret, and have the gateway send it"
        if what is not None:
            yield violation(item.container, "name", what=what, mend=mend)
    elif isinstance(item, Container):
        what = open_gateway(item, about.resource, about.stack)
        if what is not None:
            yield violation(item, "name", what=what, mend="set LITELLM_MASTER_KEY from a Secret")
    # Without a word on teams nobody can say; an empty list says that there are none.
    elif item.get("gateway", "teams") == []:
        yield violation(
            item,
            *("gateway", "teams"),
            what="no team has a key of the gateway",
            mend="give each team a key in gateway.keys",
        )


RULE = Rule(
    id="keyed-front",
    title="Whoever calls an engine or a gateway needs a key",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="everything that reaches the port uses the GPUs, and nobody can tell, limit or bill who it was",
    mend="set a key, and give it to the callers only",
    source="vLLM documentation, Security; LiteLLM documentation, Virtual keys",
    url="https://docs.vllm.ai/en/stable/usage/security/",
    types=TYPES,
    scope=Scope.STACK,
    items=items,
    check=check,
)

"""Whoever calls an engine or a gateway needs a key."""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.resources import Resource, Stack
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation
from policies.subjects.kubernetes import Container, sets
from policies.subjects.launches import TYPES, ContainerLaunch, launches
from policies.subjects.litellm import CONFIG_MAP, SECRET, configurations, gateways
from policies.subjects.programs import script

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ELSEWHERE = {"api-key", "config", "headless", "uds"}
"""Flags of vLLM by which it has a key, or may have it from a file, or by which it opens no port."""


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Engines and gateways."""
    yield from launches(resource)
    yield from gateways(resource)


def check(item: Node, about: About) -> Iterator[Violation]:
    """Whichever of them it is."""
    if isinstance(item, ContainerLaunch):
        yield from _engine(item)
    elif isinstance(item, Container):
        yield from _gateway(item, about.stack)
    # Without a word on teams nobody can say; an empty list says that there are none.
    elif item.get("gateway", "teams") == []:
        yield violation(
            item,
            *("gateway", "teams"),
            what="no team has a key of the gateway",
            mend="give each team a key in gateway.keys",
        )


def _engine(launch: ContainerLaunch) -> Iterator[Violation]:
    """Every pod of a cluster reaches an engine's port, unless a network plugin enforces a policy: so it needs a key."""
    if sets(launch.container, "VLLM_API_KEY"):
        return
    flags = launch.flags
    closed = _ELSEWHERE & flags.keys() or flags.get("host") in _LOOPBACK
    if not closed:
        yield violation(
            launch,
            "name",
            what="vLLM answers without a key: neither --api-key nor VLLM_API_KEY is set",
            mend="set VLLM_API_KEY from a Secret, and have the gateway send it",
        )


def _gateway(container: Container, stack: Stack) -> Iterator[Violation]:
    """The master key is in the environment, or in the configuration that the container is given."""
    if sets(container, "LITELLM_MASTER_KEY"):
        return
    if "--config" in script(container) and _configured(stack):
        return
    yield violation(
        container,
        "name",
        what="LiteLLM answers without a key: neither LITELLM_MASTER_KEY nor master_key is set",
        mend="set LITELLM_MASTER_KEY from a Secret",
    )


def _configured(stack: Stack) -> bool:
    """Whether a configuration in the stack names the master key; one from elsewhere, which nobody sees, may."""
    kept = stack.of_type(CONFIG_MAP, SECRET)
    found = [configuration for resource in kept for configuration in configurations(resource)]
    return not found or any(configuration.has("general_settings", "master_key") for configuration in found)


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

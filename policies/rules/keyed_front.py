"""Whoever calls an engine or a gateway needs a key.

Looked at are vLLM, SGLang, Text Generation Inference, llama.cpp, Ollama and LiteLLM: in pods, ECS tasks, and containers that a
machine's script starts and publishes; and the engines of Slipway's platform that listen beyond their own machine. Not judged:
other engines, and keys that a front of its own (KServe, an operator) asks for.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.launches import TYPES, gateways, launches
from policies.readers.engines.platform import PlatformLaunch
from policies.readers.engines.sources import called
from policies.readers.gateways.access import is_loopback, open_engine, open_gateway
from policies.readers.kubernetes.pods import Container
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Engines and gateways."""
    yield from launches(resource)
    yield from gateways(resource)
    if resource.type == PLATFORM:
        yield resource.inputs


def check(item: Node, about: About) -> Iterator[Violation]:
    """Nobody is answered without a key."""
    if isinstance(item, ContainerLaunch):
        # Every pod of a cluster reaches an engine's port, unless a network plugin enforces a policy: so it needs a key.
        what = open_engine(item, about.resource, about.stack)
        if what is not None:
            yield violation(item.container, "name", what=what, mend=_mend(item))
    elif isinstance(item, Container):
        what = open_gateway(item, about.resource, about.stack)
        if what is not None:
            yield violation(item, "name", what=what, mend="set LITELLM_MASTER_KEY from a Secret")
    elif isinstance(item, PlatformLaunch):
        yield from _instances(item)
    # Without a word on teams nobody can say; an empty list says that there are none.
    elif item.get("teams") == []:
        yield violation(
            item,
            "teams",
            what="no team has a key of the gateway",
            mend="give each team a key in gateway.teams",
        )


def _mend(launch: ContainerLaunch) -> str:
    if launch.terms.keyed:
        return f"set {launch.terms.key_setting} from a Secret, and have the gateway send it"
    return "have it listen on loopback, and put beside it in its pod what asks for a key"


def _instances(launch: PlatformLaunch) -> Iterator[Violation]:
    """Whoever is in the private network reaches an engine that does not listen on loopback."""
    if launch.terms.keyed:
        mend = "set gateway.engine_key"
    else:
        mend = f"{launch.terms.shown} has no keys: have it run on the gateway's machine"
    for instance in launch.instances():
        # What holds a part of a replica is asked nothing, and lets the replica's other machines in alone.
        if not instance.is_asked:
            continue
        if not is_loopback(str(instance.get("address", default="127.0.0.1"))) and not launch.keyed:
            what = f"{launch.terms.shown} answers without a key for {called(launch)} on {instance.machine}"
            yield violation(instance, "address", what=what, mend=mend)


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

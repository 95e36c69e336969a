"""Prompts and answers are in no log, unless the site allows it."""

import re
from collections.abc import Iterator

from policies.node import Key, Node, UnknownValueError
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.drivers import numbers
from policies.subjects.kubernetes import Container, command_line, environment
from policies.subjects.launches import TYPES, ContainerLaunch, Launch, launches
from policies.subjects.litellm import Configuration, configurations, gateways, is_true, names

BEDROCK = "aws:bedrockmodel/invocationLoggingConfiguration:InvocationLoggingConfiguration"
QUIET_SINCE = [0, 10, 1]
"""vLLM's first release that logs requests only where it is told to (vllm-project/vllm#21739)."""
FLAGS = {
    "enable-log-requests": "the engine logs requests, and at log level DEBUG, or before 0.11.2 always, their prompts",
    "enable-log-outputs": "the engine logs its answers",
}
DEBUG = {"LITELLM_LOG": "debug", "DETAILED_DEBUG": "true|1|yes|on"}
"""Variables of LiteLLM's, with the values at which it logs whole requests."""


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Engines, gateways and their configurations; the model invocation logging of Bedrock."""
    if resource.type == BEDROCK:
        yield resource.inputs.node("loggingConfig")
    else:
        yield from launches(resource)
        yield from configurations(resource)
        yield from gateways(resource)


def _engine(launch: Launch) -> Iterator[Violation]:
    """No flag turns it on; releases that log by themselves are told not to."""
    flags = {name.replace("_", "-"): value for name, value in launch.flags.items()}
    for name, what in FLAGS.items():
        if str(flags.get(name, False)) not in {"False", "false"}:
            yield violation(launch, *_place(launch, name), what=what)
    old = launch.release is not None and numbers(launch.release) < QUIET_SINCE
    if old and "disable-log-requests" not in flags:
        place = ("image",) if isinstance(launch, ContainerLaunch) else ("engine", "release")
        what = f"vLLM {launch.release} logs every prompt unless it has the flag --disable-log-requests"
        yield violation(launch, *place, what=what, mend="set the flag, or use a newer release")


def _place(launch: Launch, flag: str) -> tuple[Key, ...]:
    """Where a flag stands."""
    if not isinstance(launch, ContainerLaunch):
        return ("engine", "flags", flag)
    return ("args",) if any(flag in str(word.data).replace("_", "-") for word in launch.each("args")) else ("command",)


def _gateway(container: Container) -> Iterator[Violation]:
    """It does not run at its debug level."""
    if "--detailed_debug" in command_line(container):
        key = "args" if "--detailed_debug" in container.get("args", default=[]) else "command"
        yield violation(container, key, what="the gateway logs whole requests")
    for name, entry in environment(container):
        if name in DEBUG and re.fullmatch(DEBUG[name], str(entry.get("value", default="")), re.IGNORECASE):
            yield violation(entry, "value", what="the gateway logs whole requests")


def _settings(configuration: Configuration) -> Iterator[Violation]:
    """No callback gets messages, no spend log keeps them, and nothing is verbose."""
    quiet = is_true(configuration.get("litellm_settings", "turn_off_message_logging"))
    for key in ("callbacks", "success_callback", "failure_callback"):
        for callback in configuration.listed("litellm_settings", key):
            name = str(callback.get())
            own = configuration.get("callback_settings", name, "message_logging", default=True)
            if name in names("callbacks") and not quiet and own is not False:
                what = f"{callback.show()} gets prompts and answers"
                yield violation(callback, what=what, mend="set litellm_settings.turn_off_message_logging to true")
    if is_true(configuration.get("general_settings", "store_prompts_in_spend_logs")):
        place = ("general_settings", "store_prompts_in_spend_logs")
        yield violation(configuration, *place, what="the gateway's database keeps prompts and answers")
    if is_true(configuration.get("litellm_settings", "set_verbose")):
        yield violation(configuration, "litellm_settings", "set_verbose", what="the gateway logs whole requests")


def check(item: Node, about: About) -> Iterator[Violation]:
    """Nothing logs what users write and get."""
    if about.parameters["allowed"]:
        return
    if isinstance(item, Launch):
        yield from _engine(item)
    elif isinstance(item, Configuration):
        yield from _settings(item)
    elif isinstance(item, Container):
        yield from _gateway(item)
    # Absent is true with this provider.
    elif item.data is not None and item.get("textDataDeliveryEnabled", default=True):
        yield violation(item, "textDataDeliveryEnabled", what="Bedrock logs prompts and answers")


RULE = Rule(
    id="prompt-logging",
    title="Prompts and answers are in no log, unless the site allows it",
    group=Group.COMPLIANCE,
    severity=Severity.HIGH,
    reason="what users write to a model in confidence lies open to whoever may read logs, for as long as those are kept",
    mend="turn it off, or have the site allow it (parameter allowed)",
    source="vLLM documentation, vllm serve, --enable-log-requests; vllm-project/vllm#26713; LiteLLM documentation, Logging",
    url="https://docs.litellm.ai/docs/proxy/logging",
    types=(*TYPES, BEDROCK),
    items=items,
    check=check,
    parameters={
        "allowed": {
            "type": "boolean",
            "default": False,
            "description": "Whether prompts and answers may be logged.",
        },
    },
)

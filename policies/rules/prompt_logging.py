"""Prompts and answers are in no log, unless the site allows it.

Not judged: engines other than vLLM, and what a program of one's own logs.
"""

import re
from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.container_launch import ContainerLaunch
from policies.subjects.drivers import numbers
from policies.subjects.flags import flags_of, is_on, place_of, server_words
from policies.subjects.kubernetes import Container, environment
from policies.subjects.launch import Launch
from policies.subjects.launches import TYPES, launches
from policies.subjects.litellm import Configuration, configurations, gateways, is_true, names

BEDROCK = "aws:bedrockmodel/invocationLoggingConfiguration:InvocationLoggingConfiguration"
QUIET_SINCE = [0, 10, 1]
"""vLLM's first release that logs requests only where it is told to (vllm-project/vllm#21739)."""
FLAGS = {
    "enable-log-requests": "the engine logs requests, and at log level DEBUG, or before 0.11.2 always, their prompts",
    "enable-log-outputs": "the engine logs its answers",
}
RESPONSES = "VLLM_DEBUG_LOG_API_SERVER_RESPONSE"
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
    """No flag or variable turns it on; releases that log by themselves are told not to."""
    flags = {name.replace("_", "-"): value for name, value in launch.flags.items()}
    for name, what in FLAGS.items():
        if is_on(flags.get(name)):
            yield _flag(launch, name, what)
    yield from _responses(launch)
    old = launch.release is not None and numbers(launch.release) < QUIET_SINCE
    # Whatever stands in the place of a word that is not known may be one of them.
    if isinstance(launch, ContainerLaunch):
        launch.need_flags(*FLAGS, "disable-log-requests")
    if old and "disable-log-requests" not in flags:
        place = ("image",) if isinstance(launch, ContainerLaunch) else ("engine", "release")
        what = f"vLLM {launch.release} logs every prompt unless it has the flag --disable-log-requests"
        yield violation(launch, *place, what=what, mend="set the flag, or use a newer release")


def _flag(launch: Launch, name: str, what: str) -> Violation:
    """The flag alone is shown: words beside it may be keys."""
    if isinstance(launch, ContainerLaunch):
        return Violation(where=launch.at(*launch.place_of(name)), value=f"--{name}", what=what)
    return violation(launch, "engine", "flags", name, what=what)


def _responses(launch: Launch) -> Iterator[Violation]:
    if isinstance(launch, ContainerLaunch):
        entries = [(name, entry.node("value")) for name, entry in environment(launch.container)]
    else:
        entries = list(launch.entries("engine", "environment"))
    for name, node in entries:
        if name == RESPONSES and is_true(node.get(default="")):
            yield violation(node, what="the engine logs its answers")


def _gateway(container: Container) -> Iterator[Violation]:
    """It does not run at its debug level."""
    if is_on(flags_of(server_words(container)).value("detailed-debug")):
        place = place_of(container, "detailed-debug")
        yield Violation(where=container.at(*place), value="--detailed_debug", what="the gateway logs whole requests")
    for name, entry in environment(container):
        if name in DEBUG and re.fullmatch(DEBUG[name], str(entry.get("value", default="")), re.IGNORECASE):
            yield violation(entry, "value", what="the gateway logs whole requests")


def _settings(configuration: Configuration) -> Iterator[Violation]:
    """No callback gets messages, no spend log keeps them, and nothing is verbose."""
    quiet = is_true(configuration.get("litellm_settings", "turn_off_message_logging"))
    for callback in _callbacks(configuration):
        name = str(callback.get())
        own = configuration.get("callback_settings", name, "message_logging", default=True)
        if name in names("callbacks") and not quiet and own is not False:
            what = f"{callback.show()} gets prompts and answers"
            yield violation(callback, what=what, mend="set litellm_settings.turn_off_message_logging to true")
    if is_true(configuration.get("general_settings", "store_prompts_in_spend_logs")):
        place = ("general_settings", "store_prompts_in_spend_logs")
        yield violation(configuration, *place, what="the gateway's database keeps prompts and answers")
    for name in ("set_verbose", "log_raw_request_response"):
        if is_true(configuration.get("litellm_settings", name)):
            yield violation(configuration, "litellm_settings", name, what="the gateway logs whole requests")


def _callbacks(configuration: Configuration) -> Iterator[Node]:
    """Those for all, and those of single teams."""
    for key in ("callbacks", "success_callback", "failure_callback"):
        yield from configuration.listed("litellm_settings", key)
    for team in configuration.each("litellm_settings", "default_team_settings"):
        for key in ("success_callback", "failure_callback"):
            yield from team.each(key)


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

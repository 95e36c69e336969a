"""Prompts and answers are in no log, unless the site allows it.

Not judged: engines whose flags are not known here, and what a program of one's own logs.
"""

import re
from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.flags import flags_of, is_on, place_of, server_words
from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import TYPES, gateways, launches
from policies.readers.engines.sources import called
from policies.readers.engines.terms import Logging
from policies.readers.gateways.litellm import Configuration, configurations, is_true, names
from policies.readers.kubernetes.pods import Container, environment
from policies.readers.unknown import Question
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation
from slipway.versions import numbers

BEDROCK = "aws:bedrockmodel/invocationLoggingConfiguration:InvocationLoggingConfiguration"
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
        if resource.type == PLATFORM:
            yield Question(resource.inputs, _content_log)


def _content_log(platform: Node, about: About) -> Iterator[Violation]:
    """What the front of Slipway's platform keeps: nothing, or what is allowed, and not for longer."""
    log, longest = platform.node("contentLog"), about.parameters["maxDays"]
    teams = ", ".join(str(team.get()) for team in log.each("teams"))
    if not about.parameters["allowed"]:
        if teams:
            yield violation(log, "teams", what=f"the front keeps what is asked and answered of {teams}")
    elif log.number("retentionDays", default=0) > longest:
        what = f"what is asked and answered is kept for longer than {longest} days"
        yield violation(log, "retentionDays", what=what, mend="lower gateway.content_log.retention_days")


def _engine(launch: Launch) -> Iterator[Violation]:
    """No flag or variable of its engine turns it on; releases that log by themselves are told not to."""
    terms = launch.terms
    flags = {name.replace("_", "-"): value for name, value in launch.flags.items()}
    for name, logging in terms.logging_flags.items():
        if is_on(flags.get(name)):
            # The flag alone is shown: words beside it may be keys.
            yield Violation(where=launch.place_of_flag(name), value=f"--{name}", what=_said(launch, logging))
    for name, node in launch.environment():
        found = terms.logging_variables.get(name)
        if found is not None and re.fullmatch(found.values, str(node.get(default="")), re.IGNORECASE):
            yield violation(node, what=_said(launch, found))
    # Whatever stands in the place of a word that is not known may be one of them.
    if isinstance(launch, ContainerLaunch):
        launch.need_flags(*terms.logging_flags, *filter(None, [terms.quiet_flag]))
    release = launch.release
    if release is not None and tuple(numbers(release)) < terms.quiet_since and terms.quiet_flag not in flags:
        what = f"{terms.shown} {release}, of {called(launch)}, logs every prompt unless it has the flag --{terms.quiet_flag}"
        mend = "set the flag, or use a newer release"
        yield Violation(where=launch.place("release").path, value=release, what=what, mend=mend)


def _said(launch: Launch, logging: Logging) -> str:
    return f"{logging.what} ({called(launch)})"


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
    if isinstance(item, Question):
        yield from item.answers(about)
        return
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
        "maxDays": {
            "type": "integer",
            "minimum": 1,
            "default": 30,
            "description": "Days for which the front of Slipway's platform may keep them, where they may be logged.",
        },
    },
)

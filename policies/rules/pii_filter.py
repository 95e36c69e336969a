"""Where it is demanded, a filter for personal data looks at every prompt."""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.gateways.litellm import TYPES, Configuration, configurations, is_true, names
from policies.resources import PLATFORM
from policies.rule import About, Group, Rule, Severity, Violation, violation

BEFORE = {"pre_call", "during_call"}
"""Modes in which a guardrail sees the prompt before an answer to it goes out."""


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """Where it is demanded, Slipway's gateway and every configuration of LiteLLM that names models have one."""
    # Question first: where nothing is demanded, no configuration is read, and none that is not known yet is told.
    if not about.parameters["demanded"]:
        return
    if about.resource.type == PLATFORM:
        mend = "put a gateway with a filter before it, or grant an exception"
        for gateway in inputs.each("gateways"):
            what = f"Slipway's gateway {gateway.get('name')} has no filter for personal data"
            yield violation(gateway, what=what, mend=mend)
        return
    filters = {*names("guardrails"), *about.parameters["guardrails"]}
    unknown: list[UnknownValueError] = []
    for configuration in configurations(about.resource):
        if configuration.has("model_list"):
            try:
                yield from _unfiltered(configuration, filters)
            except UnknownValueError as error:
                unknown.append(error)
    # What is known was judged; what is not is told.
    if unknown:
        raise unknown[0]


def _unfiltered(configuration: Configuration, filters: set[str]) -> Iterator[Violation]:
    """No guardrail that finds personal data is on for every request."""
    guarded = any(_covers(guardrail, filters) for guardrail in configuration.each("guardrails"))
    if not guarded and not _called(configuration):
        what = "no guardrail for personal data is on by default before a call"
        yield violation(configuration, "guardrails", what=what)


def _covers(guardrail: Node, filters: set[str]) -> bool:
    """Whether it looks for personal data, in every prompt, in time."""
    params = guardrail.node("litellm_params")
    modes = params.get("mode", default=[])
    listed = {modes} if isinstance(modes, str) else set(modes)
    return (
        params.get("guardrail") in filters
        and bool(listed & BEFORE)
        and is_true(params.get("default_on", default=False))
    )


def _called(gateway: Configuration) -> bool:
    """Whether Presidio is a callback of all requests, as older releases have it."""
    return any(callback.get() == "presidio" for callback in gateway.listed("litellm_settings", "callbacks"))


RULE = Rule(
    id="pii-filter",
    title="Where it is demanded, a filter for personal data looks at every prompt",
    group=Group.COMPLIANCE,
    severity=Severity.HIGH,
    reason="personal data that users paste into prompts are processed by the model, against what the site has promised",
    mend="add a guardrail such as presidio with mode pre_call and default_on true",
    source="LiteLLM documentation, Guardrails, PII Masking; OWASP Top 10 for LLM Applications 2025, LLM02",
    url="https://docs.litellm.ai/docs/proxy/guardrails/pii_masking_v2",
    types=(PLATFORM, *TYPES),
    check=check,
    parameters={
        "demanded": {
            "type": "boolean",
            "default": False,
            "description": "Whether every gateway must filter personal data. Gateways whose configuration is not in the stack "
            "are not judged.",
        },
        "guardrails": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Guardrails of one's own that find personal data, besides those that the rule knows.",
        },
    },
)

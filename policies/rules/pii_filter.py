"""Where it is demanded, a filter for personal data looks at every prompt.

In Slipway's platform a team has filters; in a configuration of LiteLLM that names models a guardrail has to be on for all.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.gateways.litellm import TYPES, Configuration, configurations, is_true, names
from policies.readers.gateways.routes import Routes
from policies.readers.unknown import collected, raise_first
from policies.resources import PLATFORM
from policies.rule import About, Group, Rule, Severity, Violation, violation

BEFORE = {"pre_call", "during_call"}
"""Modes in which a guardrail sees the prompt before an answer to it goes out."""


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """Where it is demanded, the teams of Slipway's gateway and every configuration of LiteLLM that names models have one."""
    if about.resource.type == PLATFORM:
        unknown_teams: list[UnknownValueError] = []
        if about.parameters["demanded"] or about.parameters["demandedOutside"]:
            for team in inputs.each("teams"):
                with collected(unknown_teams):
                    yield from _team(team, inputs, about)
        yield from raise_first(unknown_teams)
        return
    # Question first: where nothing is demanded, no configuration is read, and none that is not known yet is told.
    if not about.parameters["demanded"]:
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


def _team(team: Node, platform: Node, about: About) -> Iterator[Violation]:
    """Of Slipway's platform: what it asks is blocked or masked."""
    actions = team.get("filters", "in", default={})
    stopped = {kind for kind, action in actions.items() if action in {"block", "mask"}}
    missing = [kind for kind in about.parameters["kinds"] if kind not in stopped]
    if stopped and not missing:
        return
    leaving = list(Routes(platform, about.parameters["privateDomains"]).leaves_for(team))
    if not about.parameters["demanded"] and not leaving:
        return
    seen = f"no filter stops {', '.join(missing) or 'anything'} in what the team {team.get('name')} asks"
    what = f"{seen}, and {leaving[0]} may answer" if leaving else seen
    yield violation(team, "filters", what=what, mend="block or mask it under gateway.teams, filters, in")


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
        "demandedOutside": {
            "type": "boolean",
            "default": False,
            "description": "Whether teams of Slipway's platform whose requests may leave for a provider must have a filter.",
        },
        "kinds": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "What a team's filters must block or mask, such as chinese_id. Where nothing is named, any filter "
            "that blocks or masks will do.",
        },
        "privateDomains": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Domains whose hosts are one's own.",
        },
        "guardrails": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Guardrails of one's own that find personal data, besides those that the rule knows.",
        },
    },
)

"""Requests to a private model never go on to a cloud's."""

from collections.abc import Iterator

from policies.node import UnknownValueError
from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.litellm import TYPES, Backend, Configuration, Where, configurations


def check(configuration: Configuration, about: About) -> Iterator[Violation]:
    """Neither within a model's group, nor by a fall-back."""
    unknown: list[UnknownValueError] = []
    backends = configuration.backends(unknown)
    private = {backend.group for backend in backends if backend.where is Where.PRIVATE}
    guarded = private - set(about.parameters["allowed"])
    if guarded:
        clouds = [backend for backend in backends if backend.where is Where.CLOUD]
        yield from _mixed(clouds, guarded)
        yield from _led(configuration, clouds, guarded)
    if unknown:
        raise unknown[0]


def _mixed(clouds: list[Backend], guarded: set[str]) -> Iterator[Violation]:
    """Backends of a cloud among a private model's own."""
    for backend in clouds:
        if backend.group in guarded:
            what = "a private model shares its name, and so its requests, with a cloud's"
            yield violation(backend.model, what=what, mend="give the cloud's model another model_name")


def _led(configuration: Configuration, clouds: list[Backend], guarded: set[str]) -> Iterator[Violation]:
    """Fall-backs to a cloud, from a private model or from all."""
    groups = {backend.group for backend in clouds}
    for source, target in configuration.fallbacks():
        if target.get() in groups and (source is None or source in guarded):
            yield violation(target, what="what a private model fails at goes on to a cloud's")


RULE = Rule(
    id="cloud-fallback",
    title="Private models have no fall-back in a cloud",
    group=Group.COMPLIANCE,
    severity=Severity.CRITICAL,
    reason="prompts that were promised to stay inside leave as soon as an engine is busy or down",
    mend="remove the fall-back, or name another private model",
    source="LiteLLM documentation, Proxy, Fallbacks; Supported Models & Providers",
    url="https://docs.litellm.ai/docs/proxy/reliability",
    types=TYPES,
    items=configurations,
    check=check,
    parameters={
        "allowed": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Names of private models that may fall back to a cloud.",
        },
    },
)

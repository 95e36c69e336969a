"""In production no team is without any limit."""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.unknown import any_known, each
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Level, Rule, Scope, Severity, Violation, violation

LIMITS = ("requestsPerMinute", "tokensPerMinute", "parallelRequests", "tokensPerMonth")


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The teams of a platform."""
    yield from each(resource.inputs, "teams")


def check(team: Node, about: About) -> Iterator[Violation]:
    """One of its limits is set."""
    if about.stack.production and not any_known(LIMITS, lambda limit: team.get(limit) is not None):
        yield violation(team, "name", what=f"the team {team.get('name')} has no limit at all")


RULE = Rule(
    id="production-limits",
    title="In production no team is without any limit",
    group=Group.CAPACITY,
    severity=Severity.LOW,
    level=Level.ADVISORY,
    reason="one client in a loop takes the GPUs from everybody",
    mend="give it requests_per_minute, tokens_per_minute, parallel_requests or tokens_per_month",
    source="OWASP Top 10 for LLM Applications 2025, LLM10 Unbounded Consumption",
    url="https://genai.owasp.org/llmrisk/llm102025-unbounded-consumption/",
    types=(PLATFORM,),
    scope=Scope.STACK,
    items=items,
    check=check,
)

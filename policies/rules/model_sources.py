"""Models come from where the site allows."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from policies.rule import About, Group, Rule, Severity, Violation
from policies.subjects.launch import Launch
from policies.subjects.launches import TYPES, launches
from policies.subjects.sources import from_own_hub, place, source


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """The source matches a pattern of the list."""
    allowed = about.parameters["allowed"]
    # First, so that a model which nothing can name is no matter where all are allowed.
    if "*" in allowed:
        return
    found = source(launch)
    if found is None:
        return
    said = str(from_own_hub(found, launch))
    if not any(fnmatchcase(said, pattern) for pattern in allowed):
        yield Violation(where=place(launch).path, value=said, what="the model comes from a source that is not allowed")


RULE = Rule(
    id="model-sources",
    title="Models come from the sources that the site allows",
    group=Group.COMPLIANCE,
    severity=Severity.HIGH,
    reason="weights that nobody has vouched for decide what the service answers",
    mend="take the model from an allowed source, or add this one to this rule's list `allowed`",
    source="OWASP Top 10 for LLM Applications 2025, LLM03 Supply Chain",
    url="https://genai.owasp.org/llmrisk/llm032025-supply-chain/",
    types=TYPES,
    items=launches,
    check=check,
    parameters={
        "allowed": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": ["*"],
            "description": (
                "Patterns over `hub:org/name`, `hub@host:org/name` (of a hub of one's own, by HF_ENDPOINT), "
                "`mirror:https://host/…`, `path:/…` (where the deployment runs), `host:/…` (where the engine runs) and "
                "addresses as `s3://bucket/…`."
            ),
        }
    },
)

"""Models come from where the site allows."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from policies.node import Node, UnknownValueError
from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import TYPES, launches
from policies.readers.engines.platform import provided
from policies.readers.engines.sources import Source, from_own_hub, provided_source, source
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Severity, Violation


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Engine launches, and the models that providers serve for a platform."""
    yield from launches(resource)
    if resource.type == PLATFORM:
        yield from provided(resource.inputs)


def check(item: Node, about: About) -> Iterator[Violation]:
    """The source matches a pattern of the list."""
    allowed = about.parameters["allowed"]
    # First, so that a model which nothing can name is no matter where all are allowed.
    if "*" in allowed:
        return
    where, found = _source(item, about)
    said = str(found)
    if found is not None and not any(fnmatchcase(said, pattern) for pattern in allowed):
        yield Violation(where=where, value=said, what="the model comes from a source that is not allowed")


def _source(item: Node, about: About) -> tuple[str, Source | None]:
    """Where the source is said, and what it is."""
    if not isinstance(item, Launch):
        return item.at("provider"), provided_source(item, about.resource.inputs)
    found = source(item)
    return item.place("source").path, None if found is None else from_own_hub(found, item)


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
    items=items,
    check=check,
    parameters={
        "allowed": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": ["*"],
            "description": (
                "Patterns over `hub:org/name`, `hub@host:org/name` (of a hub of one's own, by HF_ENDPOINT), "
                "`mirror:https://host/…`, `path:/…` (where the deployment runs), `host:/…` (where the engine runs), "
                "`provider@openai:gpt-5-mini` (of a platform's provider, by its address's host, or its kind) and addresses as "
                "`s3://bucket/…` (S3's own), `s3@host:bucket/…` (of an object store of one's own, by its endpoint)."
            ),
        }
    },
)

"""No Python code of a model's repository is run, unless the model is allowed to bring some.

Not judged: models that a chart's values name, so that its flag stands for itself; an exception says that somebody read the code.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import TYPES, launches
from policies.readers.engines.sources import called
from policies.readers.kubernetes.charts import trusting
from policies.readers.unknown import unknown_as_item
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation

_WHAT = "trust_remote_code runs the Python code that the model brings"


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Starts of engines, and the flag in values of charts."""
    yield from launches(resource)
    yield from unknown_as_item(trusting(resource))


def check(item: Node, about: About) -> Iterator[Violation]:
    """Trust is off, or the model is on the list."""
    if not isinstance(item, Launch):
        item.get()  # an unknown word may be the flag
        yield Violation(where=item.path, value="trust_remote_code", what=_WHAT)
    elif item.trust_remote_code and item.model not in about.parameters["allowed"]:
        yield Violation(where=item.place("remote_code").path, value=called(item), what=_WHAT)


RULE = Rule(
    id="trust-remote-code",
    title="Code that comes with a model is not run unless the model is allowed to bring some",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="whoever can write to the model's repository runs code on the engine's host, next to its keys and its prompts",
    mend="take trust_remote_code away, or read that code, pin the revision and put the model on this rule's list `allowed`",
    source="vLLM documentation, Security; Hugging Face Transformers documentation, Custom models",
    url="https://docs.vllm.ai/en/latest/usage/security/",
    types=TYPES,
    items=items,
    check=check,
    parameters={
        "allowed": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Models whose code somebody has read, as the launch names them: `org/name` or a path.",
        }
    },
)

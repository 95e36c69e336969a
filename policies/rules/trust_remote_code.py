"""No Python code of a model's repository is run, unless the model is allowed to bring some."""

from collections.abc import Iterator

from policies.rule import About, Group, Rule, Severity, Violation
from policies.subjects.launches import TYPES, ContainerLaunch, Launch, launches
from policies.subjects.sources import called


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """Trust is off, or the model is on the list."""
    # `--trust-remote-code MODEL` is the flag as well, though a word follows it.
    flag = str(launch.flags.get("trust-remote-code", False)).casefold() not in {"false", "0", "no"}
    if (launch.trust_remote_code or flag) and launch.model not in about.parameters["allowed"]:
        where = launch.path if isinstance(launch, ContainerLaunch) else launch.at("model", "trustRemoteCode")
        what = "trust_remote_code runs the Python code that the model brings"
        yield Violation(where=where, value=called(launch), what=what)


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
    items=launches,
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

"""In a stack that is to be offline, no engine asks a public model hub."""

from collections.abc import Iterator

from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.container_launch import ContainerLaunch
from policies.subjects.launch import Launch
from policies.subjects.launches import TYPES, launches
from policies.subjects.sources import called, hub_is_off, is_own_hub, says_no, variable


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """The hub is switched off, or it is one's own."""
    if not about.parameters["offline"]:
        return
    if isinstance(launch, ContainerLaunch):
        if not hub_is_off(launch) and not is_own_hub(variable(launch, "HF_ENDPOINT")):
            what = "the engine may ask a public hub for its model, its tokenizer or a newer revision"
            yield Violation(where=launch.path, value=called(launch), what=what)
        return
    endpoint = launch.get("model", "source", "endpoint")
    if launch.get("model", "source", "kind") == "hub" and not is_own_hub(endpoint):
        mend = "give model.source.endpoint of a hub of your own, or take the model from path, host_path or mirror"
        repository = launch.get("model", "source", "repository")
        what = f"{repository} is fetched from a public hub"
        yield violation(launch, "model", "source", "endpoint", what=what, mend=mend)
    if says_no(launch.get("engine", "environment", "HF_HUB_OFFLINE")):
        what = "the engine's libraries are told to ask the hub"
        yield violation(launch, "engine", "environment", "HF_HUB_OFFLINE", what=what)


RULE = Rule(
    id="offline-hub",
    title="In an offline stack no engine asks a public model hub",
    group=Group.COMPLIANCE,
    severity=Severity.MEDIUM,
    reason="the service waits at its start for a network that is not there, or tells strangers what it serves",
    mend="set HF_HUB_OFFLINE to 1 and mount the model, or set HF_ENDPOINT to a hub of your own",
    source="Hugging Face Hub documentation, Environment variables, HF_HUB_OFFLINE and HF_ENDPOINT",
    url="https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables",
    types=TYPES,
    items=launches,
    check=check,
    parameters={
        "offline": {
            "type": "boolean",
            "default": False,
            "description": "Whether this stack is to run without a network beyond its own.",
        }
    },
)

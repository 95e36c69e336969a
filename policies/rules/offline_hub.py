"""In a stack that is to be offline, no engine asks a public model hub."""

from collections.abc import Iterator

from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import SIZED_TYPES, sized_launches
from policies.readers.engines.sources import called, hub_is_off, is_own_hub, says_no, variable
from policies.rule import About, Group, Rule, Severity, Violation, violation


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """The hub is switched off, or it is one's own."""
    if not about.parameters["offline"]:
        return
    if isinstance(launch, ContainerLaunch):
        if not hub_is_off(launch) and not is_own_hub(variable(launch, "HF_ENDPOINT")):
            what = "the engine may ask a public hub for its model, its tokenizer or a newer revision"
            yield Violation(where=launch.path, value=called(launch), what=what)
        return
    endpoint = launch.get("source", "endpoint")
    if launch.get("source", "kind") == "hub" and not is_own_hub(endpoint):
        mend = "give source.endpoint of a hub of your own, or take the model from path, host_path, mirror or s3"
        repository = launch.get("source", "repository")
        what = f"{repository}, for {called(launch)}, is fetched from a public hub"
        yield violation(launch, "source", "endpoint", what=what, mend=mend)
    if says_no(launch.get("engine", "environment", "HF_HUB_OFFLINE")):
        what = f"the libraries of {called(launch)}'s engine are told to ask the hub"
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
    types=SIZED_TYPES,
    items=sized_launches,
    check=check,
    parameters={
        "offline": {
            "type": "boolean",
            "default": False,
            "description": "Whether this stack is to run without a network beyond its own.",
        }
    },
)

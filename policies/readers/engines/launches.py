"""Every engine launch in a resource: of Slipway's platform, in Kubernetes, in ECS tasks, in machines' scripts, by KServe.

A script whose text is not in the stack is no launch. Where an operator writes the command from terms of its own, nobody knows
what it starts: that is told once for each. Not judged: privileges of ECS tasks and of containers that a script starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from policies.node import Node, UnknownValueError
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.launch import Launch
from policies.readers.engines.platform import served
from policies.readers.engines.programs import engine_of, matching, runs_litellm
from policies.readers.engines.terms import KSERVE, VLLM
from policies.readers.kubernetes.pods import ANY, Container, Pod, containers
from policies.readers.scripts.docker import runs
from policies.readers.scripts.startup import MACHINES, TASK_DEFINITION
from policies.readers.unknown import unknown_as_item
from policies.resources import PLATFORM, Resource

TYPES = (PLATFORM, ANY, TASK_DEFINITION, *MACHINES)
"""Types in which `launches` finds something."""
SIZED_TYPES = (PLATFORM, ANY)
"""Types in which `sized_launches` finds something."""

_OPERATORS = {
    "RayService": ("spec", "serveConfigV2"),
    "NIMService": ("spec", "image"),
    "DynamoGraphDeployment": ("spec", "services"),
}
"""By kind of custom resource what its operator makes an engine of."""


def launches(resource: Resource) -> Iterator[Launch | UnknownValueError]:
    """Every engine launch in the resource; in the place of one of which nobody knows it, the unknown value."""
    if resource.type == PLATFORM:
        yield from unknown_as_item(served(resource.inputs))
    elif resource.type == TASK_DEFINITION:
        yield from _launched(_tasks(resource))
    elif resource.type in MACHINES:
        yield from _launched(runs(resource))
    else:
        yield from _in_cluster(resource)


def sized_launches(resource: Resource) -> Iterator[Launch | UnknownValueError]:
    """The engine launches whose figures Slipway can tell: a platform's, and vLLM's in Kubernetes.

    Raises:
        UnknownValueError: what would hold one is not known yet.
    """
    if resource.type == PLATFORM:
        yield from served(resource.inputs)
        return
    for launch in _in_pods(resource):
        if isinstance(launch, UnknownValueError) or launch.terms is VLLM:
            yield launch


def gateways(resource: Resource) -> Iterator[Container | UnknownValueError]:
    """Every container that runs LiteLLM's proxy, wherever it stands; in the place of one, the unknown value."""
    if resource.type == TASK_DEFINITION:
        yield from unknown_as_item(matching(_tasks(resource), runs_litellm))
    elif resource.type in MACHINES:
        yield from unknown_as_item(matching(runs(resource), runs_litellm))
    else:
        yield from unknown_as_item(matching(containers(resource), runs_litellm))


def _in_cluster(resource: Resource) -> Iterator[Launch | UnknownValueError]:
    kind = resource.type.rpartition(":")[2]
    operated = resource.inputs.node()
    for key in _OPERATORS.get(kind, ()):
        operated = operated.node(key)
    if kind in _OPERATORS and operated.raw is not None:
        yield UnknownValueError(operated.path)
    yield from _in_pods(resource)
    if kind == "InferenceService":
        yield from unknown_as_item(_kserve_model(resource))


def _in_pods(resource: Resource) -> Iterator[Launch | UnknownValueError]:
    """Of pods. A Ray cluster's operator writes the commands itself."""
    if not resource.type.startswith("kubernetes:ray.io/"):
        yield from _launched(containers(resource), resource)


def _launched(found: Iterable[Container], resource: Resource | None = None) -> Iterator[Launch | UnknownValueError]:
    """The launches among the containers; of a group of pods (LeaderWorkerSet) its size is needed."""
    for container in unknown_as_item(found):
        if isinstance(container, UnknownValueError):
            yield container
            continue
        try:
            terms = engine_of(container)
        except UnknownValueError as unknown:
            yield unknown
            continue
        if terms is not None:
            leads = resource is not None and container.path.startswith("spec.leaderWorkerTemplate.")
            group = resource.inputs.node("spec", "leaderWorkerTemplate", "size") if resource and leads else None
            yield ContainerLaunch(container, group, terms)


def _tasks(resource: Resource) -> Iterator[Container]:
    """The containers of an ECS task, in the terms of Kubernetes."""
    for task in resource.inputs.document("containerDefinitions").each():
        secrets = [{"name": secret.node("name").raw, "valueFrom": {}} for secret in task.each("secrets")]
        files: list[dict[str, Any]] = [{"secretRef": {}} for _ in task.each("environmentFiles")]
        data: dict[str, Any] = {
            "name": task.node("name").raw,
            "image": task.node("image").raw,
            "command": task.node("entryPoint").raw,
            "args": task.node("command").raw,
            "env": [each.raw for each in task.each("environment")] + secrets,
            "envFrom": files,
        }
        given = {name: value for name, value in data.items() if value not in (None, [])}
        yield Container(given, task.path, Pod({}, task.path, Node(None)))


def _kserve_model(resource: Resource) -> Iterator[Launch]:
    """KServe's model, which a runtime of the cluster's choice starts."""
    model = resource.inputs.node("spec", "predictor").node("model")
    if model.data is None:
        return
    stored = model.get("storageUri")
    data = {name: node.raw for name, node in model.entries()}
    if stored is not None:
        # What is stored is mounted for the runtime, and is what it serves.
        data["env"] = [each.raw for each in model.each("env")]
        data["args"] = [*(each.raw for each in model.each("args")), f"--model-id={stored}"]
    yield ContainerLaunch(Container(data, model.path, Pod({}, model.path, Node(None))), terms=KSERVE)

"""Starts of any engine, wherever they stand, for rules that ask no figures.

Besides `launches` these are those of other engines, of ECS tasks, of machines' scripts, and of KServe's models.
Where an operator writes the command from terms of its own, nobody knows what it starts: that is told once for each.
Not judged: figures and logs of these engines, privileges of ECS tasks and of containers that a script starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from policies.node import Node, UnknownValueError
from policies.resources import PLATFORM, Resource
from policies.subjects.container_launch import ContainerLaunch
from policies.subjects.docker import runs
from policies.subjects.engines import KSERVE, SGLANG, TGI
from policies.subjects.kubernetes import ANY, Container, Pod, containers
from policies.subjects.launch import Launch
from policies.subjects.launches import launches
from policies.subjects.programs import asked, runs_litellm, runs_sglang, runs_tgi, runs_vllm
from policies.subjects.scripts import MACHINES, TASK_DEFINITION
from policies.subjects.unknowns import in_place

TYPES = (PLATFORM, ANY, TASK_DEFINITION, *MACHINES)
"""Types in which `starts` finds something."""

_OPERATORS = {
    "RayService": ("spec", "serveConfigV2"),
    "NIMService": ("spec", "image"),
    "DynamoGraphDeployment": ("spec", "services"),
}
"""By kind of custom resource what its operator makes an engine of."""


def starts(resource: Resource) -> Iterator[Launch | UnknownValueError]:
    """Every start of an engine; in the place of one of which nobody knows it, what is not known."""
    if resource.type == PLATFORM:
        yield from launches(resource)
    elif resource.type == TASK_DEFINITION:
        yield from _all(in_place(_tasks(resource)))
    elif resource.type in MACHINES:
        yield from _all(in_place(runs(resource)))
    else:
        yield from _in_cluster(resource)


def gateways(resource: Resource) -> Iterator[Container | UnknownValueError]:
    """Every container that runs LiteLLM's proxy, wherever it stands; in the place of one, what is not known."""
    if resource.type == TASK_DEFINITION:
        yield from in_place(asked(_tasks(resource), runs_litellm))
    elif resource.type in MACHINES:
        yield from in_place(asked(runs(resource), runs_litellm))
    else:
        yield from in_place(asked(containers(resource), runs_litellm))


def _in_cluster(resource: Resource) -> Iterator[Launch | UnknownValueError]:
    kind = resource.type.rpartition(":")[2]
    operated = resource.inputs.node()
    for key in _OPERATORS.get(kind, ()):
        operated = operated.node(key)
    if kind in _OPERATORS and operated.raw is not None:
        yield UnknownValueError(operated.path)
    yield from in_place(launches(resource))
    if not resource.type.startswith("kubernetes:ray.io/"):
        yield from _others(in_place(containers(resource)))
    if kind == "InferenceService":
        yield from in_place(_model(resource))


def _all(found: Iterable[Container | UnknownValueError]) -> Iterator[Launch | UnknownValueError]:
    each = list(found)
    known = [container for container in each if isinstance(container, Container)]
    yield from (ContainerLaunch(one) if isinstance(one, Container) else one for one in asked(known, runs_vllm))
    yield from _others(each)


def _others(found: Iterable[Container | UnknownValueError]) -> Iterator[Launch | UnknownValueError]:
    for container in found:
        if isinstance(container, UnknownValueError):
            yield container
            continue
        # What is told of vLLM is settled, whatever the image turns out to be.
        if any(isinstance(one, Container) for one in asked([container], runs_vllm)):
            continue
        for terms, question in ((SGLANG, runs_sglang), (TGI, runs_tgi)):
            for one in asked([container], question):
                yield ContainerLaunch(one, terms=terms) if isinstance(one, Container) else one


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


def _model(resource: Resource) -> Iterator[Launch]:
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

"""Container images, wherever a resource names one: pods, ECS tasks, Lambda functions, SageMaker models, Batch jobs."""

from __future__ import annotations

from collections.abc import Iterator

from policies.node import Node
from policies.resources import Resource
from policies.subjects.kubernetes import ANY, containers_of
from policies.subjects.workloads import running

TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
_FUNCTION = "aws:lambda/function:Function"
_SAGEMAKER = "aws:sagemaker/model:Model"
_BATCH = "aws:batch/jobDefinition:JobDefinition"

TYPES = (ANY, TASK_DEFINITION, _FUNCTION, _SAGEMAKER, _BATCH)
"""Types in which `images` finds something."""


def images(resource: Resource) -> Iterator[Node]:
    """The place of each image reference, known or not.

    Raises:
        UnknownValueError: what would hold one is unknown.
    """
    inputs = resource.inputs
    if resource.type == TASK_DEFINITION:
        places = [each.node("image") for each in inputs.document("containerDefinitions").each()]
    elif resource.type == _FUNCTION:
        places = [inputs.node("imageUri")]
    elif resource.type == _SAGEMAKER:
        places = [each.node("image") for key in ("primaryContainer", "containers") for each in inputs.each(key)]
    elif resource.type == _BATCH:
        places = [inputs.document("containerProperties").node("image")]
    else:
        places = [container.node("image") for pod in running(resource) for container in containers_of(pod)]
    for place in places:
        if place.raw not in (None, ""):
            yield place

"""Container images, wherever a resource names one: pods, ECS tasks, Lambda functions, SageMaker models, Batch jobs, scripts.

Not judged: images that an operator's resource names by other keys than a pod's, such as those of a KServe model or a NIMService.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policies.node import Node
from policies.readers.kubernetes.pods import ANY, Pod, containers_of
from policies.readers.kubernetes.workloads import running
from policies.readers.scripts.docker import runs
from policies.readers.scripts.startup import MACHINES, TASK_DEFINITION
from policies.readers.unknown import known_first
from policies.resources import Resource

_FUNCTION = "aws:lambda/function:Function"
_SAGEMAKER = "aws:sagemaker/model:Model"
_BATCH = "aws:batch/jobDefinition:JobDefinition"

TYPES = (ANY, TASK_DEFINITION, _FUNCTION, _SAGEMAKER, _BATCH, *MACHINES)
"""Types in which `images` finds something."""


def images(resource: Resource) -> Iterator[Node]:
    """The place of each image reference, known or not.

    Raises:
        UnknownValueError: what would hold one is unknown.
    """
    inputs = resource.inputs
    places: Iterable[Node]
    if resource.type == TASK_DEFINITION:
        places = [each.node("image") for each in inputs.document("containerDefinitions").each()]
    elif resource.type == _FUNCTION:
        places = [inputs.node("imageUri")]
    elif resource.type == _SAGEMAKER:
        places = [each.node("image") for key in ("primaryContainer", "containers") for each in inputs.each(key)]
    elif resource.type == _BATCH:
        places = [inputs.document("containerProperties").node("image")]
    elif resource.type in MACHINES:
        places = (run.node("image") for run in runs(resource))
    else:
        places = known_first(map(_of_pod, running(resource)))
    for place in places:
        if place.raw not in (None, ""):
            yield place


def _of_pod(pod: Pod) -> Iterator[Node]:
    """Of its containers, and of volumes that are images."""
    containers = (container.node("image") for container in containers_of(pod))
    volumes = (volume.node("image", "reference") for volume in pod.each("volumes"))
    return known_first((containers, volumes))

"""No container runs as root."""

from collections.abc import Iterator
from typing import Any

from policies.readers.kubernetes.pods import ANY, Container
from policies.readers.kubernetes.workloads import is_patch, is_windows, running_containers
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Container]:
    """Containers; a patch leaves most of them to others."""
    if not is_patch(resource):
        yield from running_containers(resource)


def check(container: Container, about: About) -> Iterator[Violation]:
    """The kubelet is told to refuse root, and no user 0 is asked for."""
    if is_windows(container.pod):
        return
    if _setting(container, "runAsUser") == 0:
        yield violation(
            _holder(container, "runAsUser"), "securityContext", "runAsUser", what="the container runs as root"
        )
    elif _setting(container, "runAsNonRoot") is not True:
        yield violation(
            _holder(container, "runAsNonRoot"),
            "securityContext",
            "runAsNonRoot",
            what="the container may run as root, which is what most images do",
        )


def _holder(container: Container, key: str) -> Any:
    """Where a setting stands: at the container, which overrides the pod, or at the pod."""
    at_pod = not container.has("securityContext", key) and container.pod.has("securityContext", key)
    return container.pod if at_pod else container


def _setting(container: Container, key: str) -> Any:
    """What holds for the container."""
    return _holder(container, key).get("securityContext", key)


RULE = Rule(
    id="k8s-non-root",
    title="Containers run as a user other than root",
    group=Group.KUBERNETES,
    severity=Severity.HIGH,
    reason="who breaks out of a container as root is root on the GPU node",
    mend="set securityContext.runAsNonRoot to true and runAsUser to a number above 0, at the pod or the container",
    source="Kubernetes Pod Security Standards, Restricted: Running as Non-root; Running as Non-root user",
    url="https://kubernetes.io/docs/concepts/security/pod-security-standards/",
    types=(ANY,),
    items=items,
    check=check,
)

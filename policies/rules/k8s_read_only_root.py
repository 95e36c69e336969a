"""Containers can't change the files of their image."""

from collections.abc import Iterator

from policies.readers.kubernetes.pods import ANY, Container
from policies.readers.kubernetes.workloads import is_patch, is_windows, running_containers
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Container]:
    """Containers; a patch leaves most of them to others."""
    if not is_patch(resource):
        yield from running_containers(resource)


def check(container: Container, about: About) -> Iterator[Violation]:
    """The root file system is mounted read-only; it has to be said for each container."""
    key = ("securityContext", "readOnlyRootFilesystem")
    if not is_windows(container.pod) and container.get(*key) is not True:
        yield violation(container, *key, what="the container can write to its own root file system")


RULE = Rule(
    id="k8s-read-only-root",
    title="Containers have a read-only root file system",
    group=Group.KUBERNETES,
    severity=Severity.MEDIUM,
    reason="an intruder can put programs into a running engine, and caches fill the node's disk",
    mend="set securityContext.readOnlyRootFilesystem to true, and mount an emptyDir where it writes: /tmp, its cache",
    source="NSA and CISA, Kubernetes Hardening Guide 1.2, Kubernetes Pod security: Immutable container file systems",
    url="https://media.defense.gov/2022/Aug/29/2003066362/-1/-1/0/CTR_KUBERNETES_HARDENING_GUIDANCE_1.2_20220829.PDF",
    types=(ANY,),
    items=items,
    check=check,
)

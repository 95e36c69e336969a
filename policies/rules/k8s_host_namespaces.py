"""Pods stay out of the node's own namespaces: network, processes, shared memory.

In the values of a Helm release the settings count by their usual names. Not judged: what its chart sets by itself.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.kubernetes.charts import switches
from policies.readers.kubernetes.pods import ANY, Container
from policies.readers.kubernetes.workloads import containers_with_image, running
from policies.readers.unknown import known_first, unknown_as_item
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_WHAT = {
    "hostNetwork": "the pod is on the node's network, where no NetworkPolicy holds",
    "hostPID": "the pod sees all processes of the node",
    "hostIPC": "the pod shares the node's shared memory",
    "hostPort": "the container opens a port of the node",
}
_MEND = {
    "hostNetwork": "remove it; for RDMA give the pod a device of its own, by the SR-IOV or RDMA shared device plugin",
    "hostIPC": "remove it; for NCCL's shared memory mount an emptyDir of medium Memory at /dev/shm",
    "hostPort": "remove it, and reach the container through a Service",
}


_OFF = {"", "0", "false"}
_OF_PODS = ("hostNetwork", "hostPID", "hostIPC")


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Each place where one of the settings stands, or would."""
    yield from unknown_as_item(switches(resource, *_OF_PODS))
    for pod in running(resource):
        yield from (pod.node(key) for key in _OF_PODS)
        yield from unknown_as_item(known_first(map(_ports, containers_with_image(pod))))


def _ports(container: Container) -> Iterator[Node]:
    for port in container.each("ports"):
        yield port.node("hostPort")


def check(setting: Node, about: About) -> Iterator[Violation]:
    """It is not switched on; port 0 is none."""
    if str(setting.get(default=False)).casefold() not in _OFF:
        key = setting.path.rpartition(".")[2]
        yield violation(setting, what=_WHAT[key], mend=_MEND.get(key))


RULE = Rule(
    id="k8s-host-namespaces",
    title="Pods share no namespace and no port with their node",
    group=Group.KUBERNETES,
    severity=Severity.HIGH,
    reason="a pod that an intruder holds reaches the kubelet, the node's services and other teams' engines",
    mend="remove it",
    source="Kubernetes Pod Security Standards, Baseline: Host Namespaces; Host Ports",
    url="https://kubernetes.io/docs/concepts/security/pod-security-standards/",
    types=(ANY,),
    items=items,
    check=check,
)

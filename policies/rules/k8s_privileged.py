"""Containers get no privileges beyond what a process needs.

In the values of a Helm release `privileged` counts. Not judged there: what its chart sets by itself, and all other privileges.
"""

import posixpath
from collections.abc import Callable, Iterator

from policies.node import Node, UnknownValueError
from policies.readers.kubernetes.charts import switches
from policies.readers.kubernetes.pods import ANY, Container, Pod
from policies.readers.kubernetes.workloads import containers_with_image, is_patch, is_windows, running
from policies.readers.unknown import known_first, unknown_as_item
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation


class Question(Node):
    """A place, with what is asked of it."""

    __slots__ = ("ask",)

    def __init__(self, node: Node, ask: Callable[[Node, About], Iterator[Violation]]) -> None:
        super().__init__(node.raw, node.path)
        self.ask = ask


def items(resource: Resource) -> Iterator[Question | UnknownValueError]:
    """Each place where a privilege is given, or not taken away."""
    yield from unknown_as_item(Question(setting, _privileged) for setting in switches(resource, "privileged"))
    patch = is_patch(resource)
    for pod in running(resource):
        yield from unknown_as_item(Question(volume.node("hostPath"), _host_path) for volume in pod.each("volumes"))
        containers = containers_with_image(pod)
        yield from unknown_as_item(known_first(_of_container(container, pod, patch=patch) for container in containers))


def _of_container(container: Container, pod: Pod, *, patch: bool) -> Iterator[Question]:
    """A privileged container has all the rest as well, and is told once."""
    context = container.node("securityContext")
    privileged = context.node("privileged")
    yield Question(privileged, _privileged)
    if privileged.data is True or is_windows(pod):
        return
    yield from known_first((_additions(context), _omissions(context, pod, patch=patch)))


def _additions(context: Node) -> Iterator[Question]:
    for capability in context.each("capabilities", "add"):
        yield Question(capability, _added)


def _omissions(context: Node, pod: Pod, *, patch: bool) -> Iterator[Question]:
    # A patch leaves what it does not say to others.
    if not patch:
        yield Question(context.node("allowPrivilegeEscalation"), _escalation)
        yield Question(context.node("capabilities", "drop"), _dropped)
        own = context.node("seccompProfile", "type")
        at_pod = pod.node("securityContext", "seccompProfile", "type")
        yield Question(at_pod if own.data is None and at_pod.data is not None else own, _seccomp)


def check(question: Question, about: About) -> Iterator[Violation]:
    """What is asked of the place holds."""
    return question.ask(question, about)


def _privileged(setting: Node, about: About) -> Iterator[Violation]:
    if str(setting.get(default=False)).casefold() not in {"", "false"}:
        yield violation(
            setting,
            what="the container is privileged: it has every device and capability of the node",
            mend="remove it; a GPU comes by resources.limits and needs no privilege",
        )


def _escalation(setting: Node, about: About) -> Iterator[Violation]:
    if setting.get() is not False:
        yield violation(setting, what="a process may get more privileges than its parent", mend="set it to false")


def _dropped(capabilities: Node, about: About) -> Iterator[Violation]:
    if "ALL" not in {str(name).upper() for name in capabilities.get(default=[])}:
        yield violation(capabilities, what="the container keeps the runtime's capabilities", mend='set it to ["ALL"]')


def _added(capability: Node, about: About) -> Iterator[Violation]:
    name = str(capability.get()).upper().removeprefix("CAP_")
    if name not in about.parameters["capabilities"]:
        yield violation(
            capability,
            what=f"capability {name} is added",
            mend="remove it, or allow it in this rule's parameter capabilities (IPC_LOCK for RDMA)",
        )


def _seccomp(profile: Node, about: About) -> Iterator[Violation]:
    if profile.get() not in {"RuntimeDefault", "Localhost"}:
        yield violation(
            profile,
            what="no seccomp profile keeps the container from rare system calls",
            mend="set seccompProfile.type to RuntimeDefault, at the pod or the container",
        )


def _host_path(volume: Node, about: About) -> Iterator[Violation]:
    folder = volume.get("path")
    if folder is not None and not any(_within(str(folder), top) for top in about.parameters["hostPaths"]):
        yield violation(
            volume,
            "path",
            what="the pod mounts a folder of the node",
            mend="use a PersistentVolumeClaim (a local volume for models), or allow the folder in parameter hostPaths",
        )


def _within(folder: str, top: str) -> bool:
    """Whether a folder is `top`, or below it, dots resolved."""
    return f"{posixpath.normpath(folder)}/".startswith(f"{posixpath.normpath(top)}/")


RULE = Rule(
    id="k8s-privileged",
    title="Containers have no privileges that an inference service does not need",
    group=Group.KUBERNETES,
    severity=Severity.CRITICAL,
    reason="one hole in the engine or in a model's code is then enough to take the node, and all pods on its GPUs",
    mend="remove it",
    source=(
        "Kubernetes Pod Security Standards, Baseline: Privileged Containers, HostPath Volumes; "
        "Restricted: Privilege Escalation, Seccomp, Capabilities"
    ),
    url="https://kubernetes.io/docs/concepts/security/pod-security-standards/",
    types=(ANY,),
    items=items,
    check=check,
    parameters={
        "capabilities": {
            "type": "array",
            "items": {"type": "string"},
            "default": ["NET_BIND_SERVICE"],
            "description": "Capabilities that containers may add, without CAP_; IPC_LOCK where they use RDMA.",
        },
        "hostPaths": {
            "type": "array",
            "items": {"type": "string"},
            "default": [],
            "description": "Folders of the nodes that pods may mount, and all below them; for models on local disks.",
        },
    },
)

"""Kubernetes learns when a server is ready, when it hangs, and waits while it loads its model."""

from collections.abc import Iterator

from policies.readers.engines.programs import serves_model
from policies.readers.kubernetes.pods import Container
from policies.readers.kubernetes.workloads import is_patch, running
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Container]:
    """Containers that are meant to run on. A sidecar among the init containers has probes only where it wants them."""
    if is_patch(resource):
        return
    for pod in running(resource):
        # Absent is Always.
        if pod.get("restartPolicy", default="Always") == "Always":
            for node in pod.each("containers"):
                yield Container(node.raw, node.path, pod)


def check(container: Container, about: About) -> Iterator[Violation]:
    """A server has probes, and an engine time to start."""
    engine = serves_model(container)
    if not engine and not _serves(container):
        return
    if not container.has("readinessProbe"):
        yield violation(
            container,
            "readinessProbe",
            what="nothing says when the container can answer",
            mend="add a readiness probe; an engine answers at /health once its model is loaded",
        )
    waits = "startupProbe" if container.has("startupProbe") else "livenessProbe"
    if not container.has(waits):
        yield violation(container, waits, what="nothing notices when the container hangs", mend="add a liveness probe")
    elif engine and (seconds := _patience(container, waits)) < about.parameters["startSeconds"]:
        yield violation(
            container,
            waits,
            what=f"an engine that has not started after {seconds} s is killed, and loading a model takes minutes",
            mend=f"give it a startup probe with failureThreshold * periodSeconds >= {about.parameters['startSeconds']}",
        )


def _serves(container: Container) -> bool:
    """Whether it has a port for others than a scraper of metrics."""
    return any("metrics" not in str(port.get("name", default="")) for port in container.each("ports"))


def _patience(container: Container, probe: str) -> int:
    """Seconds until the kubelet kills a container that does not answer; defaults as the API has them."""
    delay = container.number(probe, "initialDelaySeconds", default=0)
    period = container.number(probe, "periodSeconds", default=10)
    return int(delay + period * container.number(probe, "failureThreshold", default=3))


RULE = Rule(
    id="k8s-probes",
    title="Servers have probes, and engines the time to load their model",
    group=Group.KUBERNETES,
    severity=Severity.MEDIUM,
    reason="requests go to engines that can't answer, or the kubelet restarts one for ever before it is ready",
    mend="add a readiness probe, a liveness probe, and for an engine a startup probe of several minutes",
    source="vLLM documentation, Using Kubernetes: Troubleshooting, Startup Probe or Readiness Probe Failure",
    url="https://docs.vllm.ai/en/latest/deployment/k8s/",
    types=(
        "kubernetes:apps/*",
        "kubernetes:extensions/*",
        "kubernetes:leaderworkerset.x-k8s.io/*",
        "kubernetes:argoproj.io/*:Rollout",
        "kubernetes:core/v1:ReplicationController",
        "kubernetes:core/v1:Pod",
    ),
    items=items,
    check=check,
    parameters={
        "startSeconds": {
            "type": "integer",
            "minimum": 0,
            "default": 300,
            "description": "Seconds that an engine must be given to load its model before a probe may restart it.",
        }
    },
)

"""What answers behind a port of a Kubernetes Service."""

from __future__ import annotations

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.resources import Resource, Stack
from policies.subjects.exposure import metrics_of, services_at
from policies.subjects.kubernetes import Container, Pod, own_name
from policies.subjects.programs import runs_engine, runs_litellm
from policies.subjects.selection import selected
from policies.subjects.unknowns import in_place
from policies.subjects.workloads import lasting


def private_behind(port: Node, service: Resource, stack: Stack) -> list[str]:
    """Engines, gateways and metrics behind the port: by the pods where they are in the stack, else by its number.

    Raises:
        UnknownValueError: what decides is unknown, and nothing that is known is one of them.
    """
    pods, doubt = _pods(service, stack)
    if pods:
        found: list[str] = []
        for resource, pod in pods:
            for said in _answering(port, pod):
                if isinstance(said, UnknownValueError):
                    doubt = doubt or said
                else:
                    found.append(f"{said} of {resource.name}")
        if found or doubt is None:
            return found
        raise doubt
    found = _by_number(port, service)
    # What is not known may be the pods.
    if not found and doubt is not None:
        raise doubt
    return found


def _pods(service: Resource, stack: Stack) -> tuple[list[tuple[Resource, Pod]], UnknownValueError | None]:
    pods: list[tuple[Resource, Pod]] = []
    doubt: UnknownValueError | None = None
    for found in selected(service, stack):
        if isinstance(found, UnknownValueError):
            doubt = doubt or found
        else:
            pods.append(found)
    return pods, doubt


def _answering(port: Node, pod: Pod) -> Iterator[str | UnknownValueError]:
    for container in in_place(_listening(port, pod)):
        if isinstance(container, UnknownValueError):
            yield container
        else:
            yield from in_place(_kind(container))


def _listening(port: Node, pod: Pod) -> Iterator[Container]:
    """The containers that declare the port; else those that declare none; else all of them."""
    target = port.get("targetPort", default=port.get("port"))
    containers = list(lasting(pod))
    declared = [[(p.get("name"), p.get("containerPort")) for p in each.each("ports")] for each in containers]
    exact = [
        each
        for each, ports in zip(containers, declared, strict=True)
        if any(target == name or str(target) == str(number) for name, number in ports)
    ]
    silent = [each for each, ports in zip(containers, declared, strict=True) if not ports]
    yield from exact or silent or containers


def _kind(container: Container) -> Iterator[str]:
    if runs_engine(container):
        yield "the engine"
    elif runs_litellm(container):
        yield "the gateway"
    elif (metrics := metrics_of(own_name(str(container.get("image", default=""))))) is not None:
        yield metrics


def _by_number(port: Node, service: Resource) -> list[str]:
    numbers, doubt = set(), None
    for answer in _numbers(port):
        if isinstance(answer, UnknownValueError):
            doubt = answer
        else:
            numbers.add(answer)
    found = services_at(numbers, service.name)
    if not found and doubt is not None:
        raise doubt
    return [f"port {each}" for each in found]


def _numbers(port: Node) -> Iterator[int | UnknownValueError]:
    for key in ("port", "targetPort"):
        try:
            number = str(port.get(key))
        except UnknownValueError as unknown:
            yield unknown
        else:
            if number.isdigit():
                yield int(number)

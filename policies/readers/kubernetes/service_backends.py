"""What answers behind a port of a Kubernetes Service."""

from __future__ import annotations

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.engines.programs import runs_engine, runs_litellm
from policies.readers.kubernetes.pods import Container, Pod, own_name
from policies.readers.kubernetes.selection import selected
from policies.readers.kubernetes.workloads import lasting
from policies.readers.service_ports import metrics_of, services_at
from policies.readers.unknown import unknown_as_item
from policies.resources import Resource, Stack


def private_backends(port: Node, service: Resource, stack: Stack) -> list[str]:
    """Engines, gateways and metrics behind the port: by the pods where they are in the stack, else by its number.

    Raises:
        UnknownValueError: what decides is unknown, and nothing that is known is one of them.
    """
    pods, first_unknown = _pods(service, stack)
    if pods:
        found: list[str] = []
        for resource, pod in pods:
            for said in _answering(port, pod):
                if isinstance(said, UnknownValueError):
                    first_unknown = first_unknown or said
                else:
                    found.append(f"{said} of {resource.name}")
        if found or first_unknown is None:
            return found
        raise first_unknown
    found = _by_number(port, service)
    # What is not known may be the pods.
    if not found and first_unknown is not None:
        raise first_unknown
    return found


def _pods(service: Resource, stack: Stack) -> tuple[list[tuple[Resource, Pod]], UnknownValueError | None]:
    pods: list[tuple[Resource, Pod]] = []
    first_unknown: UnknownValueError | None = None
    for found in selected(service, stack):
        if isinstance(found, UnknownValueError):
            first_unknown = first_unknown or found
        else:
            pods.append(found)
    return pods, first_unknown


def _answering(port: Node, pod: Pod) -> Iterator[str | UnknownValueError]:
    for container in unknown_as_item(_listening(port, pod)):
        if isinstance(container, UnknownValueError):
            yield container
        else:
            yield from unknown_as_item(_kind(container))


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
    numbers, first_unknown = set(), None
    for answer in _numbers(port):
        if isinstance(answer, UnknownValueError):
            first_unknown = answer
        else:
            numbers.add(answer)
    found = services_at(numbers, service.name)
    if not found and first_unknown is not None:
        raise first_unknown
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

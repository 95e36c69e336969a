"""Engines, gateways and metrics are never on a public address.

Not judged: Services that operators and charts make from values of their own, ports of hosts (hostPort), network ACLs.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.aws.openings import OPENINGS, Door, doors
from policies.readers.engines.platform import listeners
from policies.readers.kubernetes.service_backends import private_backends
from policies.readers.kubernetes.services import SERVICE, exposure
from policies.readers.networks import is_public
from policies.readers.service_ports import services_at
from policies.readers.unknown import any_known
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation

_EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104 -- what is looked for, not what is bound
_SHOWN = 3


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Networks that are let in, ports of a Service, or where the platform's engines and gateway listen."""
    if resource.type == SERVICE:
        yield from resource.inputs.each("spec", "ports")
    elif resource.type == PLATFORM:
        yield from listeners(resource.inputs)
    else:
        yield from doors(resource)


def check(item: Node, about: About) -> Iterator[Violation]:
    """It is reached from within only."""
    if isinstance(item, Door):
        yield from _door(item, about)
    elif about.resource.type == SERVICE:
        yield from _port(item, about)
    else:
        yield from _listener(item)


def _door(door: Door, about: About) -> Iterator[Violation]:
    """No public network is let in to their ports."""
    if not door.listed and isinstance(door.data, str) and not is_public(door.data):
        return
    open_ = services_at(door.ports(), about.resource.name)
    # Only now does it matter who is let in.
    if open_ and any_known(door.networks(about.resource, about.stack), lambda network: is_public(str(network.get()))):
        yield violation(door, what=f"{_said(open_)} is open to {door.get()}")


def _port(port: Node, about: About) -> Iterator[Violation]:
    """No Service offers them outside the cluster."""
    where: str | UnknownValueError | None
    try:
        where = exposure(about.resource.inputs)
    except UnknownValueError as unknown:
        where = unknown
    if where is None:
        return
    found = private_backends(port, about.resource, about.stack)
    if not found:
        return
    if isinstance(where, UnknownValueError):
        raise where
    yield violation(
        port,
        what=f"{', '.join(found)} is offered on {where}",
        mend="make it a Service of type ClusterIP behind the front that speaks TLS, or its load balancer an internal one",
    )


def _listener(listener: Node) -> Iterator[Violation]:
    """The platform's services listen on loopback or a private address."""
    address = str(listener.get("address", default=""))
    if address in _EVERYWHERE or is_public(address):
        yield violation(
            listener,
            "address",
            what=f"port {listener.get('port')} of {listener.get('name')} on {listener.get('machine')} is bound to "
            f"{address or 'every address'}",
            mend="bind it to loopback, or to the machine's private address",
        )


def _said(services: list[str]) -> str:
    more = len(services) - _SHOWN
    shown = ", ".join(services[:_SHOWN])
    return f"port {shown} and {more} more" if more > 0 else f"port {shown}"


RULE = Rule(
    id="private-services",
    title="Engines, gateways and metrics are never on a public address",
    group=Group.SECURITY,
    severity=Severity.CRITICAL,
    reason="most of their endpoints ask for no key and speak no TLS, so that prompts, models and GPUs are everybody's",
    mend="let in the private networks of those who call it, and the public to the front (443) only",
    source="vLLM documentation, Security; Ray documentation, Security",
    url="https://docs.vllm.ai/en/stable/usage/security/",
    types=(*OPENINGS, SERVICE, PLATFORM),
    scope=Scope.STACK,
    items=items,
    check=check,
)

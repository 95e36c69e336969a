"""Who reaches a port: what security groups let in, and how Kubernetes Services stand in the network."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.resources import Resource, Stack
from policies.subjects.aws import PREFIX_LIST, PREFIX_LISTS, Opening, Ports, is_public, openings

DATA = Path(__file__).parents[1] / "data"
SERVICE = "kubernetes:core/v1:Service"
_NONE = Ports(1, 0)
_PREFIX_LIST = "aws:ec2/managedPrefixList:ManagedPrefixList"
_PREFIX_LIST_ENTRY = "aws:ec2/managedPrefixListEntry:ManagedPrefixListEntry"


class Door(Node):
    """One network (CIDR) that a security group lets in, or a list of networks that it names."""

    __slots__ = ("listed", "opening")

    def __init__(self, node: Node, opening: Opening, *, listed: bool = False) -> None:
        super().__init__(node.raw, node.path)
        self.opening = opening
        self.listed = listed
        """Whether it is the name of a list."""

    def networks(self, resource: Resource, stack: Stack) -> Iterator[Node]:
        """The networks behind it, each of which may be unknown.

        Raises:
            UnknownValueError: it names a list that is not of the stack.
        """
        if not self.listed:
            yield self
            return
        lists = [other for other in stack.of_type(_PREFIX_LIST) if resource.refers_to(other)]
        if not lists:
            raise UnknownValueError(self.path)
        for each in lists:
            for entry in each.inputs.each("entries"):
                yield entry.node("cidr")
            for entry_of in stack.of_type(_PREFIX_LIST_ENTRY):
                if entry_of.refers_to(each):
                    yield entry_of.inputs.node("cidr")

    def ports(self) -> Ports:
        """TCP ports that are open to it.

        Raises:
            UnknownValueError: they are not known.
        """
        protocol = self.opening.get("protocol", default=self.opening.get("ipProtocol", default="-1"))
        return self.opening.ports() if str(protocol).casefold() in {"-1", "all", "tcp", "6"} else _NONE


def doors(resource: Resource) -> Iterator[Door]:
    """Every network that the resource lets in, each alone; one that is not known yet as well.

    Raises:
        UnknownValueError: the list of openings is unknown.
    """
    for opening in openings(resource):
        if opening.data is UNKNOWN:
            yield Door(opening, opening)
            continue
        for key in opening.source_keys:
            found = opening.node(key)
            alone = found.data is UNKNOWN or isinstance(found.data, str)
            for source in [found] if alone else opening.each(key):
                yield Door(source, opening, listed=key in {PREFIX_LIST, PREFIX_LISTS})


def services_at(ports: Container[int], said: str) -> list[str]:
    """Engines, gateways and metrics that usually listen on one of these ports, each with its port.

    Where many others listen as well, the name of the resource that is spoken of must say it.
    """
    known = table("service-ports")["ports"]
    return [
        f"{entry['port']} ({entry['service']})"
        for entry in known
        if entry["port"] in ports and entry.get("named", "") in said.casefold()
    ]


def metrics_of(image_name: str) -> str | None:
    """What an image is that serves metrics, or belongs to an engine, by its name without registry and tag."""
    for entry in table("service-ports")["ports"]:
        if any(re.fullmatch(pattern, image_name) for pattern in entry.get("images", [])):
            return str(entry["service"])
    return None


def exposure(service: Node) -> str | None:
    """Where a Kubernetes Service may be reached from outside the cluster; None where it is not.

    Raises:
        UnknownValueError: what decides is not known.
    """
    kind = service.get("spec", "type", default="ClusterIP")
    if kind == "NodePort":
        return "every address of every node"
    if kind == "LoadBalancer" and not _internal(service):
        return "a load balancer that nothing makes internal"
    if any(is_public(str(address)) for address in service.get("spec", "externalIPs", default=[])):
        return "a public address"
    return None


def _internal(service: Node) -> bool:
    known = table("internal-load-balancers")
    scheme = _annotation(service, known["scheme"])
    if scheme:
        return scheme == "internal"
    if service.get("spec", "loadBalancerClass") in known["classes"]:
        return True
    if any(_annotation(service, name) in values for name, values in known["annotations"].items()):
        return True
    networks = service.get("spec", "loadBalancerSourceRanges", default=[])
    addresses = [service.get("spec", "loadBalancerIP", default="")]
    for name in known["addresses"]:
        addresses += re.split(r"[\s,]+", _annotation(service, name))
    addresses = [address for address in addresses if address]
    return any(given and not any(is_public(str(each)) for each in given) for given in (networks, addresses))


def _annotation(service: Node, name: str) -> str:
    return str(service.get("metadata", "annotations", name, default="")).casefold()


@cache
def table(name: str) -> Any:
    """What a file of `policies/data` holds."""
    return yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8"))

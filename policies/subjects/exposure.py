"""Who reaches a port: what security groups let in, and how Kubernetes Services stand in the network."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policies.node import UNKNOWN, Node
from policies.resources import Resource
from policies.subjects.aws import Opening, Ports, is_public, openings

DATA = Path(__file__).parents[1] / "data"
SERVICE = "kubernetes:core/v1:Service"
_NONE = Ports(1, 0)


class Door(Node):
    """One network (CIDR) that a security group lets in."""

    __slots__ = ("opening",)

    def __init__(self, node: Node, opening: Opening) -> None:
        super().__init__(node.raw, node.path)
        self.opening = opening

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
                yield Door(source, opening)


def services_at(ports: Container[int]) -> list[str]:
    """Engines, gateways and metrics that usually listen on one of these ports, each with its port."""
    known = table("service-ports")["ports"]
    return [f"{entry['port']} ({entry['service']})" for entry in known if entry["port"] in ports]


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

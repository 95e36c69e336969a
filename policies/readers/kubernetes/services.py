"""From where a Kubernetes Service can be reached."""

from __future__ import annotations

import re

from policies.node import Node
from policies.readers.networks import is_public
from policies.readers.tables import table

SERVICE = "kubernetes:core/v1:Service"


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

"""Network openings in AWS resources, whichever of the several types holds them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from policies.node import Node
from policies.resources import Resource

ANY = "aws:*"
"""Every type of the pulumi-aws provider."""

SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"
SECURITY_GROUP_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OPENINGS = (
    SECURITY_GROUP,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    SECURITY_GROUP_RULE,
    INGRESS_RULE,
)
"""Types in which `openings` finds something."""

PREFIX_LISTS, PREFIX_LIST = "prefixListIds", "prefixListId"
"""Where an opening names lists of networks that stand elsewhere."""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_INNER: tuple[_Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
        # Shared by carriers, and by what EKS gives pods besides the VPC's own range.
        "100.64.0.0/10",
        *("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10"),
        # Of documentation: routed nowhere.
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"),
    )
)
"""Networks that the public internet does not route."""


@dataclass(frozen=True)
class Ports:
    """What an opening lets in."""

    first: int
    last: int
    """Both included."""

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last


class Opening(Node):
    """One ingress of a security group, in whichever resource it stands."""

    __slots__ = ("source_keys",)

    def __init__(self, node: Node, source_keys: tuple[str, ...]) -> None:
        super().__init__(node.raw, node.path)
        self.source_keys = source_keys

    def ports(self) -> Ports:
        """TCP or UDP ports; all of them where the protocol is `-1`.

        Raises:
            UnknownValueError: they are not known.
        """
        protocol = str(self.get("protocol", default=self.get("ipProtocol", default="-1"))).casefold()
        first, last = self.number("fromPort", default=0), self.number("toPort", default=65535)
        return Ports(0, 65535) if protocol in {"-1", "all"} else Ports(int(first), int(last))


def openings(resource: Resource) -> Iterator[Opening]:
    """What the resource lets in.

    Raises:
        UnknownValueError: the list is unknown.
    """
    lists = ("cidrBlocks", "ipv6CidrBlocks", PREFIX_LISTS)
    if resource.type == SECURITY_GROUP_RULE:
        if resource.inputs.get("type") == "ingress":
            yield Opening(resource.inputs, lists)
    elif resource.type == INGRESS_RULE:
        yield Opening(resource.inputs, ("cidrIpv4", "cidrIpv6", PREFIX_LIST))
    else:
        for node in resource.inputs.each("ingress"):
            yield Opening(node, lists)


def is_public(network: str) -> bool:
    """Whether a network (CIDR) is, or reaches into, the public internet."""
    try:
        asked = ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
    # Not `is_private`: some releases of Python call a network private whose two ends are, such as 0.0.0.0/1.
    return not any(_within(asked, inner) for inner in _INNER)


def is_everybody(network: str) -> bool:
    """Whether a network (CIDR) is the whole internet, or a half of it, in which a detour writes the same.

    Of IPv6 all that is routed so far is in 2000::/3.
    """
    return is_wider(network, 2, 4)


def is_wider(network: str, ipv4: int, ipv6: int) -> bool:
    """Whether a network (CIDR) reaches into the public internet with a prefix that is shorter than these."""
    try:
        asked = ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
    return asked.prefixlen < (ipv4 if asked.version == 4 else ipv6) and is_public(network)


def _within(network: _Network, outer: _Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and network.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and network.subnet_of(outer)

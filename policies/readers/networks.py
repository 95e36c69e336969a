"""Whom a network (CIDR) takes in: the public internet, all of it, or one's own."""

from __future__ import annotations

import ipaddress

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

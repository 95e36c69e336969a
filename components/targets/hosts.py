"""Hosts that one owns: nothing is made, and the settings say where they are."""

from collections.abc import Mapping, Sequence

import pulumi

from components.targets.base import Addresses
from slipway.deployment.types import Deployment
from slipway.targets.hosts.settings import Host


def bring(deployment: Deployment, *, pools: Sequence[str], opts: pulumi.ResourceOptions) -> dict[str, Addresses]:  # noqa: ARG001
    """See `components.targets.base.Bring`."""
    sections: list[Mapping[str, Host]] = [deployment.settings.pools[pool].section for pool in pools]
    return {
        name: Addresses(public=host.address, private=host.internal_address or host.address)
        for section in sections
        for name, host in section.items()
    }

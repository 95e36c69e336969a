"""Hosts that one owns: nothing is made, and the settings, or the inventory that they name, say where they are."""

from collections.abc import Sequence

import pulumi

from components.targets.base import Addresses
from slipway.deployment.types import Deployment


def bring(deployment: Deployment, *, pools: Sequence[str], opts: pulumi.ResourceOptions) -> dict[str, Addresses]:  # noqa: ARG001
    """See `components.targets.base.Bring`."""
    return {
        machine.name: Addresses(public=machine.address or "", private=machine.private_address or machine.address or "")
        for pool in pools
        for machine in deployment.members(pool)
    }

"""What Slipway needs to know of a front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from slipway.deployment.types import Deployment, Machine


class FrontAdapter(Protocol):
    """One front: how the variables of its role follow from the deployment.

    The role has the name of the front's folder; its unit is ``slipway-<name>.service``, with hyphens for the name's underscores.
    """

    @property
    def ca_file(self) -> str:
        """Where its role keeps the certificate of the private CA, which it makes where the site has none of its own."""

    @property
    def takes(self) -> frozenset[str]:
        """What its role calls further units or folders of its own on a machine: no model may be called so."""

    @property
    def tls_versions(self) -> tuple[str, ...]:
        """What it offers clients."""

    def variables(self, deployment: Deployment, machine: Machine) -> dict[str, Any]:
        """The role's variables on one of the front's machines; secrets stay `Secret`s, addresses references."""

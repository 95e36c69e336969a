"""What Slipway needs to know of a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from slipway.deployment.types import Deployment, GatewayInstance
    from slipway.engines.base import Launch, Program


class GatewayAdapter(Protocol):
    """One gateway: what is installed, and how one of its processes is started."""

    @property
    def release(self) -> str:
        """The release that its role installs."""

    @property
    def health_path(self) -> str:
        """The path that answers, without a key, while it works."""

    def program(self) -> Program:
        """What has to be installed."""

    def launch(self, deployment: Deployment, gateway: GatewayInstance) -> Launch:
        """How this process is started; secrets stay `Secret`s, addresses references."""

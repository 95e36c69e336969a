"""What Slipway needs to know of a gateway."""

from typing import Any, Protocol

from slipway.settings import Settings


class GatewayAdapter(Protocol):
    """One gateway: the role that installs it, and how that role's variables follow from the settings."""

    @property
    def role(self) -> str:
        """The Ansible role; its unit is ``slipway-<role>.service``."""

    @property
    def release(self) -> str:
        """The release that the role installs."""

    def variables(self, settings: Settings) -> dict[str, Any]:
        """The role's variables; secrets stay `Secret`s."""

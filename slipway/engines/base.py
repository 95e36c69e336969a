"""What Slipway needs to know of an inference engine."""

from typing import Any, Protocol

from slipway.settings import Settings
from slipway.settings.hosts import Host


class EngineAdapter(Protocol):
    """One engine: the role that installs it, and how that role's variables follow from the settings."""

    @property
    def role(self) -> str:
        """The Ansible role; its unit is ``slipway-<role>.service``."""

    @property
    def release(self) -> str:
        """The release that the role installs."""

    @property
    def metrics_path(self) -> str:
        """Where it serves Prometheus metrics."""

    def flags(self, settings: Settings) -> dict[str, str | int | float | bool]:
        """The server's flags, without dashes.

        Raises:
            SettingsError: a flag or variable that the settings give belongs to Slipway.
        """

    def variables(self, settings: Settings, host: Host) -> dict[str, Any]:
        """The role's variables for `host`; secrets stay `Secret`s.

        Raises:
            SettingsError: a flag or variable that the settings give belongs to Slipway.
        """

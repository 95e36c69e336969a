"""Who may reach the endpoint at all."""

from pydantic import Field

from slipway.settings.base import Section
from slipway.settings.types import Network


class Security(Section):
    """Bounds that hold before any key is looked at."""

    allowed_networks: tuple[Network, ...] = Field(default_factory=tuple)
    """Client networks that the front admits (CIDR). Default: all; a key is needed in any case."""

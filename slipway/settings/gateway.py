"""The gateway: team keys, limits and routing."""

from typing import Literal

from pydantic import Field

from slipway.settings.base import Section
from slipway.settings.types import HostName, MemorySize, Port, PositiveCount, StrongSecret


class TeamKey(Section):
    """One team's key and its limits."""

    team: HostName
    """The team, as logs and limits name it."""
    key: StrongSecret
    """The bearer key."""
    requests_per_minute: PositiveCount | None = None
    """Requests that the team may start in a minute. Default: no limit."""
    tokens_per_minute: PositiveCount | None = None
    """Tokens, prompt and completion, that the team may use in a minute. Default: no limit."""

    @property
    def variable(self) -> str:
        """The environment variable under which a client of this team keeps the key."""
        return self.key.env or f"SLIPWAY_KEY_{self.team.upper().replace('-', '_')}"


class Gateway(Section):
    """What stands between the front and the engines."""

    name: Literal["litellm"] = "litellm"
    """The gateway: one of Slipway's adapters."""
    port: Port = 4000
    """Its port, on loopback or, where the front is on another host, on the private network."""
    keys: tuple[TeamKey, ...] = Field(min_length=1)
    """The teams' keys; a request with none of them is answered 401."""
    request_timeout_s: PositiveCount = 600
    """How long one request may take, in seconds."""
    memory_max: MemorySize = "50%"
    """systemd's memory limit for the gateway: a size (`4G`) or a part of the host's memory."""

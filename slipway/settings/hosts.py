"""The hosts that a stack takes: how to reach each, and what runs on it."""

import ipaddress
from enum import StrEnum

from pydantic import Field

from slipway.settings.base import Section
from slipway.settings.types import Address, HostName, LocalPath, Port, PrivateAddress, UserName


class Service(StrEnum):
    """What a host can run."""

    ENGINE = "engine"
    GATEWAY = "gateway"
    FRONT = "front"


class Host(Section):
    """One host: a Debian or Ubuntu machine with systemd, reachable over SSH, whose user may use sudo."""

    name: HostName
    """Its name in previews, logs and resource names."""
    address: Address
    """Where SSH and, on the front's host, clients reach it: an IP address or a DNS name."""
    user: UserName
    """The SSH user: root, or one with password-less sudo."""
    port: Port = 22
    """The SSH port."""
    key_file: LocalPath | None = None
    """The private key for SSH, on the machine that runs the deployment; without one the SSH agent is asked."""
    host_key: str | None = Field(default=None, pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$")
    """The host's public SSH key (`ssh-ed25519 AAAA…`). When given, no other is accepted; else the first one seen is kept."""
    private_address: PrivateAddress | None = None
    """The address that other hosts of the stack use for it; the engine binds to it. Default: `address`, where that is private."""
    runs: tuple[Service, ...] | None = Field(default=None, min_length=1)
    """What runs here. Default: an engine on every host; gateway and front on the first."""

    @property
    def internal_address(self) -> str | None:
        """The private IP address on which this host's services may be reached by its peers; None when there is none."""
        if self.private_address is not None:
            return self.private_address
        try:
            parsed = ipaddress.ip_address(self.address)
        except ValueError:
            return None
        return str(parsed) if parsed.is_private else None

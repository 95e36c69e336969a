"""What a stack says of hosts that one owns."""

import ipaddress
from typing import Annotated

from pydantic import Field

from slipway.settings.base import Section
from slipway.settings.types import Address, HostKey, HostName, LocalPath, Port, PrivateAddress, UserName


class Host(Section):
    """One host: a machine with Debian, Ubuntu or RHEL and systemd, reachable over SSH, whose user may use sudo."""

    address: Address
    """Where SSH and, on the front's host, clients reach it: an IP address or a DNS name."""
    user: UserName
    """The SSH user: root, or one with password-less sudo."""
    port: Port = 22
    """The SSH port."""
    key_file: LocalPath | None = None
    """The private key for SSH, on the machine that runs the deployment; without one the SSH agent is asked."""
    host_key: HostKey | None = None
    """The host's public SSH key (`ssh-ed25519 AAAA…`). When given, no other is accepted; else the first one seen is kept."""
    private_address: PrivateAddress | None = None
    """The address that other hosts of the stack use for it; engines bind to it. Default: `address`, where that is private."""

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


SECTION = Annotated[dict[HostName, Host], Field(min_length=1)]
MEANING = "Hosts that one owns, by the name that previews, logs and resources give them."

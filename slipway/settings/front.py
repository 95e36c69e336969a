"""The front: TLS, who may reach it, and the only service that listens outside."""

from ipaddress import ip_interface
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from slipway.fronts import DEFAULT, names
from slipway.settings.base import Section
from slipway.settings.types import (
    Address,
    FloatingAddress,
    HostName,
    InterfaceName,
    LocalPath,
    Network,
    Origin,
    Port,
    PositiveCount,
    RouterId,
    StrongSecret,
)

if TYPE_CHECKING:
    FrontName = str
else:
    FrontName = Literal[names()]
    """One of the folders of `slipway.fronts`."""


FRONTS = 2
"""How many there are with a floating address."""


class Floating(Section):
    """One address for two fronts, which moves to the second when the first is lost."""

    address: FloatingAddress
    """The address with the length of its network's prefix, such as `10.0.0.100/24`; free in the network of both hosts."""
    secret: StrongSecret
    """From it follow the private CA, the key that fronts show gateways, the password of the counters and the one of keepalived:
    `openssl rand -hex 32` makes one. Another secret is another CA, which clients have to be given."""
    interface: InterfaceName | None = None
    """The network interface of both hosts that gets the address. Default: the one that has their private address."""
    router_id: RouterId = 51
    """The number of the pair (VRRP), another one than that of any other pair in the network."""
    counters_port: Port = 6379
    """The port of the counters that the fronts share, on the first one's private address."""

    @property
    def host(self) -> str:
        """The address alone."""
        return str(ip_interface(self.address).ip)


class Front(Section):
    """The TLS front. Without a site certificate Slipway makes a private CA on the front's host."""

    name: FrontName = DEFAULT
    """The front: one of Slipway's adapters."""
    pool: HostName | None = None
    """The pool on whose first machine it runs. Default: where the gateway runs."""
    server_name: Address | None = None
    """The name or address in the endpoint's URL and in its certificate. Default: the floating address, or the front
    host's `address`."""
    extra_names: tuple[Address, ...] = Field(default_factory=tuple)
    """Further names and addresses for the certificate."""
    floating: Floating | None = None
    """Two fronts and gateways, on the pool's first two machines, behind one address. Default: one of each."""
    port: Port = 443
    """The port that clients reach."""
    certificate_file: LocalPath | None = None
    """A site certificate with its chain (PEM), on the machine that runs the deployment."""
    key_file: LocalPath | None = None
    """The site certificate's private key (PEM)."""
    ca_file: LocalPath | None = None
    """The CA that signed the site certificate (PEM), where clients don't trust it anyway: acceptance and clients use it."""
    read_timeout_s: PositiveCount = 600
    """How long the front waits between two pieces of an answer, in seconds; long enough for a long prompt's first token."""
    body_limit_mib: PositiveCount = 64
    """The largest request, in MiB: images and long contexts are part of it."""
    allowed_networks: tuple[Network, ...] = ()
    """Client networks that the front admits (CIDR). Default: all; a key is needed in any case."""
    metrics_networks: tuple[Network, ...] = ()
    """Networks (CIDR) from which Prometheus may read `/metrics` without a key, besides the front's own machine. The figures
    name teams and models. Default: none."""
    allowed_origins: tuple[Origin, ...] = ()
    """Web pages whose scripts may ask (CORS), as exact origins: `https://app.example.com`. Default: none."""
    lua_compiler: bool = True
    """Whether nginx compiles what the front does in Lua, which saves a third of its CPU. LuaJIT writes code into memory and then
    has it executed, never both at once; systemd's `MemoryDenyWriteExecute` forbids that too. `false` has the unit forbid it."""

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError(
                "certificate_file and key_file go together; the front could not serve TLS: "
                "give both, or neither for a private CA"
            )
        if self.ca_file is not None and self.certificate_file is None:
            raise ValueError(
                "ca_file belongs to a site certificate; it would have no effect: give certificate_file too"
            )
        return self

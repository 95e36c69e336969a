"""The machines that a pool's `hosts` are."""

from collections.abc import Mapping

from slipway.targets.base import PoolMachine
from slipway.targets.hosts.settings import Host


def machines(pool: str, section: Mapping[str, Host]) -> tuple[PoolMachine, ...]:
    """One for each host; nothing of them is made."""
    return tuple(machine(pool, name, host, keys=("pools", pool, "hosts", name)) for name, host in section.items())


def machine(pool: str, name: str, host: Host, *, keys: tuple[str | int, ...]) -> PoolMachine:
    """The machine that `host` is, whose settings stand at `keys`."""
    return PoolMachine(
        name=name,
        pool=pool,
        keys=keys,
        user=host.user,
        port=host.port,
        key_file=host.key_file,
        host_key=host.host_key,
        address=host.address,
        private_address=host.internal_address,
    )

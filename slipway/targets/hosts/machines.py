"""The machines that a pool's `hosts` are."""

from collections.abc import Mapping

from slipway.targets.base import PoolMachine
from slipway.targets.hosts.settings import Host


def machines(pool: str, section: Mapping[str, Host]) -> tuple[PoolMachine, ...]:
    """One for each host; nothing of them is made."""
    return tuple(
        PoolMachine(
            name=name,
            pool=pool,
            keys=("pools", pool, "hosts", name),
            user=host.user,
            port=host.port,
            key_file=host.key_file,
            host_key=host.host_key,
            address=host.address,
            private_address=host.internal_address,
        )
        for name, host in section.items()
    )

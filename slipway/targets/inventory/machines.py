"""The machines that a group of an Ansible inventory is."""

from slipway.targets.base import PoolMachine
from slipway.targets.inventory.hosts import hosts
from slipway.targets.inventory.settings import Inventory


def machines(pool: str, section: Inventory) -> tuple[PoolMachine, ...]:
    """One for each host; nothing of them is made."""
    return tuple(
        PoolMachine(
            name=listed.name,
            pool=pool,
            keys=("pools", pool, "inventory"),
            user=listed.host.user,
            port=listed.host.port,
            key_file=listed.host.key_file,
            host_key=listed.host.host_key,
            address=listed.host.address,
            private_address=listed.host.internal_address,
        )
        for listed in hosts(section.file, section.group, section.user)
    )

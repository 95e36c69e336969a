"""The machines that a group of an Ansible inventory is."""

from slipway.targets.base import PoolMachine
from slipway.targets.hosts.machines import machine
from slipway.targets.inventory.hosts import hosts
from slipway.targets.inventory.settings import Inventory


def machines(pool: str, section: Inventory) -> tuple[PoolMachine, ...]:
    """One for each host; nothing of them is made."""
    return tuple(
        machine(pool, listed.name, listed.host, keys=("pools", pool, "inventory"))
        for listed in hosts(section.file, section.group, section.user)
    )

"""What a stack says of hosts that stand in an Ansible inventory."""

from typing import Self

from pydantic import model_validator

from slipway.settings.base import Misfit, Section
from slipway.settings.types import LocalPath, UserName
from slipway.targets.inventory.hosts import InventoryError, hosts


class Inventory(Section):
    """A group of an Ansible inventory: each of its hosts is a machine of the pool."""

    file: LocalPath
    """The inventory: INI or YAML, or a folder of such files, relative to the project's folder. `group_vars` and `host_vars`
    beside it count. Of its variables these are read: `ansible_host`, `ansible_user`, `ansible_port`,
    `ansible_ssh_private_key_file`, `slipway_private_address`, `slipway_host_key`."""
    group: str = "all"
    """The group whose hosts are the pool's."""
    user: UserName | None = None
    """The SSH user of hosts without `ansible_user`."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            hosts(self.file, self.group, self.user)
        except InventoryError as error:
            raise Misfit(*(((error.key,), message) for message in error.messages)) from None
        return self


SECTION = Inventory
MEANING = "Hosts that one owns, from an Ansible inventory that is there already, in place of `hosts`."

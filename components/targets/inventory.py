"""Hosts that one owns, from an Ansible inventory: nothing is made, and the inventory says where they are."""

from components.targets.hosts import bring

__all__ = ["bring"]

"""Which targets there are: the folders beside this file, and those that other distributions bring by an entry point."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from slipway import parts
from slipway.targets.base import PoolMachine

GROUP = "slipway.targets"
"""The group of entry points: each names a target and the package with its `settings`, `machines` and `component`."""


def packages() -> Mapping[str, str]:
    """The package of each target, by the key that a pool has for it."""
    return parts.packages("slipway.targets", GROUP)


def sections() -> Mapping[str, tuple[Any, str]]:
    """By the key: the type of what stands there (`SECTION` of the `settings` module), and what is said of it (`MEANING`)."""
    modules = {name: import_module(f"{package}.settings") for name, package in packages().items()}
    return {name: (module.SECTION, module.MEANING) for name, module in modules.items()}


def machines(name: str, pool: str, section: Any) -> tuple[PoolMachine, ...]:
    """The machines that the target called `name` has for a pool, in the order of the stack."""
    found: tuple[PoolMachine, ...] = import_module(f"{packages()[name]}.machines").machines(pool, section)
    return found

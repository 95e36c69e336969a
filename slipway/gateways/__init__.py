"""Gateways, one folder each with `launch.py` (`ADAPTER`), and the role that installs the program."""

from importlib import import_module

from slipway import parts
from slipway.gateways.base import GatewayAdapter

DEFAULT = "litellm"


def names() -> tuple[str, ...]:
    """The gateways that there are: the folders beside this file."""
    return tuple(parts.packages(__name__))


def adapter(name: str) -> GatewayAdapter:
    """The adapter of the gateway called `name` in the settings, which admit only names that exist here."""
    found: GatewayAdapter = import_module(f"slipway.gateways.{name}.launch").ADAPTER
    return found

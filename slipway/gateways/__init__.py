"""Gateways, one adapter per file. To add one: a module here with `ADAPTER`, its role, its name in `Gateway.name`."""

from importlib import import_module

from slipway.gateways.base import GatewayAdapter


def adapter(name: str) -> GatewayAdapter:
    """The adapter of the gateway called `name` in the settings, which admit only names that exist here."""
    found: GatewayAdapter = import_module(f"slipway.gateways.{name}").ADAPTER
    return found

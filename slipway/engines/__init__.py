"""Inference engines, one adapter per file. To add one: a module here with `ADAPTER`, its role, its name in `Engine.name`."""

from importlib import import_module

from slipway.engines.base import EngineAdapter


def adapter(name: str) -> EngineAdapter:
    """The adapter of the engine called `name` in the settings, which admit only names that exist here."""
    found: EngineAdapter = import_module(f"slipway.engines.{name}").ADAPTER
    return found

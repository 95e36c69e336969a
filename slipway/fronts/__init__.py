"""Fronts: what clients reach, with TLS. One folder each, with `launch.py` (`ADAPTER`) and a role of the folder's name."""

from importlib import import_module

from slipway import parts
from slipway.fronts.base import FrontAdapter

DEFAULT = "nginx"


def names() -> tuple[str, ...]:
    """The fronts that there are: the folders beside this file."""
    return tuple(parts.packages(__name__))


def adapter(name: str) -> FrontAdapter:
    """The adapter of the front called `name` in the settings, which admit only names that exist here."""
    found: FrontAdapter = import_module(f"slipway.fronts.{name}.launch").ADAPTER
    return found

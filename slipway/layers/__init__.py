"""The layers of a machine, bottom up: pure functions from the deployment to steps. Their order is data."""

from collections.abc import Callable
from dataclasses import dataclass

from slipway.deployment.types import Deployment
from slipway.layers import (
    acceptance,
    base,
    counters,
    drivers,
    engines,
    exchange,
    floating,
    front,
    gateway,
    gpus,
    models,
    preflight,
    programs,
    store,
    vacate,
)
from slipway.layers.step import Step


@dataclass(frozen=True)
class Layer:
    """One layer: what it is called, and its steps."""

    name: str
    title: str
    """In the type of its resource, ``slipway:layers:<title>``."""
    steps: Callable[[Deployment], list[Step]]
    optional: bool = False
    """Whether it is left out where it has no steps."""


LAYERS = (
    Layer("preflight", "Preflight", preflight.steps),
    Layer("base", "Base", base.steps),
    Layer("drivers", "Drivers", drivers.steps, optional=True),
    Layer("gpus", "Gpus", gpus.steps, optional=True),
    Layer("programs", "Programs", programs.steps),
    Layer("exchange", "Exchange", exchange.steps, optional=True),
    Layer("store", "Store", store.steps, optional=True),
    Layer("models", "Models", models.steps),
    Layer("vacate", "Vacate", vacate.steps),
    Layer("engines", "Engines", engines.steps),
    Layer("gateway", "Gateway", gateway.steps),
    Layer("counters", "Counters", counters.steps, optional=True),
    Layer("front", "Front", front.steps),
    Layer("floating", "Floating", floating.steps, optional=True),
    Layer("acceptance", "Acceptance", acceptance.steps),
)
"""Bottom up: a step names only steps of layers before its own."""

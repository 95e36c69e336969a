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
from slipway.layers.absence import quorums, with_absences
from slipway.layers.step import Quorum, Step


@dataclass(frozen=True)
class Layer:
    """One layer: what it is called, and its steps."""

    name: str
    title: str
    """In the type of its resource, ``slipway:layers:<title>``."""
    makes: Callable[[Deployment], list[Step]]
    optional: bool = False
    """Whether it is left out where it has no steps."""
    refuses: bool = False
    """Whether it only looks at machines, and refuses those that can't serve."""

    def steps(self, deployment: Deployment) -> list[Step]:
        """Its steps, and what follows where their machines are missing."""
        return with_absences(deployment, self.makes(deployment), refuses=self.refuses)

    def quorums(self, deployment: Deployment) -> list[Quorum]:
        """What counts those that it found missing; each comes after the layer's steps."""
        return quorums(deployment, self.name, self.steps(deployment)) if self.refuses else []


LAYERS = (
    Layer("preflight", "Preflight", preflight.steps, refuses=True),
    Layer("base", "Base", base.steps),
    Layer("drivers", "Drivers", drivers.steps, optional=True),
    Layer("gpus", "Gpus", gpus.steps, optional=True, refuses=True),
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
"""Bottom up: a step names only steps and quorums of layers before its own."""

"""The whole of a stack's settings. The rules that span sections are in `slipway.settings.rules`."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from slipway.settings.base import Misfit, Section
from slipway.settings.front import FRONTS, Front
from slipway.settings.gateway import Gateway
from slipway.settings.models import Model, RoutedModel, ServedModel, Task
from slipway.settings.pools import Pool
from slipway.settings.providers import AnyProvider, with_kinds
from slipway.settings.rules import RULES
from slipway.settings.store import Store, read_by_others
from slipway.settings.types import HostName, LocalPath, ModelName, ProviderName
from slipway.targets.base import PoolMachine
from slipway.targets.registry import machines

EDGE = "edge"
"""The pool that gateway and front are on, where there is one of this name."""


class Settings(Section):
    """What a stack's YAML says under `slipway:platform`."""

    pools: dict[HostName, Pool] = Field(min_length=1)
    """Where things run: machines that are alike, by the pool's name."""
    models: dict[ModelName, Model] = Field(min_length=1)
    """Every name that clients can ask for: served here (`source`), by a provider (`provider`), or shared out (`targets`)."""
    providers: Annotated[dict[ProviderName, AnyProvider], BeforeValidator(with_kinds)] = Field(default_factory=dict)
    """Servers elsewhere that answer for some of the models."""
    gateway: Gateway
    """Teams, keys, limits."""
    store: Store | None = None
    """The model store: one host fetches each model once, and has it for the others. Default: every host fetches its own."""
    front: Front = Front()
    """TLS, and who may reach it."""
    purpose: Literal["production", "staging", "development"] | None = None
    """What depends on the stack. Policies ask more of production: two replicas, a drain, acceptance. Default: production
    where the stack's name says `prod`."""
    catalog: LocalPath | None = None
    """A YAML file with entries of your own for the catalogue (GPUs, tiers, models …), relative to the project's folder."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for rules in RULES:
            problems = [problem for rule in rules for problem in rule(self)]
            if problems:
                raise Misfit(*problems)
        return self

    @property
    def machines(self) -> dict[str, PoolMachine]:
        """All machines of all pools, by name, in the order of the stack."""
        return {machine.name: machine for pool in self.pools for machine in self.machines_of(pool)}

    @property
    def served(self) -> dict[str, ServedModel]:
        """The models that are served here, by name."""
        return {name: model for name, model in self.models.items() if isinstance(model, ServedModel)}

    @property
    def gateway_pool(self) -> str:
        """The name of the pool that the gateway is on."""
        return self.gateway.pool or (EDGE if EDGE in self.pools else next(iter(self.pools)))

    @property
    def gateway_hosts(self) -> tuple[str, ...]:
        """The names of the machines that run a gateway: one, or two beside fronts with a floating address."""
        count = 1 if self.front.floating is None else FRONTS
        return tuple(machine.name for machine in self.machines_of(self.gateway_pool)[:count])

    @property
    def front_hosts(self) -> tuple[str, ...]:
        """The names of the machines that run a front; the first one has the floating address at first, and the counters."""
        if self.front.floating is not None or self.front.pool is None:
            return self.gateway_hosts
        return (self.machines_of(self.front.pool)[0].name,)

    @property
    def needed_hosts(self) -> frozenset[str]:
        """The names of the machines that none may be missing of: without them nobody is served, or no other has its models."""
        stores = (self.store.host,) if self.store is not None and read_by_others(self) else ()
        return frozenset({*self.gateway_hosts, *self.front_hosts, *stores})

    @property
    def gateway_host(self) -> str:
        """The name of the machine that runs the gateway, or the first."""
        return self.gateway_hosts[0]

    @property
    def front_host(self) -> str:
        """The name of the machine that runs the front, or the first."""
        return self.front_hosts[0]

    @property
    def has_private_gateway(self) -> bool:
        """Whether private teams have a gateway of their own: where there are others too, and providers to keep them from.

        A process that serves private teams alone can be kept from opening any connection to the outside, which one that must
        reach providers for others can't.
        """
        private = [team.private for team in self.gateway.teams.values()]
        return bool(self.providers) and any(private) and not all(private)

    def machines_of(self, pool: str) -> tuple[PoolMachine, ...]:
        """The machines of the pool called `pool`, wherever they come from."""
        return machines(self.pools[pool].target, pool, self.pools[pool].section)

    def pool_of(self, model: ServedModel) -> str:
        """The name of the pool whose machines serve `model`."""
        if model.pool is not None:
            return model.pool
        return next((name for name in self.pools if name != EDGE), EDGE)

    def task_of(self, name: str) -> Task:
        """What the model called `name` does; of one that is shared out, what its targets do."""
        model = self.models[name]
        return self.task_of(next(iter(model.targets))) if isinstance(model, RoutedModel) else model.task

"""What a stack offers and what it costs a month, as far as Slipway can compute it.

A declaration is the `deployment` of `slipway check --json` (`slipway.deployment.declaration`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.catalog.load import Catalog, find_or_none
from slipway.catalog.types import Gpu, Tier
from slipway.performance.candidates import tier_price
from slipway.performance.costs import on_premises, scenarios
from slipway.performance.plan_types import Question
from slipway.performance.terms import prices_of


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Of all copies of one model together; None where it was not computed."""

    replicas: int
    gpus: int
    """Of all replicas."""
    kv_cache_tokens: int | None = None
    full_requests: float | None = None
    """Requests of the longest length allowed that the KV cache has room for at once."""
    at_once: int | None = None
    """Requests that the engines work on at once, whatever their length."""


@dataclass(frozen=True, kw_only=True)
class MonthlyCost:
    """Of hosts of one's own, without the people who look after them."""

    total: float
    capital: float
    maintenance: float
    energy: float
    currency: str
    estimated: bool
    """Whether the hardware's price is an estimate."""


def together(costs: Sequence[MonthlyCost]) -> MonthlyCost:
    """The sum of at least one, all in one currency."""
    return MonthlyCost(
        total=sum(cost.total for cost in costs),
        capital=sum(cost.capital for cost in costs),
        maintenance=sum(cost.maintenance for cost in costs),
        energy=sum(cost.energy for cost in costs),
        currency=costs[0].currency,
        estimated=any(cost.estimated for cost in costs),
    )


def capacities(declared: Mapping[str, Any]) -> dict[str, Capacity]:
    """Of each model that is served here, by name."""
    return {model["name"]: _capacity(model) for model in declared.get("models") or [] if model.get("kind") == "served"}


def _capacity(model: Mapping[str, Any]) -> Capacity:
    replicas, engine, sizing = model["replicas"], model["engine"], model["sizing"]
    gpus = replicas * model["gpus"]
    if sizing is None:
        return Capacity(replicas=replicas, gpus=gpus)
    if not sizing["fits"]:
        return Capacity(replicas=replicas, gpus=gpus, kv_cache_tokens=0, full_requests=0.0, at_once=0)
    # The sizing is that of one copy.
    copies = replicas * engine["dataParallel"]
    tokens, requests = sizing["kvCacheTokens"], sizing["maxConcurrency"]
    return Capacity(
        replicas=replicas,
        gpus=gpus,
        kv_cache_tokens=None if tokens is None else tokens * copies,
        full_requests=None if requests is None else requests * copies,
        at_once=engine["slots"] * copies,
    )


def pool_costs(catalog: Catalog, declared: Mapping[str, Any]) -> dict[str, MonthlyCost | None]:
    """A month of each pool's machines, by the pool's name; None where nothing is known of them."""
    return {
        pool["name"]: monthly_cost(
            catalog,
            tier=pool["tier"],
            gpu=None if pool["gpu"] is None else find_or_none(catalog.gpus, pool["gpu"]),
            gpus_per_host=pool["gpus"],
            hosts=len(pool["machines"]),
        )
        for pool in declared.get("pools") or []
    }


def monthly_cost(
    catalog: Catalog, *, tier: str | None, gpu: Gpu | None, gpus_per_host: int, hosts: int
) -> MonthlyCost | None:
    """A month of `hosts`, reckoned as `slipway plan` does: busy in the hours that it takes for busy; None where nothing is known.

    Args:
        catalog: of tiers and GPUs.
        tier: the one that the stack names.
        gpu: what its hosts have; None on the CPU.
        gpus_per_host: that the pool says.
        hosts: of the pool.
    """
    found = _tier(catalog, tier, gpu, gpus_per_host)
    if found is None:
        return None
    question = Question(model="", users=1)
    # A model's parameters choose an API to compare with, which is no part of this.
    prices = prices_of(question, scenarios()[question.scenario], parameters=0)
    priced = tier_price(found, gpu, prices)
    if priced is None:
        return None
    price, estimated = priced
    cost, _ = on_premises(
        prices,
        hardware=price * hosts / found.hosts,
        hosts=hosts,
        host_w=hosts * found.host_power_w,
        gpu_w=0.0 if gpu is None else hosts * found.gpus_per_host * gpu.power_w,
        load=min(1.0, prices.busy_hours_month / prices.hours_month),
    )
    return MonthlyCost(
        total=cost.total - cost.staff,
        capital=cost.capital,
        maintenance=cost.maintenance,
        energy=cost.energy,
        currency=prices.currency,
        estimated=estimated,
    )


def _tier(catalog: Catalog, name: str | None, gpu: Gpu | None, gpus_per_host: int) -> Tier | None:
    """The tier of that name where its GPU was kept, else the one whose hosts have just these GPUs."""
    named = None if name is None else find_or_none(catalog.tiers, name)
    wanted = None if gpu is None else gpu.id
    if named is not None and named.gpu == wanted:
        return named
    if gpu is None:
        return None
    alike = [tier for tier in catalog.tiers.values() if tier.gpu == wanted and tier.gpus_per_host == gpus_per_host]
    # Several are of one GPU and differ in the number of hosts; a host of the smallest is a host without an extra network.
    return min(alike, key=lambda tier: tier.hosts, default=None)

"""What a stack offers and what it costs a month, as far as Slipway can compute it."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.catalog.load import Catalog, find_or_none
from slipway.catalog.types import Gpu, Tier
from slipway.performance.candidates import tier_price
from slipway.performance.costs import on_premises, scenarios
from slipway.performance.plan_types import Question
from slipway.performance.terms import prices_of
from slipway.sizing.result import Sizing


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """All copies of the model together; None where it was not computed."""

    hosts: int
    """That run an engine."""
    gpus: int
    """Of all hosts."""
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


def capacity(sizing: Sizing | None, *, hosts: int, gpus_per_host: int, copies_per_host: int) -> Capacity:
    """Of `hosts` that each run so many copies of the model; `sizing` is one copy's."""
    if sizing is None:
        return Capacity(hosts=hosts, gpus=hosts * gpus_per_host)
    copies = hosts * copies_per_host
    return Capacity(
        hosts=hosts,
        gpus=hosts * gpus_per_host,
        kv_cache_tokens=sizing.kv_cache_tokens * copies if sizing.fits else 0,
        full_requests=sizing.max_concurrency * copies if sizing.fits else 0.0,
        at_once=(sizing.request.max_num_seqs or 0) * copies if sizing.fits else 0,
    )


def monthly_cost(
    catalog: Catalog, *, tier: str | None, gpu: Gpu | None, gpus_per_host: int, hosts: int, parameters: int = 0
) -> MonthlyCost | None:
    """A month of `hosts`, reckoned as `slipway plan` does: busy in the hours that it takes for busy; None where nothing is known.

    Args:
        catalog: of tiers and GPUs.
        tier: the one that the stack names.
        gpu: what its hosts have; None on the CPU.
        gpus_per_host: that the stack uses.
        hosts: that run an engine.
        parameters: of the model.
    """
    found = _tier(catalog, tier, gpu, gpus_per_host)
    if found is None:
        return None
    question = Question(model="", users=1)
    prices = prices_of(question, scenarios()[question.scenario], parameters)
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

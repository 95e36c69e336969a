"""What a deployment costs a month, and when it has paid for itself. Figures come from data/costs.yaml or the question.

A plain model on purpose: capital in a straight line, no interest, no tax, no rebate, no price of a room.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from slipway.performance.efficiency import Constant, read_data

Money = Annotated[float, Meta(ge=0)]
Place = Literal["on-premises", "cloud"]
HORIZON_MONTHS = 60


class Api(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody's API, per million tokens."""

    parameters_b: float
    """It stands beside models of up to so many 10^9 parameters."""
    name: str
    input_usd: Money
    output_usd: Money
    source: str
    date: str


class Staff(Struct, frozen=True, forbid_unknown_fields=True):
    """Hours a month, and what one costs."""

    rate_usd: Constant
    base_hours: Constant
    host_hours: Constant
    cloud_host_hours: Constant


class Hardware(Struct, frozen=True, forbid_unknown_fields=True):
    """What hosts cost that nobody prints a price of."""

    gpu_usd: dict[str, Constant]
    """By the GPU's id in the catalogue."""
    host_factor: Constant
    """Price of a server over that of its GPUs."""


class Zones(Struct, frozen=True, forbid_unknown_fields=True):
    """Which energy price a region's prefix or a currency takes."""

    regions: dict[str, str]
    currencies: dict[str, str]


class Defaults(Struct, frozen=True, forbid_unknown_fields=True):
    """All of data/costs.yaml."""

    rates: dict[str, Constant]
    energy: dict[str, Constant]
    zones: Zones
    pue: Constant
    idle_share: Constant
    staff: Staff
    capital_months: Constant
    maintenance_year: Constant
    hours_month: Constant
    busy_hours_month: Constant
    apis: list[Api]
    hardware: Hardware


class Scenario(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A preset of the load, the targets and where the hosts may stand."""

    id: str
    name: str
    summary: str
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    tokens_per_second: float
    active_share: float
    requests_per_minute: float
    places: list[Place]
    max_hosts: int | None = None
    local_share: float = 1.0
    """Of the busiest hour's load, what hosts of one's own carry; the rest goes to an API."""
    base_hours: float | None = None
    maintenance_year: float | None = None


class Prices(Struct, frozen=True, kw_only=True):
    """What a plan reckons with, in one currency."""

    currency: str
    per_usd: float
    """Units of the currency for a US dollar."""
    energy_kwh: Money
    pue: float
    idle_share: float
    staff_hour: Money
    base_hours: float
    host_hours: float
    cloud_host_hours: float
    staff_hours: float | None
    """A month in all, where the user knows; else they follow from the hosts."""
    capital_months: float
    maintenance_year: float
    hours_month: float
    busy_hours_month: float
    api_name: str
    api_input: Money
    """Per million tokens, as is `api_output`."""
    api_output: Money


class CostPoint(Struct, frozen=True, kw_only=True):
    """What was paid from the beginning to the end of a month, without interest; month 0 is the day of buying."""

    month: int
    cost: float
    api: float
    """For the same tokens from an API."""


class Cost(Struct, frozen=True, kw_only=True):
    """A month, in the plan's currency."""

    capital: Money
    """This month's part of what was bought."""
    maintenance: Money
    energy: Money
    staff: Money
    cloud: Money
    api: Money
    """For the part of the load that goes elsewhere by intent (hybrid)."""
    total: Money
    once: Money
    """Paid at the beginning; `capital` is its straight line."""

    @property
    def running(self) -> float:
        """What has to be paid every month once the hardware is there."""
        return self.total - self.capital


@cache
def defaults() -> Defaults:
    """The figures in force where the user gives none."""
    return msgspec.convert(read_data("costs.yaml"), Defaults, strict=False)


@cache
def scenarios() -> dict[str, Scenario]:
    """The presets, by id."""
    return {entry.id: entry for entry in msgspec.convert(read_data("scenarios.yaml"), list[Scenario], strict=False)}


def zone_of(region: str) -> str | None:
    """The energy zone that a cloud's region lies in, or that is meant itself; None where no price of it is known."""
    known = defaults()
    if region in known.energy:
        return region
    return next((zone for prefix, zone in known.zones.regions.items() if region.startswith(prefix)), None)


def energy_zone(region: str | None, currency: str) -> str:
    """Which energy price holds, by the region where one is given and known, else by the currency, else the first."""
    known = defaults()
    first = next(iter(known.energy))
    return (zone_of(region) if region else None) or known.zones.currencies.get(currency, first)


def api_for(parameters: int) -> Api:
    """The API that a model of so many parameters is held against."""
    apis = sorted(defaults().apis, key=lambda api: api.parameters_b)
    return next((api for api in apis if parameters <= api.parameters_b * 1e9), apis[-1])


def on_premises(
    prices: Prices, *, hardware: float, hosts: int, host_w: float, gpu_w: float, load: float, api: float = 0.0
) -> tuple[Cost, float]:
    """A month of hosts of one's own, and the energy that they take in it, in kWh with cooling.

    Args:
        prices: What to reckon with.
        hardware: Price of all hosts, in the currency of `prices`.
        hosts: How many.
        host_w: Power of all hosts without their GPUs, in watts, drawn all the time.
        gpu_w: Power limit of all GPUs.
        load: Share of their time that the GPUs work, over the whole month.
        api: Cost of what goes to an API.
    """
    capital = hardware / prices.capital_months
    maintenance = hardware * prices.maintenance_year / 12
    watts = host_w + gpu_w * (prices.idle_share + (1 - prices.idle_share) * load)
    kwh = watts / 1000 * prices.pue * prices.hours_month
    staff = _staff(prices, prices.host_hours * hosts)
    energy = kwh * prices.energy_kwh
    return Cost(
        capital=capital,
        maintenance=maintenance,
        energy=energy,
        staff=staff,
        cloud=0.0,
        api=api,
        total=capital + maintenance + energy + staff + api,
        once=hardware,
    ), kwh


def in_cloud(prices: Prices, *, usd_per_hour: float, hosts: int, api: float = 0.0) -> Cost:
    """A month of rented hosts at `usd_per_hour` each."""
    cloud = usd_per_hour * hosts * prices.hours_month * prices.per_usd
    staff = _staff(prices, prices.cloud_host_hours * hosts)
    return Cost(
        capital=0.0,
        maintenance=0.0,
        energy=0.0,
        staff=staff,
        cloud=cloud,
        api=api,
        total=cloud + staff + api,
        once=0.0,
    )


def _staff(prices: Prices, host_hours: float) -> float:
    hours = prices.staff_hours if prices.staff_hours is not None else prices.base_hours + host_hours
    return hours * prices.staff_hour


def api_cost(prices: Prices, prompt_tokens: float, output_tokens: float) -> float:
    """What an API would take for so many tokens."""
    return (prompt_tokens * prices.api_input + output_tokens * prices.api_output) / 1e6


def break_even_months(cost: Cost, api_month: float) -> float | None:
    """Months until what was paid at the beginning is saved by not paying `api_month`.

    0 where nothing is paid at the beginning and every month costs less; None where a month costs as much or more, so that
    it never is.
    """
    saved = api_month - cost.running
    return cost.once / saved if saved > 0 else None


def cost_over_time(cost: Cost, api_month: float) -> tuple[CostPoint, ...]:
    """What was paid to the end of each month, from 0 to `HORIZON_MONTHS`; hardware is not bought anew in that time."""
    return tuple(
        CostPoint(month=month, cost=cost.once + month * cost.running, api=month * api_month)
        for month in range(HORIZON_MONTHS + 1)
    )

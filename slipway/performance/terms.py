"""The terms that a question sets, with the scenario's and the cost file's figures where it says nothing.

No hardware here: what the users bring, what they want, and what money is reckoned with.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TypeVar

import msgspec

from slipway.catalog.types import Instance
from slipway.performance.costs import Prices, Scenario, api_for, defaults, energy_zone, scenarios
from slipway.performance.plan_types import Load, PlanError, Question
from slipway.sizing.architecture import Architecture

_SMALLEST_CONTEXT = 8192
_OPTIONS = {"ttft_s": "ttft", "tiers": "tier", "places": "place", "hardware_prices": "hardware-price"}
"""Options whose names are not those of the question's fields."""
_WHOLE = "a whole number from 1 on"
_FROM_ZERO = "a figure from 0 on"
_WANTED = {
    **dict.fromkeys(("users", "prompt_tokens", "output_tokens", "context"), _WHOLE),
    **dict.fromkeys(("energy_price", "staff_hours", "staff_rate", "api_price", "hardware_prices"), _FROM_ZERO),
    "active_share": "a share above 0 and at most 1",
    "busy_hours": "a figure above 0, at most the 744 hours of a month,",
    "places": "on-premises or cloud",
}
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """All that is settled before hardware is looked at."""

    question: Question
    scenario: Scenario
    prices: Prices
    load: Load
    context: int
    """max-model-len."""


def terms(question: Question, architecture: Architecture, longest: int) -> Terms:
    """The terms of `question` for a model that takes contexts of up to `longest` tokens.

    Raises:
        PlanError: A figure makes no sense, or a name is unknown.
    """
    _sensible(question)
    scenario = _scenario(question.scenario)
    prices = prices_of(question, scenario, architecture.parameters)
    load = _load(question, scenario, prices)
    return Terms(
        question=question,
        scenario=scenario,
        prices=prices,
        load=load,
        context=_context(question, load, architecture.name, longest),
    )


def check_region(region: str | None, instances: dict[str, Instance]) -> None:
    """That `region` is one that instances have prices in, or an energy zone.

    Raises:
        PlanError: With the nearest names.
    """
    known = sorted({price.region for instance in instances.values() for price in instance.prices})
    if region is None or region in known or region in defaults().energy:
        return
    near = difflib.get_close_matches(region, known, n=3, cutoff=0.4) or known[:3]
    zones = ", ".join(defaults().energy)
    raise PlanError(f"--region: {region!r} is unknown; the nearest: {', '.join(near)}; or all of {zones}")


def _scenario(name: str) -> Scenario:
    known = scenarios()
    if name not in known:
        raise PlanError(f"--scenario: {name!r} is unknown; use one of {', '.join(known)}")
    return known[name]


def out_of_bounds(error: msgspec.ValidationError, given: Mapping[str, object]) -> PlanError:
    """`error` of a question's figures, in the words of the command line."""
    path = str(error).rpartition("`$.")[2].rstrip("`")
    field = path.partition("[")[0]
    option = "--" + _OPTIONS.get(field, field.replace("_", "-"))
    wanted = _WANTED.get(field, "a figure above 0")
    return PlanError(f"{option}: {given.get(field)!r} makes no plan; {wanted} is needed")


def _sensible(question: Question) -> None:
    """Check the figures against their types, which calling the class does not.

    Raises:
        PlanError: With the option's name.
    """
    given = msgspec.to_builtins(question)
    try:
        msgspec.convert(given, Question)
    except msgspec.ValidationError as error:
        raise out_of_bounds(error, given) from None
    for field, value in given.items():
        # JSON and YAML have no infinity, but a command line has.
        if isinstance(value, float) and not isfinite(value):
            raise PlanError(
                f"--{_OPTIONS.get(field, field.replace('_', '-'))}: {value} makes no plan; give a finite figure"
            )
    if question.currency not in defaults().rates:
        raise PlanError(f"--currency: {question.currency!r} is unknown; use one of {', '.join(defaults().rates)}")


def _or(value: _T | None, otherwise: _T) -> _T:
    return otherwise if value is None else value


def prices_of(question: Question, scenario: Scenario, parameters: int) -> Prices:
    """What money is reckoned with; the API is the one that a model of so many parameters is held against."""
    known = defaults()
    per_usd = known.rates[question.currency].value
    api = api_for(parameters)
    zone = energy_zone(question.region, question.currency)
    staff = known.staff
    return Prices(
        currency=question.currency,
        per_usd=per_usd,
        energy_kwh=_or(question.energy_price, known.energy[zone].value * per_usd),
        pue=known.pue.value,
        idle_share=known.idle_share.value,
        staff_hour=_or(question.staff_rate, staff.rate_usd.value * per_usd),
        base_hours=_or(scenario.base_hours, staff.base_hours.value),
        host_hours=staff.host_hours.value,
        cloud_host_hours=staff.cloud_host_hours.value,
        staff_hours=question.staff_hours,
        capital_months=_or(question.capital_months, known.capital_months.value),
        maintenance_year=_or(scenario.maintenance_year, known.maintenance_year.value),
        hours_month=known.hours_month.value,
        busy_hours_month=_or(question.busy_hours, known.busy_hours_month.value),
        api_name="the API of the price given" if question.api_price else api.name,
        api_input=question.api_price[0] if question.api_price else api.input_usd * per_usd,
        api_output=question.api_price[1] if question.api_price else api.output_usd * per_usd,
    )


def _load(question: Question, scenario: Scenario, prices: Prices) -> Load:
    active = _or(question.active_share, scenario.active_share)
    per_minute = _or(question.requests_per_minute, scenario.requests_per_minute)
    rate = question.users * active * per_minute / 60
    return Load(
        users=question.users,
        prompt_tokens=_or(question.prompt_tokens, scenario.prompt_tokens),
        output_tokens=_or(question.output_tokens, scenario.output_tokens),
        active_share=active,
        requests_per_minute=per_minute,
        requests_per_s=rate,
        local_requests_per_s=rate * scenario.local_share,
        requests_month=rate * 3600 * prices.busy_hours_month,
        ttft_s=_or(question.ttft_s, scenario.ttft_s),
        tokens_per_second=_or(question.tokens_per_second, scenario.tokens_per_second),
    )


def _context(question: Question, load: Load, model: str, longest: int) -> int:
    tokens = load.prompt_tokens + load.output_tokens
    if tokens > longest:
        raise PlanError(
            f"a request of {load.prompt_tokens} + {load.output_tokens} tokens is longer than the {longest} that {model} can "
            "take; ask for shorter ones, or another model"
        )
    if question.context is None:
        return min(longest, max(_SMALLEST_CONTEXT, 2 * tokens))
    if not tokens <= question.context <= longest:
        raise PlanError(
            f"a context of {question.context} tokens does not do: a request has {tokens}, and {model} takes at most {longest}"
        )
    return question.context

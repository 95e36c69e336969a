"""What a plan rests on, line by line, each with its source: the part of the answer that a reviewer argues with."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.performance.costs import api_for, defaults, energy_zone
from slipway.performance.efficiency import Constant, efficiency
from slipway.performance.layout import HEADROOM
from slipway.performance.plan_types import Assumption, Option
from slipway.performance.terms import Terms

_GIVEN = "given"


def assumptions(terms: Terms, parameters: int, options: tuple[Option, ...]) -> tuple[Assumption, ...]:
    """Of the load, the targets, the speeds, and the money, in this order."""
    return (*_load(terms), *_speed(options), *_money(terms, parameters, options))


def _line(name: str, value: str, source: str, option: str | None = None) -> Assumption:
    return Assumption(name=name, value=value, source=source, option=option)


def _dated(figure: Constant) -> str:
    return f"{figure.source} ({figure.date})"


def _load(terms: Terms) -> Iterator[Assumption]:
    question, load = terms.question, terms.load
    preset = f"scenario {terms.scenario.id}"

    def line(name: str, value: str, given: object, option: str, otherwise: str = preset) -> Assumption:
        return _line(name, value, otherwise if given is None else _GIVEN, option)

    yield line(
        "active users",
        f"{load.active_share:.0%} of {load.users} in the busiest hour",
        question.active_share,
        "--active-share",
    )
    yield line(
        "requests",
        f"{load.requests_per_minute:g} a minute of each active user, {load.requests_per_s:.3g} a second in all",
        question.requests_per_minute,
        "--requests-per-minute",
    )
    yield line("prompt", f"{load.prompt_tokens} tokens, none of them cached", question.prompt_tokens, "--prompt-tokens")
    yield line("answer", f"{load.output_tokens} tokens", question.output_tokens, "--output-tokens")
    yield line("first token", f"within {load.ttft_s:g} s, as the mean", question.ttft_s, "--ttft")
    yield line(
        "speed for a user",
        f"{load.tokens_per_second:g} tokens/s or more",
        question.tokens_per_second,
        "--tokens-per-second",
    )
    yield line(
        "context",
        f"{terms.context} tokens at most",
        question.context,
        "--context",
        "8192, or twice a request, within what the model takes",
    )
    if load.local_requests_per_s < load.requests_per_s:
        share = load.local_requests_per_s / load.requests_per_s
        yield _line("carried by the hosts", f"{share:.0%}; the rest goes to {terms.prices.api_name}", preset)


def _speed(options: tuple[Option, ...]) -> Iterator[Assumption]:
    yield _line(
        "headroom", f"{HEADROOM:.0%} of what the hosts carry is planned for", "since requests do not arrive evenly"
    )
    ranges = efficiency().ranges
    meaning = {
        "measured": "GPUs of a kind that was measured",
        "similar": "GPUs like measured ones",
        "theory": "GPUs known from data sheets only",
    }
    for basis in sorted({option.basis for option in options}, key=list(meaning).index):
        spread = ranges[basis]
        yield _line(
            f"range, {basis}",
            f"{spread.low:g} to {spread.high:g} times the expected speed, on {meaning[basis]}",
            f"{spread.source} ({spread.date})",
        )


def _money(terms: Terms, parameters: int, options: tuple[Option, ...]) -> Iterator[Assumption]:
    question, prices, known = terms.question, terms.prices, defaults()
    currency = prices.currency
    if currency != "USD":
        yield _line("rate", f"{prices.per_usd:g} {currency} for a US dollar", _dated(known.rates[currency]))
    if question.api_price is not None:
        api = _GIVEN
    else:
        entry = api_for(parameters)
        api = f"{entry.source} ({entry.date})"
    yield _line(
        "API to compare with",
        f"{prices.api_name}: {currency} {prices.api_input:.2f} and {prices.api_output:.2f} per million tokens in and out",
        api,
        "--api-price",
    )
    busy = _GIVEN if question.busy_hours is not None else _dated(known.busy_hours_month)
    yield _line(
        "a month",
        f"{prices.busy_hours_month:g} h like the busiest one, and {prices.hours_month:g} h in all",
        busy,
        "--busy-hours",
    )
    staff = known.staff
    if prices.staff_hours is not None:
        yield _line(
            "staff", f"{prices.staff_hours:g} h a month at {currency} {prices.staff_hour:.2f}", _GIVEN, "--staff-hours"
        )
    else:
        yield _line(
            "staff",
            f"{prices.base_hours:g} h a month, and {prices.host_hours:g} h for each host of one's own or "
            f"{prices.cloud_host_hours:g} h for each rented one",
            f"scenario {terms.scenario.id}" if terms.scenario.base_hours is not None else _dated(staff.base_hours),
            "--staff-hours",
        )
        rate = _GIVEN if question.staff_rate is not None else _dated(staff.rate_usd)
        yield _line("an hour of staff", f"{currency} {prices.staff_hour:.2f}", rate, "--staff-rate")
    if any(option.place == "on-premises" for option in options):
        yield from _owned(terms, options)
    if any(option.place == "cloud" for option in options):
        yield _line(
            "rented hosts",
            "on demand, all hours of the month, without discount for commitment",
            "the clouds' price lists",
        )


def _owned(terms: Terms, options: tuple[Option, ...]) -> Iterator[Assumption]:
    question, prices, known = terms.question, terms.prices, defaults()
    zone = energy_zone(question.region, question.currency)
    energy = _GIVEN if question.energy_price is not None else _dated(known.energy[zone])
    yield _line("energy", f"{prices.currency} {prices.energy_kwh:.3f} per kWh", energy, "--energy-price")
    yield _line("cooling", f"{prices.pue:g} times the power of the hosts (PUE)", _dated(known.pue))
    yield _line("idle GPUs", f"{prices.idle_share:.0%} of their power limit", _dated(known.idle_share))
    months = _GIVEN if question.capital_months is not None else _dated(known.capital_months)
    yield _line(
        "capital",
        f"over {prices.capital_months:g} months, in a straight line, without interest",
        months,
        "--capital-months",
    )
    care = (
        f"scenario {terms.scenario.id}"
        if terms.scenario.maintenance_year is not None
        else _dated(known.maintenance_year)
    )
    yield _line("maintenance", f"{prices.maintenance_year:.0%} of the hardware's price a year", care)
    if any(option.hardware_estimated for option in options):
        factor = known.hardware.host_factor
        yield _line(
            "hardware without a published price",
            f"an estimate: the price of its GPUs times {factor.value:g}",
            _dated(factor),
            "--hardware-price",
        )

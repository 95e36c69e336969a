"""Which hardware serves given users at the least cost: every tier and instance, held against targets.

The load: of `users`, `active_share` work with the service in the busiest hour, and each of them sends
`requests_per_minute`; so requests arrive at users x active_share x requests_per_minute / 60 a second. Over a month the
load is that of `busy_hours_month` busiest hours. How many hosts that takes is `slipway.performance.layout`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.catalog.load import Catalog, find, find_or_none
from slipway.performance.advice import advice, named
from slipway.performance.assumptions import assumptions
from slipway.performance.candidates import candidates
from slipway.performance.layout import Layouts
from slipway.performance.options import money, option
from slipway.performance.plan_types import Option, Plan, PlanError, Question, Refusal
from slipway.performance.terms import Terms, check_region, terms
from slipway.sizing.architecture import Architecture
from slipway.sizing.config import read_config
from slipway.sizing.weights import run_time

_CAUTION = (
    "Speeds are computed from data sheets and measured efficiencies, and the ranges say how far off they may be: measure "
    "before you buy."
)
_Ranked = tuple[float, Option]


def plan(question: Question, catalog: Catalog, architecture: Architecture | None = None) -> Plan:
    """All tiers and instances of `catalog` against `question`.

    Args:
        question: What is wanted.
        catalog: Of hardware and models.
        architecture: Of the model, where it is not one of the catalogue's.

    Raises:
        PlanError: Something in the question is unknown or makes no sense, or what meets the targets is beyond the budget.
        CatalogError: The model or a tier is unknown, or the catalogue's files are broken.
    """
    entry = find_or_none(catalog.models, question.model)
    if architecture is None:
        entry = find(catalog.models, question.model, "the model")
        architecture = read_config(entry.config, entry.id)
    if architecture.pooling:
        raise PlanError(
            f"{architecture.name} is an embedding or reranking model; plans are for models that generate text"
        )
    settled = terms(question, architecture, entry.context if entry else architecture.context)
    check_region(question.region, catalog.instances)
    if question.quantization is not None:
        find(catalog.quantizations, question.quantization, "the quantization")
    hosts, refused = candidates(settled, catalog)
    layouts = Layouts(architecture, settled, catalog)
    ranked: list[_Ranked] = []
    for candidate in hosts:
        layout = layouts.best(candidate)
        if isinstance(layout, str):
            refused.append(Refusal(name=candidate.name, tier=candidate.tier, place=candidate.place, reason=layout))
        else:
            ranked.append((layout.shard.shortfall, option(layout, settled)))
    ranked.sort(key=_order)
    options = tuple(each for _, each in ranked)
    _check_budget(options, settled)
    good = bool(options) and options[0].meets_targets and options[0].within_budget
    return Plan(
        model=architecture.name,
        parameters=architecture.parameters,
        weights=_weights(architecture, question.quantization),
        context=settled.context,
        scenario=settled.scenario.id,
        scenario_name=settled.scenario.name,
        question=question,
        load=settled.load,
        prices=settled.prices,
        advice=advice(options, refused, settled),
        choice=options[0].id if good else None,
        options=options,
        refused=tuple(refused),
        assumptions=assumptions(settled, architecture.parameters, options),
        notes=_notes(settled, architecture),
    )


def _order(ranked: _Ranked) -> tuple[bool, bool, float, float, str]:
    shortfall, each = ranked
    return (
        not (each.meets_targets and each.within_budget),
        not each.meets_targets,
        shortfall,
        each.cost.total,
        each.id,
    )


def _check_budget(options: Sequence[Option], settled: Terms) -> None:
    """Refuse a budget that nothing meets, when something meets the targets.

    Raises:
        PlanError: Naming the cheapest that would do.
    """
    meeting = [each for each in options if each.meets_targets]
    if not meeting or any(each.within_budget for each in meeting):
        return
    question, currency = settled.question, settled.prices.currency
    cheapest = min(meeting, key=lambda each: each.cost.total)
    least = min(meeting, key=lambda each: each.cost.once)
    parts = []
    if question.budget is not None:
        parts.append(
            f"a budget of {money(question.budget, currency)} a month is too small; the cheapest that meets the targets is "
            f"{named(cheapest)}, at {money(cheapest.cost.total, currency)} a month"
        )
    if question.capital_budget is not None and min(each.cost.once for each in meeting) > question.capital_budget:
        parts.append(
            f"a budget of {money(question.capital_budget, currency)} at the beginning is too small; the least takes "
            f"{named(least)}: {money(least.cost.once, currency)}"
        )
    elif question.capital_budget is not None and question.budget is None:
        parts.append(
            f"nothing that meets the targets costs {money(question.capital_budget, currency)} or less at the beginning"
        )
    raise PlanError("; and ".join(parts))


def _weights(architecture: Architecture, quantization: str | None) -> str:
    scheme = run_time(architecture, quantization)
    return f"{scheme.method}, {scheme.bits:g} bits" if scheme else architecture.dtype


def _notes(settled: Terms, architecture: Architecture) -> tuple[str, ...]:
    notes = [_CAUTION]
    if settled.scenario.local_share < 1:
        notes.append(
            f"The hosts carry {settled.scenario.local_share:.0%} of the busiest hour; the rest goes to "
            f"{settled.prices.api_name} and is in the cost. Requests marked private must not take that way."
        )
    return (*notes, *architecture.notes)

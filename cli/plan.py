"""`slipway plan`: which hardware to choose for a model and its users, what it costs, and why."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any

import msgspec

from cli.models import named_architecture
from slipway.catalog import load
from slipway.performance.options import money
from slipway.performance.plan import plan
from slipway.performance.plan_types import Option, Plan, PlanError, Question
from slipway.performance.terms import out_of_bounds
from slipway.performance.types import Range
from slipway.performance.words import after_months

MET, UNMET = 0, 1
"""Exit statuses: something meets the targets; nothing does."""
_SHOWN, _SHOWN_OTHERS = 10, 5
_WIDTH = 200


def answer(question: Question, *, catalog: Path | None, as_json: bool, html: Path | None, everything: bool) -> int:
    """Print the plan, and write it to `html`; 0 when something meets the targets, 1 when nothing does.

    Raises:
        PlanError, CatalogError, SizingError: the question makes no sense, or the budget is too small.
    """
    if html is not None and not html.parent.is_dir():
        raise PlanError(f"--html {html}: there is no folder {html.parent}; nothing was written: make it first")
    known = load(catalog)
    answered = plan(question, known, named_architecture(question.model, known))
    if html is not None:
        from slipway.report import write

        write(answered, html)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(answered)).decode() + "\n")
    else:
        _show(answered, everything=everything)
        if html is not None:
            print(f"\nThe same as a page: {html}")
    return MET if answered.choice is not None else UNMET


def asked(**given: Any) -> Question:
    """The question that the command line asks.

    Raises:
        PlanError: A figure is out of its bounds, or a word is unknown.
    """
    try:
        return msgspec.convert(given, Question)
    except msgspec.ValidationError as error:
        raise out_of_bounds(error, given) from None


def api_price(text: str | None) -> tuple[float, float] | None:
    """`IN,OUT` of --api-price.

    Raises:
        PlanError: It is no pair of prices.
    """
    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise PlanError(
            f"--api-price {text!r}: two prices are wanted, IN,OUT per million tokens, such as 0.25,2"
        ) from None
    return first, second


def hardware_prices(entries: Sequence[str]) -> dict[str, float]:
    """`TIER=AMOUNT` of --hardware-price.

    Raises:
        PlanError: One is not of this form.
    """
    found = {}
    for entry in entries:
        tier, _, amount = entry.partition("=")
        try:
            found[tier] = float(amount)
        except ValueError:
            found[tier] = nan
        if not isfinite(found[tier]):
            raise PlanError(f"--hardware-price {entry!r}: TIER=AMOUNT is wanted, such as prod=280000")
    return found


def _show(answered: Plan, *, everything: bool) -> None:
    load = answered.load
    print("\n".join(answered.advice))
    print(
        f"\n{answered.model} ({answered.parameters / 1e9:.1f} B parameters, {answered.weights}), {load.users} users, "
        f"{load.requests_per_s:.3g} requests/s of {load.prompt_tokens} + {load.output_tokens} tokens; {answered.scenario_name}."
    )
    good = [option for option in answered.options if option.meets_targets and option.within_budget]
    others = [option for option in answered.options if not (option.meets_targets and option.within_budget)]
    if good:
        shown = good if everything else _unlike(good)[:_SHOWN]
        _speeds(shown, "Meet the targets, the cheapest first")
        _costs(shown, answered)
        _rest(
            len(good) - len(shown),
            f"meet the targets, up to {money(good[-1].cost.total, answered.prices.currency)} a month",
        )
    if others:
        shown = others if everything else _unlike(others)[:_SHOWN_OTHERS]
        _speeds(shown, "Do not, the nearest first")
        for option in shown:
            print(f"  {option.id}: {'; '.join(option.why_not)}")
        _rest(len(others) - len(shown), "do not")
    if answered.refused:
        print("\nNot possible, or not judged")
        for refusal in answered.refused:
            print(f"  {refusal.tier or refusal.name}: {refusal.reason}")
    print("\nAssumed")
    for entry in answered.assumptions:
        setting = f" [{entry.option}]" if entry.option else ""
        print(f"  {entry.name}: {entry.value}{setting} - {entry.source}")
    print("\n" + "\n".join(answered.notes))


def _unlike(options: Sequence[Option]) -> list[Option]:
    """Of options with the same GPUs in the same kind of place only the first, which is the cheapest."""
    first: dict[tuple[object, ...], Option] = {}
    for option in options:
        first.setdefault((option.place, option.gpu, option.gpus_per_host, option.hosts), option)
    return list(first.values())


def _rest(count: int, what: str) -> None:
    if count:
        print(f"  … and {count} more that {what} (--all lists them)")


def _speeds(options: Sequence[Option], title: str) -> None:
    rows = [
        (
            option.id,
            f"{option.hosts} x {option.gpus_per_host} {option.gpu}",
            f"{option.tensor_parallel} x {option.pipeline_parallel} x {option.data_parallel}",
            _range(option.ttft_s, 2),
            _range(option.user_tokens_per_s, 0),
            _range(option.output_tokens_per_s, 0),
            _range(option.capacity, 2),
            f"{option.load:.0%}",
            f"{option.power_w / 1000:.1f}",
        )
        for option in options
    ]
    names = (
        "Option",
        "Hosts x GPUs",
        "TP x PP x DP a host",
        "First token s",
        "Tokens/s each",
        "Tokens/s all",
        "Requests/s",
    )
    _table(title, (*names, "Busy", "kW"), rows, left=2)


def _costs(options: Sequence[Option], answered: Plan) -> None:
    hybrid = any(option.cost.api for option in options)
    rows = []
    for option in options:
        cost = option.cost
        parts = [cost.total, cost.capital, cost.maintenance, cost.energy, cost.staff, cost.cloud]
        cells = [f"{part:,.0f}" if part else "-" for part in (*parts, *([cost.api] if hybrid else []))]
        once = f"{'~' if option.hardware_estimated else ''}{cost.once:,.0f}" if cost.once else "-"
        rows.append((option.id, *cells, once, f"{option.per_million_tokens:,.2f}", _even(option.break_even_months)))
    names = [
        "Option",
        "A month",
        "Capital",
        "Upkeep",
        "Energy",
        "Staff",
        "Cloud",
        *(["API"] if hybrid else []),
        "At once",
    ]
    title = f"What they cost, {answered.prices.currency} a month"
    if any(option.hardware_estimated for option in options):
        title += " (~ the hardware's price is an estimate)"
    _table(title, (*names, "Per 10^6 tokens", "Even with the API"), rows, left=1)


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> None:
    """Print a table as wide as it needs; `left` columns are text, the others figures."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, no_wrap=True, justify="left" if number < left else "right")
    for row in rows:
        table.add_row(*row)
    print(f"\n{title}")
    # A terminal wraps what is wider; rich would cut figures off.
    Console(highlight=False, markup=False, width=_WIDTH).print(table)


def _even(months: float | None) -> str:
    if months is None:
        return "never"
    return "at once" if months == 0 else after_months(months)


def _range(figure: Range, digits: int) -> str:
    return f"{figure.expected:,.{digits}f} ({figure.low:,.{digits}f}-{figure.high:,.{digits}f})"

"""The page: what a manager asks first stands first, and every figure's origin stands on it too."""

from __future__ import annotations

import base64
import hashlib
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from slipway import __version__
from slipway.performance.layout import HEADROOM
from slipway.performance.options import money
from slipway.performance.plan_types import Option, Plan
from slipway.performance.types import Range
from slipway.report.figures import LETTERS, compared, figures
from slipway.report.file import put
from slipway.report.words import months, number, ranged, several, span, wanted

_HERE = Path(__file__).parent
_SHOWN = 8
"""Options that the table shows at once; the others are behind a fold."""


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A figure in large type, and what is to be known with it."""

    name: str
    value: str
    more: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """An option in the table."""

    letter: str
    chosen: bool
    name: str
    hardware: str
    cells: tuple[str, ...]
    verdict: str
    why_not: tuple[str, ...]


def write(plan: Plan, path: Path, *, command: str | None = None) -> None:
    """Make the page of `plan` and put it in the file `path`, whole or not at all.

    Args:
        plan: What to show.
        path: The file; one that is there is replaced, its folder must be.
        command: What it was made with. Default: this process's command line, where it is Slipway's.

    Raises:
        ReportError: The file can't be written; nothing was changed.
    """
    put(path, render(plan, command=_own_command() if command is None else command, made=datetime.now(UTC)))


def render(plan: Plan, *, command: str, made: datetime) -> str:
    """The page as text. The same plan, command and time make the same text."""
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    shown = compared(plan)
    return _template().render(
        plan=plan,
        users=several(plan.load.users, "user"),
        headline=_headline(plan, shown[0] if shown else None),
        advice=plan.advice if plan.choice else plan.advice[1:],
        subject=shown[0].name if shown else "",
        key_figures=_key_figures(plan, shown[0]) if shown else (),
        options=_rows(plan, shown),
        shown=_SHOWN,
        figures=figures(plan),
        style=Markup(style),  # noqa: S704 - our own file
        # The policy lets in this very style sheet and nothing else: no text of the page can become script, style or request.
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        version=__version__,
        made=made,
        command=command,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html")


def _own_command() -> str:
    return shlex.join(["slipway", *sys.argv[1:]]) if Path(sys.argv[0]).name == "slipway" else ""


def _headline(plan: Plan, first: Option | None) -> str:
    """The recommendation in one sentence; without one, the plan's own first sentence, which says what is amiss."""
    if first is None or plan.choice is None:
        return plan.advice[0] if plan.advice else f"Nothing meets the targets for {plan.model}."
    currency = plan.prices.currency
    verb = "Rent" if first.place == "cloud" else "Buy"
    users, month = several(plan.load.users, "user"), money(first.cost.total, currency)
    return (
        f'{verb} {several(first.hosts, "host")} of the kind "{first.name}" to serve {users} of {plan.model}: about {month} a '
        f"month; the same tokens from {plan.prices.api_name} would cost {money(first.api_month, currency)}."
    )


def _hardware(option: Option) -> str:
    return f"{several(option.hosts, 'host')}, {option.gpus:,} x {option.gpu_name}"


def _key_figures(plan: Plan, option: Option) -> tuple[KeyFigure, ...]:
    currency, load = plan.prices.currency, plan.load
    cloud = option.place == "cloud"
    room = (load.users * HEADROOM * end / load.local_requests_per_s for end in _ends(option.capacity))
    low, expected, high = (f"{users:,.0f}" for users in room)
    return (
        KeyFigure(
            name="Cost per month",
            value=money(option.cost.total, currency),
            more="rent and staff; nothing at the beginning" if cloud else _capital(option, currency),
        ),
        KeyFigure(
            name="Users served" if option.meets_targets else "Users",
            value=f"{load.users:,}",
            more=f"room for about {expected} ({low} to {high}) at {HEADROOM:.0%} of what the hosts can carry"
            if option.meets_targets
            else "the targets do not hold for them",
        ),
        KeyFigure(
            name="Tokens per second, all users together",
            value=number(option.output_tokens_per_s.expected),
            more=f"{span(option.output_tokens_per_s)} at most; in the busiest hour each user sees "
            f"{ranged(option.user_tokens_per_s)}, wanted: {wanted(load.tokens_per_second)}",
        ),
        KeyFigure(
            name="Time to the first token, in the busiest hour",
            value=f"{number(option.ttft_s.expected)} s",
            more=f"{span(option.ttft_s)} s; wanted: at most {wanted(load.ttft_s)} s",
        ),
        KeyFigure(
            name="Power at full load",
            value=f"{number(option.power_w / 1000)} kW",
            more="in the price of the rent"
            if cloud
            else f"at the hosts; {number(option.energy_kwh_month)} kWh a month with cooling",
        ),
        KeyFigure(
            name="Break-even against an API",
            value=months(option.break_even_months),
            more=f"{plan.prices.api_name}: {money(option.api_month, currency)} a month for the same tokens",
        ),
    )


def _ends(figure: Range) -> tuple[float, float, float]:
    return figure.low, figure.expected, figure.high


def _capital(option: Option, currency: str) -> str:
    paid = f"{money(option.cost.once, currency)} at the beginning" + (
        ", an estimate" if option.hardware_estimated else ""
    )
    return f"{paid}; then {money(option.cost.running, currency)} a month; the rest of the cost writes that off"


def _rows(plan: Plan, shown: tuple[Option, ...]) -> list[Row]:
    letters = {option.id: letter for option, letter in zip(shown, LETTERS, strict=False)}
    return [
        Row(
            letter=letters.get(option.id, ""),
            chosen=option.id == plan.choice,
            name=option.name,
            hardware=f"{'rented' if option.place == 'cloud' else 'bought'}: {_hardware(option)}",
            cells=(
                f"{option.cost.total:,.0f}",
                f"{option.cost.once:,.0f}" + ("*" if option.hardware_estimated else ""),
                ranged(option.output_tokens_per_s),
                ranged(option.ttft_s),
                f"{option.load:.0%}",
                number(option.power_w / 1000),
                months(option.break_even_months),
            ),
            verdict=_verdict(option),
            why_not=(*option.why_not, *option.warnings),
        )
        for option in plan.options
    ]


def _verdict(option: Option) -> str:
    if not option.meets_targets:
        return "missed"
    if not option.within_budget:
        return "over budget"
    return "certain" if option.certain else "expected"

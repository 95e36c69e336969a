"""`slipway usage`: what a stack's teams used and what it cost, from the records of its fronts."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from cli.errors import UserError
from cli.remote import RemoteError, on_machine
from slipway.deployment.resolve import deployment_of
from slipway.deployment.types import Deployment, Machine
from slipway.paths import ROOT
from slipway.report.file import put
from slipway.report.usage import usage_chart
from slipway.usage.records import Sum, read, sums, totals

FOLDER = "/var/lib/slipway/nginx/usage"
_TIMEOUT_S = 300


def show_usage(
    stack: str,
    *,
    since: str,
    period: str,
    team: str | None,
    form: str = "table",
    chart: Path | None = None,
    root: Path = ROOT,
) -> None:
    """Print what was used since a day (``2026-11-01``), or in the last so many days (``7d``).

    Args:
        stack: whose front is asked.
        since: the first day.
        period: hour, day or month.
        team: of this one only.
        form: table, json or csv.
        chart: a file for a chart (SVG), besides.
        root: the project's folder.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UserError: no such team, a time that is none, or the machine can't be asked.
        ReportError: the chart's file can't be written.
    """
    deployment = deployment_of(stack, root)
    first = _first_day(since)
    if team is not None and team not in deployment.settings.gateway.teams:
        raise UserError(
            f"stack {stack} has no team {team!r}; its teams: {', '.join(deployment.settings.gateway.teams)}"
        )
    records, broken = read(_lines(deployment, first))
    if team is not None:
        records = [record for record in records if record["team"] == team]
    found = sums(records, period)
    if broken:
        print(f"{broken} line(s) of the records could not be read and are not counted", file=sys.stderr)
    {"table": table, "json": as_json, "csv": as_csv}[form](found)
    if chart is not None:
        put(chart, usage_chart(found, period))


def _first_day(since: str) -> str:
    if since.endswith("d") and since[:-1].isdigit():
        return (datetime.now(tz=UTC) - timedelta(days=int(since[:-1]) - 1)).strftime("%Y-%m-%d")
    try:
        return datetime.strptime(since, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y-%m-%d")
    except ValueError:
        raise UserError(
            f"--since {since}: is no time; write a day like 2026-11-01, or 7d for the last seven days"
        ) from None


def _lines(deployment: Deployment, first: str) -> Iterable[str]:
    """The lines of the files of all days from `first` on, of all fronts."""
    return [line for machine in deployment.front.machines for line in _lines_of(deployment, machine, first)]


def _lines_of(deployment: Deployment, machine: Machine, first: str) -> list[str]:
    script = f'cd {FOLDER} 2>/dev/null && for f in *.jsonl; do [ "$f" \\< {first} ] || cat -- "$f"; done; true'
    try:
        return on_machine(deployment, machine, f"sh -c '{script}'", timeout_s=_TIMEOUT_S).splitlines()
    except RemoteError as error:
        raise UserError(
            f"{error}; its records are not counted: ask again, for fewer days where it takes long"
        ) from None


def table(found: list[Sum]) -> None:
    """For people; what each team has to pay comes last."""
    rows = [
        (
            each.period,
            each.team,
            each.model,
            *(f"{n:,}" for n in (each.requests, each.refused, each.tokens_in, each.tokens_out)),
            _money(each),
        )
        for each in found
    ]
    _aligned(("period", "team", "model", "requests", "refused", "tokens in", "tokens out", "money"), rows, texts=3)
    paid = totals(found)
    if paid:
        print()
        _aligned(("team", "to pay"), [(team, _units(money, currency)) for (team, currency), money in paid.items()], 1)
    if not rows:
        print("nothing was used in this time", file=sys.stderr)
    if unpriced := sorted({each.model for each in found if each.unpriced}):
        print(
            f"{', '.join(unpriced)}: used while there was no price; set models.NAME.price for what is used from then on",
            file=sys.stderr,
        )


def as_json(found: list[Sum]) -> None:
    """Money is a text, so that no reader makes it a float; null where there was no price."""
    print(json.dumps({"usage": [_fields(each) for each in found]}, indent=2))


def as_csv(found: list[Sum]) -> None:
    """Money is empty where there was no price."""
    names = [field.name for field in dataclasses.fields(Sum)]
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_fields(each) for each in found)


def _fields(each: Sum) -> dict[str, Any]:
    return {**dataclasses.asdict(each), "money": None if each.money is None else f"{each.money:f}"}


def _money(each: Sum) -> str:
    if each.money is not None and each.currency is not None:
        return _units(each.money, each.currency)
    return "no price" if each.unpriced else "-"


def _units(money: Decimal, currency: str) -> str:
    """With as many decimals as the smallest request needs to be seen, rounded; JSON and CSV have all of them."""
    return f"{money:,.6f} {currency}"


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> None:
    """Columns, the first `texts` of them to the left and the others, which are figures, to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = [
            f"{cell:{width}}" if at < texts else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())

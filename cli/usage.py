"""`slipway usage`: what a stack's teams used, from the records of its fronts, as a table, JSON, CSV or a chart."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.errors import UserError
from slipway.deployment.references import public
from slipway.deployment.resolve import catalog_of, resolve
from slipway.deployment.types import Deployment, Machine
from slipway.paths import ROOT
from slipway.settings.load import read_public, stack_file
from slipway.usage.records import Sum, read, sums

FOLDER = "/var/lib/slipway/nginx/usage"
CHART_WIDTH = 48
_TIMEOUT_S = 300


def show_usage(
    stack: str,
    *,
    since: str,
    period: str,
    team: str | None,
    form: str,
    root: Path = ROOT,
) -> None:
    """Print what was used since a day (``2026-11-01``), or in the last so many days (``7d``).

    `form` is table, json, csv or chart.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UserError: no such team, a time that is none, or the machine can't be asked.
    """
    settings = read_public(stack, root)
    deployment = resolve(settings, catalog_of(settings, root), str(stack_file(stack, root).relative_to(root)))
    first = _first_day(since)
    if team is not None and team not in settings.gateway.teams:
        raise UserError(f"stack {stack} has no team {team!r}; its teams: {', '.join(settings.gateway.teams)}")
    records, broken = read(_lines(deployment, first))
    if team is not None:
        records = [record for record in records if record["team"] == team]
    found = sums(records, period)
    if broken:
        print(f"{broken} line(s) of the records could not be read and are not counted", file=sys.stderr)
    {"table": _table, "json": _json, "csv": _csv, "chart": _chart}[form](found)


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
    address = deployment.known(public(machine.name))
    if address is None:
        raise UserError(f"{machine.name} is made by the `up`; ask again once it is there")
    script = f'cd {FOLDER} 2>/dev/null && for f in *.jsonl; do [ "$f" \\< {first} ] || cat -- "$f"; done; true'
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-p", str(machine.port)]
    if machine.key_file is not None:
        command += ["-i", str(machine.key_file)]
    if machine.host_key is None:
        command += ["-o", "StrictHostKeyChecking=accept-new"]
    else:
        # As the stack names it, and no other.
        command += ["-o", f"KnownHostsCommand=/bin/echo {address} {machine.host_key}", "-o", "UserKnownHostsFile=none"]
    target = f"{machine.user}@{address}" if machine.user else address
    try:
        done = subprocess.run(
            [*command, target, f"sudo -n sh -c '{script}'"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{machine.name} ({address}) did not answer within {_TIMEOUT_S} s; ask for fewer days"
        ) from None
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise UserError(f"{machine.name} ({address}) can't be asked for its records: {reason[0]}")
    return done.stdout.splitlines()


def _table(found: list[Sum]) -> None:
    heads = ("period", "team", "model", "requests", "refused", "tokens in", "tokens out")
    rows = [
        (
            each.period,
            each.team,
            each.model,
            *(f"{n:,}" for n in (each.requests, each.refused, each.tokens_in, each.tokens_out)),
        )
        for each in found
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = [
            f"{cell:{width}}" if at < 3 else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    if not rows:
        print("nothing was used in this time", file=sys.stderr)


def _json(found: list[Sum]) -> None:
    print(json.dumps({"usage": [dataclasses.asdict(each) for each in found]}, indent=2))


def _csv(found: list[Sum]) -> None:
    names = [field.name for field in dataclasses.fields(Sum)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(each, name) for name in names] for each in found)


def _chart(found: list[Sum]) -> None:
    """Tokens of each period, all teams and models together."""
    periods: dict[str, int] = {}
    for each in found:
        periods[each.period] = periods.get(each.period, 0) + each.tokens
    most = max(periods.values(), default=0)
    for period, tokens in periods.items():
        bar = "#" * (round(tokens / most * CHART_WIDTH) if most else 0)
        print(f"{period}  {bar:{CHART_WIDTH}}  {tokens:,} tokens")

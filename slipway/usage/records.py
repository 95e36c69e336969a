"""Reads the front's records of usage and sums them up.

A record is a line of JSON for each request (see `usage.lua` of role nginx): time (UTC), team, model, tokens ``in`` and ``out``,
what they cost (``money`` in billionths of ``currency``, where the model had a price), status, seconds. It holds no content.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from slipway.usage.money import amount

PERIODS: Mapping[str, int] = {"month": 7, "day": 10, "hour": 13}
"""How much of a record's time tells its period: the first characters of ``2026-11-29T09:15:00.123Z``."""


@dataclass(frozen=True, kw_only=True)
class Sum:
    """What one team used of one model in one period, all of it with a price in one currency, or all of it without a price.

    ``seconds`` is the time of all its requests together; ``refused`` are those of its requests that were answered with a
    status of 400 or more. ``money`` is exact; it and ``currency`` are None where nothing had a price.
    """

    period: str
    team: str
    model: str
    requests: int
    refused: int
    tokens_in: int
    tokens_out: int
    seconds: float
    money: Decimal | None = None
    currency: str | None = None

    @property
    def tokens(self) -> int:
        """Of prompts and answers together."""
        return self.tokens_in + self.tokens_out

    @property
    def unpriced(self) -> bool:
        """Whether tokens were used that had no price."""
        return self.money is None and self.tokens > 0


@dataclass
class _Counted:
    """A sum that is being made."""

    requests: int = 0
    refused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    money: int = 0

    def add(self, other: _Counted) -> None:
        self.requests += other.requests
        self.refused += other.refused
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.seconds += other.seconds
        self.money += other.money


_Key = tuple[str, str, str]
"""Period, team, model."""


def read(lines: Iterable[str]) -> tuple[list[dict[str, Any]], int]:
    """The records, and how many lines are none: the last one of a file may be half a one after a loss of power."""
    found, broken = [], 0
    for line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict) and isinstance(record.get("time"), str) and isinstance(record.get("team"), str):
            found.append(record)
        else:
            broken += 1
    return found, broken


def sums(records: Iterable[Mapping[str, Any]], period: str) -> list[Sum]:
    """One for each period, team and model, in this order, and for each currency; what had no price comes last.

    Args:
        records: as `read` gives them.
        period: one of `PERIODS`.
    """
    digits = PERIODS[period]
    counted: dict[_Key, dict[str, _Counted]] = {}
    for record in records:
        key = (record["time"][:digits], record["team"], str(record.get("model") or record.get("asked") or ""))
        money = record.get("money")
        currency = str(record.get("currency")) if isinstance(money, int) else ""
        counted.setdefault(key, {}).setdefault(currency, _Counted()).add(
            _Counted(
                requests=1,
                refused=int(int(record.get("status", 200)) >= 400),
                tokens_in=_count(record.get("in")),
                tokens_out=_count(record.get("out")),
                seconds=float(record.get("seconds") or 0),
                money=_count(money),
            )
        )
    return [each for key in sorted(counted) for each in _of(key, counted[key])]


def totals(found: Iterable[Sum]) -> dict[tuple[str, str], Decimal]:
    """What each team has to pay, by team and currency."""
    paid: dict[tuple[str, str], Decimal] = {}
    for each in found:
        if each.money is not None and each.currency is not None:
            key = (each.team, each.currency)
            paid[key] = paid.get(key, Decimal(0)) + each.money
    return dict(sorted(paid.items()))


def _of(key: _Key, currencies: dict[str, _Counted]) -> Iterator[Sum]:
    unpriced = currencies.pop("", None)
    if unpriced is not None and not unpriced.tokens_in + unpriced.tokens_out and currencies:
        # Requests that used nothing, as refused ones, need no price and no line of their own.
        currencies[min(currencies)].add(unpriced)
        unpriced = None
    for currency in sorted(currencies):
        yield _sum(key, currencies[currency], currency)
    if unpriced is not None:
        yield _sum(key, unpriced, None)


def _sum(key: _Key, row: _Counted, currency: str | None) -> Sum:
    period, team, model = key
    return Sum(
        period=period,
        team=team,
        model=model,
        requests=row.requests,
        refused=row.refused,
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        seconds=round(row.seconds, 3),
        money=None if currency is None else amount(row.money),
        currency=currency,
    )


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0

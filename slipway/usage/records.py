"""Reads the front's records of usage and sums them up.

A record is a line of JSON for each request (see `usage.lua` of role nginx): time (UTC), team, model, tokens ``in`` and ``out``,
status, seconds. It holds no content.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PERIODS: Mapping[str, int] = {"month": 7, "day": 10, "hour": 13}
"""How much of a record's time tells its period: the first characters of ``2026-11-29T09:15:00.123Z``."""


@dataclass(frozen=True, kw_only=True)
class Sum:
    """What one team used of one model in one period.

    ``seconds`` is the time of all its requests together; ``refused`` are those of its requests that were answered with a
    status of 400 or more.
    """

    period: str
    team: str
    model: str
    requests: int
    refused: int
    tokens_in: int
    tokens_out: int
    seconds: float

    @property
    def tokens(self) -> int:
        """Of prompts and answers together."""
        return self.tokens_in + self.tokens_out


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
    """One for each period, team and model, in this order.

    Args:
        records: as `read` gives them.
        period: one of `PERIODS`.
    """
    digits = PERIODS[period]
    counted: dict[tuple[str, str, str], list[float]] = {}
    for record in records:
        key = (record["time"][:digits], record["team"], str(record.get("model") or record.get("asked") or ""))
        row = counted.setdefault(key, [0, 0, 0, 0, 0.0])
        row[0] += 1
        row[1] += int(record.get("status", 200)) >= 400
        row[2] += _count(record.get("in"))
        row[3] += _count(record.get("out"))
        row[4] += float(record.get("seconds") or 0)
    return list(_sums(counted))


def _sums(counted: Mapping[tuple[str, str, str], list[float]]) -> Iterator[Sum]:
    for (period, team, model), (requests, refused, tokens_in, tokens_out, seconds) in sorted(counted.items()):
        yield Sum(
            period=period,
            team=team,
            model=model,
            requests=int(requests),
            refused=int(refused),
            tokens_in=int(tokens_in),
            tokens_out=int(tokens_out),
            seconds=round(seconds, 3),
        )


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0

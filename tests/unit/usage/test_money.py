"""Amounts keep every digit, and the example in the documentation is what comes out."""

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli.usage import as_csv, as_json, table
from slipway.report.usage import usage_chart
from slipway.settings.types import MOST_MONEY
from slipway.usage.money import amount, billionths, millionths
from slipway.usage.records import Sum, read, sums, totals

MILLION = 1_000_000


def record(team: str = "a", model: str = "m", day: int = 1, **more: object) -> str:
    return json.dumps({"time": f"2026-11-{day:02}T00:00:00.000Z", "team": team, "model": model, "status": 200, **more})


def priced(money: int, currency: str = "EUR", **more: object) -> dict[str, object]:
    return {"in": 5, "out": 4, "money": money, "currency": currency, **more}


def by_month(*lines: str) -> list[Sum]:
    found, broken = read(lines)
    assert not broken
    return sums(found, "month")


@given(st.decimals(min_value=0, max_value=MOST_MONEY, places=6))
def test_amounts_come_back_as_they_were(value: Decimal) -> None:
    assert amount(billionths(value)) == value
    assert billionths(value) == 1000 * millionths(value) <= 2**53


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=40))
def test_money_is_summed_to_the_last_digit(costs: list[int]) -> None:
    (row,) = by_month(*(record(**priced(cost)) for cost in costs))
    assert row.money is not None
    assert billionths(row.money) == sum(costs)


def test_what_has_no_price_stands_apart_and_is_not_0() -> None:
    priced_row, other, unpriced = by_month(
        record(**priced(10)),
        record(**priced(20, "USD")),
        record(**{"in": 7}),
        record(status=429),
    )
    assert [row.currency for row in (priced_row, other, unpriced)] == ["EUR", "USD", None]
    assert (unpriced.money, unpriced.unpriced, unpriced.tokens) == (None, True, 7)
    # The refused one needs no price; it is with what had none anyway.
    assert (priced_row.requests, unpriced.requests, unpriced.refused) == (1, 2, 1)
    (free,) = by_month(record(**priced(0)))
    assert (free.money, free.unpriced) == (Decimal(0), False)


def test_what_was_refused_stands_with_what_was_not() -> None:
    (row,) = by_month(record(**priced(10)), record(status=429))
    assert (row.requests, row.refused, row.currency) == (2, 1, "EUR")
    (alone,) = by_month(record(status=429))
    assert (alone.money, alone.unpriced) == (None, False)


def test_totals_are_by_team_and_currency() -> None:
    found = by_month(
        record(**priced(10)),
        record(model="n", **priced(5)),
        record(team="b", **priced(1, "USD")),
        record(team="c", out=3),
    )
    assert totals(found) == {("a", "EUR"): amount(15), ("b", "USD"): amount(1)}


def test_all_forms_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    found = by_month(record(**priced(1_234_567_890_123)), record(model="n", **{"in": 7}), record(model="o", status=404))
    as_json(found)
    from_json = json.loads(capsys.readouterr().out)["usage"]
    assert [row["money"] for row in from_json] == ["1234.567890123", None, None]
    as_csv(found)
    from_csv = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["money"] for row in from_csv] == ["1234.567890123", "", ""]
    assert [(row["currency"], row["tokens_in"]) for row in from_csv] == [("EUR", "5"), ("", "7"), ("", "0")]
    table(found)
    printed = capsys.readouterr()
    assert [line.split("  ")[-1].strip() for line in printed.out.splitlines()[1:4]] == [
        "1,234.567890 EUR",
        "no price",
        "-",
    ]
    assert printed.err.startswith("n: used while there was no price")


def parts(svg: str) -> list[ET.Element]:
    root = ET.fromstring(svg)  # noqa: S314 -- our own
    return [element for element in root.iter() if "part mark" in element.get("class", "")]


def test_the_chart_draws_money_where_all_has_a_price() -> None:
    svg = usage_chart(by_month(record(**priced(3 * 10**9)), record(team="b", **priced(10**9))), "month")
    first, second = parts(svg)
    assert float(first.attrib["width"]) == pytest.approx(3 * float(second.attrib["width"]), abs=0.02)
    assert "Money (EUR) by month and team" in svg
    assert "2026-11" in svg


def test_the_chart_draws_tokens_where_something_has_none() -> None:
    svg = usage_chart(by_month(record(**priced(3 * 10**9)), record(team="b", **{"in": 3})), "month")
    first, second = parts(svg)
    assert float(first.attrib["width"]) == pytest.approx(3 * float(second.attrib["width"]), abs=0.02)
    assert "Tokens by month and team" in svg


def test_the_chart_has_all_teams_and_stands_alone() -> None:
    nasty = '"><script>'
    lines = [record(team=f"t{number}", day=day, **priced(10**9)) for number in range(6) for day in (1, 2)]
    found, _ = read([*lines, record(team=nasty, **priced(10**12))])
    svg = usage_chart(sums(found, "day"), "day")
    assert svg.startswith("<svg xmlns=")
    assert "<script>" not in svg
    # Four of the teams, and the others together.
    assert len(parts(svg)) == 2 * 5 - 1
    assert "other teams" in svg
    assert usage_chart([], "day")


def test_the_example_in_the_documentation(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (root / "docs/usage.md").read_text().partition("## What tokens cost")[2]
    blocks = dict(re.findall(r"```(yaml|json|text)\n(.*?)```", text, re.DOTALL))
    models = yaml.safe_load(blocks["yaml"])["models"]
    found, broken = read(blocks["json"].splitlines())
    assert broken == 0
    for each in found:
        price = models[each["model"]].get("price")
        cost = price and sum(
            Decimal(str(price[side])) * each.get(tokens, 0) / MILLION
            for side, tokens in (("input", "in"), ("output", "out"))
        )
        assert each.get("money") == (billionths(cost) if cost else None)
    table(sums(found, "month"))
    assert capsys.readouterr().out == blocks["text"]

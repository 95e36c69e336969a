"""Which options the charts compare, and how far they look ahead."""

import re

import pytest

from slipway.performance.plan_types import Option
from slipway.report.canvas import RIGHT, WIDTH
from slipway.report.figures import compared, figures
from tests.unit.report.plans import option, plan, rented


def other(number: int, gpu: str, **changes: object) -> Option:
    return option(id=f"o{number}", name=f"Option {number}", gpu=gpu, **changes)


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ([option()], ["team"]),
        ([option(), other(1, "a10g"), other(2, "a10g")], ["team"]),
        ([option(), other(1, "a10g"), other(2, "h100"), other(3, "h100"), other(4, "l4")], ["team", "o2", "o3"]),
        ([option(), other(1, "h100"), rented()], ["team", "o1", "g5.12xlarge@us-east-1"]),
        ([rented(), rented(id="c", gpu="h100"), option()], ["g5.12xlarge@us-east-1", "c", "team"]),
        ([option(), other(1, "h100", meets_targets=False)], ["team"]),
        ([option(), other(1, "h100", within_budget=False)], ["team"]),
        ([option(meets_targets=False), other(1, "h100", meets_targets=False)], ["team", "o1"]),
    ],
)
def test_compared(options: list[Option], chosen: list[str]) -> None:
    assert [each.id for each in compared(plan(*options))] == chosen


def test_the_choice_comes_first_wherever_it_stands() -> None:
    given = plan(option(), other(1, "h100"), choice="o1")
    assert [each.id for each in compared(given)] == ["o1", "team"]


def test_without_options_there_is_nothing_to_draw() -> None:
    assert figures(plan(options=(), choice=None)) == ()


@pytest.mark.parametrize(
    ("running", "last", "legend"),
    [
        (1_000.0, "36", "A after 25 months"),  # 50,000 / 2,000
        (1_500.0, "60", "A after 33 months"),
        (2_000.0, "60", "A after 50 months"),
        (2_500.0, "36", None),  # after 100 months, which no chart shows
        (3_000.0, "36", None),  # never
    ],
)
def test_the_months_shown_hold_the_break_even(running: float, last: str, legend: str | None) -> None:
    _, cost, _ = figures(plan(option(running=running)))
    assert cost.table.rows[-1][0] == last
    said = [text for _, text in cost.legend if "less than the API" in text]
    assert said == ([f"has cost less than the API: {legend}"] if legend else [])


@pytest.mark.parametrize("once", [1_000.0, 50_000.0, 1e9])
def test_all_costs_are_drawn_to_the_last_month(once: float) -> None:
    _, cost, _ = figures(plan(option(once=once), rented()))
    paths = re.findall(r'<path d="M(.*?)" class="line', cost.charts[0])
    ends = [path.split("L")[-1].split()[0] for path in paths]
    assert ends == [f"{WIDTH - RIGHT}"] * 3


def test_the_break_even_lies_on_the_line_of_the_api() -> None:
    _, cost, _ = figures(plan(option(once=1_000.0)))  # 1,000 / 2,000 a month: half a month
    *_, api = re.findall(r'<path d="M(.*?)" class="line', cost.charts[0])
    start, end = ([float(part) for part in point.split()] for point in api.split("L")[:2])
    (dot,) = re.findall(r'<circle cx="(.*?)" cy="(.*?)"', cost.charts[0])
    assert [float(part) for part in dot] == pytest.approx(
        [(a + b) / 2 for a, b in zip(start, end, strict=True)], abs=0.02
    )


def test_memory_adds_up_in_the_table() -> None:
    *_, memory = figures(plan(option(), rented()))
    for column in (1, 2):
        *parts, total = [float(row[column]) for row in memory.table.rows]
        assert sum(parts) == pytest.approx(total, abs=0.02)


def test_a_curve_of_one_point_is_drawn() -> None:
    single = option(curve=option().curve[:1], concurrency=2)
    capacity, *_ = figures(plan(single))
    assert 'class="line mark a"' in capacity.charts[0]

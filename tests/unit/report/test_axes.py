"""Axes hold all that is drawn on them, with few and round ticks."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.report.axes import calendar, doubling, even
from slipway.report.words import compact

AMOUNTS = st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=5)


@settings(deadline=None)
@given(AMOUNTS)
def test_an_even_axis_holds_all_values_and_little_more(values: list[float]) -> None:
    axis = even("", values, str)
    assert axis.low == 0
    assert max(values) <= axis.high * (1 + 1e-9)
    assert 2 <= len(axis.ticks) <= 7
    assert axis.high - max(values) <= axis.ticks[1] * (1 + 1e-9)
    assert [axis.share(tick) for tick in (axis.ticks[0], axis.ticks[-1])] == [0, 1]


@settings(deadline=None)
@given(AMOUNTS)
def test_ticks_read_differently(values: list[float]) -> None:
    labels = [compact(tick) for tick in even("", values, compact).ticks]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("top", "ticks"),
    [
        (1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (106, [0, 20, 40, 60, 80, 100, 120]),
        (640, [0, 200, 400, 600, 800]),
        (0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_even_ticks(top: float, ticks: list[float]) -> None:
    assert list(even("", [top], str).ticks) == pytest.approx(ticks)


@settings(deadline=None)
@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=9))
def test_a_doubling_axis_holds_all_values(values: list[int]) -> None:
    axis = doubling("", values, str)
    assert axis.low <= min(values)
    assert axis.high >= max(values)
    assert 1 <= len(axis.ticks) <= 9
    assert all(0 <= axis.share(tick) <= 1 for tick in axis.ticks)
    assert all(right >= 2 * left for left, right in pairwise(axis.ticks))


def test_doubling_is_as_wide_everywhere() -> None:
    axis = doubling("", [1, 16], str)
    assert [axis.share(value) for value in (1, 2, 4, 8, 16)] == pytest.approx([0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize(("last", "ticks"), [(36, 7), (60, 6)])
def test_months_have_few_ticks(last: int, ticks: int) -> None:
    axis = calendar("months", last)
    assert len(axis.ticks) == ticks
    assert axis.text(axis.ticks[-1]) == str(last)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.25, "0.25"), (950, "950"), (2500, "2.5k"), (1e6, "1M"), (7.5e9, "7.5bn")]
)
def test_compact(value: float, text: str) -> None:
    assert compact(value) == text

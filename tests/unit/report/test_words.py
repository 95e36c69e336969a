"""Figures as people read them."""

import pytest

from slipway.performance.types import Range
from slipway.report.words import months, number, ranged, several, wanted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (0.123, "0.12"),
        (0.994, "0.99"),
        (0.996, "1.0"),
        (9.94, "9.9"),
        (9.96, "10"),
        (99.6, "100"),
        (1234.5, "1,234"),
        (1e7, "10,000,000"),
    ],
)
def test_computed_figures_have_few_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(15.0, "15"), (2.5, "2.5"), (0.001, "0.001"), (1500.0, "1,500")])
def test_wanted_figures_stay_as_they_were_given(value: float, text: str) -> None:
    assert wanted(value) == text


def test_ranges_go_from_low_to_high() -> None:
    assert ranged(Range(0.5, 1.25, 20)) == "1.2 (0.50\N{EN DASH}20)"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "never"),
        (0.0, "from the first month"),
        (0.3, "within a month"),
        (1.2, "1 month"),
        (9.7, "10 months"),
        (1500.0, "1,500 months"),
    ],
)
def test_months(count: float | None, text: str) -> None:
    assert months(count) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 hosts"), (1, "1 host"), (2, "2 hosts"), (2000, "2,000 hosts")])
def test_several(count: int, text: str) -> None:
    assert several(count, "host") == text

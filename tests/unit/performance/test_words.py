"""Figures in sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.performance.words import after_months, figure


@pytest.mark.parametrize(
    ("value", "wanted", "text"),
    [
        (0.06, None, "0.06"),
        (0.064, 0.06, "0.064"),
        (0.0601, 0.06, "0.0601"),
        (1.04, 1.0, "1.04"),
        (14.96, 15.0, "14.96"),
        (14.96, 2.0, "15"),
        (105.0, 2.0, "105"),
        (1234.0, 2.0, "1,234"),
        (0.8, 2.0, "0.8"),
        (2.0, 2.0, "2"),
        (0.0, 1.0, "0"),
    ],
)
def test_figures(value: float, wanted: float | None, text: str) -> None:
    assert figure(value, wanted) == text


@given(st.floats(1e-3, 1e5), st.floats(1e-3, 1e5))
def test_a_figure_keeps_its_side_of_what_is_wanted(value: float, wanted: float) -> None:
    """Up to a millionth, which nobody predicts."""
    shown = float(figure(value, wanted).replace(",", ""))
    assert shown == pytest.approx(value, rel=0.06)
    if abs(value - wanted) > 1e-4 * wanted:
        assert shown != wanted


@pytest.mark.parametrize(
    ("months", "text"),
    [
        (0.01, "within a month"),
        (0.99, "within a month"),
        (1.0, "after 1 month"),
        (1.4, "after 1 month"),
        (1.6, "after 2 months"),
        (35.2, "after 35 months"),
    ],
)
def test_months(months: float, text: str) -> None:
    assert after_months(months) == text

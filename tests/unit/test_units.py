"""GiB and GB are types: they never mix."""

import operator

import pytest

from slipway.units import GB, GiB


def test_a_gib_is_larger_than_a_gb() -> None:
    assert GiB(1).bytes == 1_073_741_824
    assert GB(1).bytes == 1_000_000_000
    assert GB.of_bytes(GiB(80).bytes).value == pytest.approx(85.899, abs=1e-3)


def test_mib_of_the_driver() -> None:
    assert GiB.of_mib(81559).value == pytest.approx(79.647, abs=1e-3)


@pytest.mark.parametrize(
    "operation", [operator.add, operator.sub, operator.truediv, operator.lt, operator.le, operator.gt, operator.ge]
)
@pytest.mark.parametrize("other", [GB(1), 1, 1.0, "1"])
def test_units_never_mix(operation: object, other: object) -> None:
    with pytest.raises(TypeError):
        operation(GiB(1), other)  # type: ignore[operator]


@pytest.mark.parametrize("other", [GiB(2), GB(2)])
def test_amounts_are_not_multiplied(other: object) -> None:
    with pytest.raises(TypeError):
        GiB(1) * other  # type: ignore[operator]


def test_an_amount_has_one_unit() -> None:
    with pytest.raises(TypeError, match="has a unit already"):
        GiB(GB(80))  # type: ignore[arg-type]


def test_equal_numbers_of_different_units_are_not_equal() -> None:
    assert GiB(1) != GB(1)
    assert len({GiB(1), GB(1), GiB(1.0)}) == 2


def test_arithmetic_within_a_unit() -> None:
    assert GiB(3) - GiB(1) + 0.5 * GiB(2) == GiB(3)
    assert GiB(3) / GiB(2) == 1.5
    assert f"{GiB(1.234)}" == "1.23 GiB"
    assert f"{GB(1.26):.1f}" == "1.3 GB"

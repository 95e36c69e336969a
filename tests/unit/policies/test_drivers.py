"""Drivers and releases, compared as far as both say."""

import pytest

from policies.subjects.drivers import numbers, older


@pytest.mark.parametrize(
    ("one", "other", "is_older"),
    [
        ("550.144.03", "580.65.06", True),
        ("580.65.06", "580.65.06", False),
        ("580.65.05", "580.65.06", True),
        ("580.95.05", "580.65.06", False),
        ("580", "580.65.06", False),
        ("535", "580.65.06", True),
        ("595.12", "580.65.06", False),
        ("570.172.08-ubuntu22.04", "580.65.06", True),
        ("latest", "580.65.06", False),
    ],
)
def test_older(one: str, other: str, is_older: bool) -> None:
    assert older(one, other) is is_older


def test_numbers_end_at_the_build() -> None:
    assert numbers("580.65.06-ubuntu22.04") == [580, 65, 6]
    assert numbers("v0.10.1.1") == [0, 10, 1, 1]

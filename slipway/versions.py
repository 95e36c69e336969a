"""Versions of drivers and releases, compared number by number."""

import re


def numbers(version: str) -> list[int]:
    """The numbers of a version: of `580.65.06-ubuntu22.04` the first three."""
    return [int(number) for number in re.findall(r"\d+", version.partition("-")[0])]


def older(one: str, other: str) -> bool:
    """Whether `one` is older than `other`, as far as both say: 535 is not older than 535.104.05."""
    pairs = zip(numbers(one), numbers(other), strict=False)
    return next((mine < theirs for mine, theirs in pairs if mine != theirs), False)

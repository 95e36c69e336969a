"""Colours: readable in both schemes, and told apart by eyes that see two of the three kinds of light."""

import itertools
import re
from pathlib import Path

import pytest

import slipway.report

STYLE = (Path(slipway.report.__file__).parent / "style.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
)
SCHEMES = pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
Colour = tuple[float, float, float]

# Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency (2009), table of
# matrices for severity 1.0, on linear RGB.
SIGHT: dict[str, tuple[Colour, Colour, Colour]] = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(colour: str) -> Colour:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return red, green, blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: contrast ratio."""
    light, dark = sorted((0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in map(linear, (one, other))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def seen(colour: str, sight: str) -> Colour:
    """In CIELAB, as eyes of that kind see it."""
    rgb = linear(colour)
    r, g, b = (min(1.0, max(0.0, sum(w * part for w, part in zip(row, rgb, strict=True)))) for row in SIGHT[sight])
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    fx, fy, fz = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def difference(one: str, other: str, sight: str) -> float:
    """CIE 1976; about 2.3 is just seen."""
    return float(sum((a - b) ** 2 for a, b in zip(seen(one, sight), seen(other, sight), strict=True)) ** 0.5)


def test_both_schemes_have_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert set(re.findall(r"var\(--([a-z-]+)\)", STYLE)) == LIGHT.keys()


@SCHEMES
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *itertools.product(["ink", "soft", "accent"], ["paper", "raised"]),
        *((name, "paper") for name in ("a", "b", "c", "api")),
    ],
)
def test_text_can_be_read(colours: dict[str, str], text: str, ground: str) -> None:
    assert contrast(colours[text], colours[ground]) >= 4.5


@SCHEMES
@pytest.mark.parametrize("part", ["weights", "activation", "other", "kv"])
def test_parts_stand_out_and_their_values_can_be_read(colours: dict[str, str], part: str) -> None:
    assert contrast(colours[part], colours["paper"]) >= 3
    assert contrast(colours["on-part"], colours[part]) >= 4.5


@SCHEMES
def test_the_value_of_what_is_free_can_be_read(colours: dict[str, str]) -> None:
    assert contrast(colours["ink"], colours["free"]) >= 4.5


@SCHEMES
@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("group", [("a", "b", "c", "api"), ("weights", "activation", "other", "kv", "free")])
def test_colours_are_told_apart(colours: dict[str, str], sight: str, group: tuple[str, ...]) -> None:
    least = min(
        itertools.combinations(group, 2), key=lambda pair: difference(colours[pair[0]], colours[pair[1]], sight)
    )
    assert difference(colours[least[0]], colours[least[1]], sight) >= 20, least

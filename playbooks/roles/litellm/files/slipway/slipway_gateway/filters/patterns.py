"""Finds what has a shape: e-mail addresses, passports, and the patterns of a site.

The patterns are searched by the package `regex`, which gives a search up when its time is over and knows where a text
ends in the middle of what could become a match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import regex
from stdnum import luhn, verhoeff
from stdnum.iso7064 import mod_11_2, mod_97_10

from slipway_gateway.filters.recognizer import Deadline, Late, Match

AHEAD = 4
"""Characters behind a match that may still decide on it."""

EMAIL = (
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}(?:[A-Za-z]{2,24}|xn--[a-z0-9-]{1,59})"
    r"(?![A-Za-z0-9-])"
)
_GAP = "[ -]{0,2}"
_EIGHT = f"{_GAP}(?:[0-9]{{8}}|[0-9]{{4}}[ -]{{1,2}}[0-9]{{4}}|[0-9](?:[ -]{{1,2}}[0-9]){{7}})"
_SEVEN = f"{_GAP}(?:[0-9]{{7}}|[0-9]{{3}}[ -]{{1,2}}[0-9]{{4}}|[0-9]{{4}}[ -]{{1,2}}[0-9]{{3}}|[0-9](?:[ -]{{1,2}}[0-9]){{6}})"
CHINESE_PASSPORT = rf"(?<![A-Za-z0-9])(?i:[EGDSP]{_EIGHT}|(?:E{_GAP}[A-HJ-NP-Z]|[DSP]{_GAP}E|P){_SEVEN})(?![A-Za-z0-9])"
"""Ordinary (E, EA to EZ without I and O, G), diplomatic (D, DE), service (S, SE) and public affairs (P, PE)."""
MRZ_NAME = r"(?<![A-Z0-9<])P[A-Z<][A-Z]{1,3}<{0,2}[A-Z<]{36,41}(?![A-Z0-9<])"
MRZ_NUMBER = (
    r"(?<![A-Z0-9<])[A-Z0-9<]{9}[0-9][A-Z<]{3}[0-9]{6}[0-9][MFX<][0-9]{6}[0-9][A-Z0-9<]{14}[0-9<][0-9](?![A-Z0-9<])"
)
"""The two lines of a passport's machine-readable zone: ICAO 9303, part 4, form TD3, 44 characters each."""

CHECKS: Mapping[str, Callable[[str], bool]] = {
    "luhn": lambda text: luhn.is_valid("".join(filter(str.isdigit, text))),
    "verhoeff": lambda text: verhoeff.is_valid("".join(filter(str.isdigit, text))),
    "mod_11_2": lambda text: mod_11_2.is_valid("".join(filter(str.isalnum, text)).upper()),
    "mod_97_10": lambda text: mod_97_10.is_valid("".join(filter(str.isalnum, text)).upper()),
}
"""Checksums that a site's pattern may name: of the digits of a match, and the last two of its letters as well."""


def mrz_name(line: str) -> bool:
    """The line with the name: 44 characters, with the filler that parts the names."""
    return len(line) == 44 and "<<" in line


def mrz_number(line: str) -> bool:
    """The line with the number: the number's, the birth's and the expiry's check digits hold."""
    return all(_check_digit(line[start:end]) == line[end] for start, end in ((0, 9), (13, 19), (21, 27)))


def _check_digit(field: str) -> str:
    values = (0 if character == "<" else int(character, 36) for character in field)
    return str(sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values)) % 10)


class Shaped:
    """Finds what a pattern describes: see `recognizer.Recognizer`.

    Args:
        kind: what it is.
        pattern: a regular expression.
        longest: characters that a match has at most. In a stream a longer one may pass.
        check: asked about each match.
    """

    def __init__(self, kind: str, pattern: str, *, longest: int, check: Callable[[str], bool] | None = None) -> None:
        self.longest = longest + AHEAD
        self._kind = kind
        self._check = check
        self._pattern = regex.compile(pattern)

    def find(self, text: str, since: int, deadline: Deadline) -> Iterator[Match]:
        """See `recognizer.Recognizer`."""
        while (found := self._search(text, since, deadline)) is not None:
            good = self._good(found)
            if good:
                yield Match(*found.span(), self._kind)
            since = found.end() if good else found.start() + 1

    def undecided(self, text: str, since: int, deadline: Deadline) -> int:
        """See `recognizer.Recognizer`."""
        bound = max(since, len(text) - self.longest)
        while (found := self._search(text, since, deadline, partial=True)) is not None:
            if found.partial or found.end() > len(text) - AHEAD:
                return max(bound, found.start())
            since = found.end() if self._good(found) else found.start() + 1
        return len(text)

    def _good(self, found: Any) -> bool:
        return bool(found.group()) and (self._check is None or self._check(found.group()))

    def _search(self, text: str, since: int, deadline: Deadline, **how: Any) -> Any:
        try:
            return self._pattern.search(text, since, timeout=deadline.left(), concurrent=True, **how)
        except TimeoutError:
            raise Late(self._kind) from None


def own(kind: str, pattern: str, *, longest: int, check: str | None) -> Shaped:
    """A site's own kind.

    Raises:
        ValueError: the pattern is none, or there is no such check.
    """
    holds = None if check is None else CHECKS.get(check)
    if check is not None and holds is None:
        raise ValueError(f"the check of {kind} is none of {', '.join(CHECKS)}")
    try:
        return Shaped(kind, pattern, longest=longest, check=holds)
    except regex.error:
        raise ValueError(f"the pattern of {kind} is no regular expression") from None


SHAPES: Mapping[str, tuple[Shaped, ...]] = {
    "passport": (
        Shaped("passport", CHINESE_PASSPORT, longest=28),
        Shaped("passport", MRZ_NAME, longest=44, check=mrz_name),
        Shaped("passport", MRZ_NUMBER, longest=44, check=mrz_number),
    ),
    "email": (Shaped("email", EMAIL, longest=254),),
}
"""What finds each kind that has a shape."""

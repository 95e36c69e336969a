"""Finds numbers of people in a text: Chinese identity cards, Chinese mobile phones, bank cards.

Digits may stand in groups, with up to two spaces or hyphens between them. A number begins and ends with a group: a part
of a longer row of digits is none, nor is a part of a decimal fraction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from stdnum import luhn
from stdnum.cn import ric
from stdnum.exceptions import ValidationError

from slipway_gateway.filters.recognizer import Deadline, Match

MOST_DIGITS = 19
LONGEST = MOST_DIGITS + 2 * (MOST_DIGITS - 1) + 2
"""Characters after which a number that has begun is over: digits, what stands between them, and what follows."""

_RUN = re.compile(r"[0-9](?:[ -]{0,2}[0-9]){10,}(?:[ -]{0,2}[Xx](?![A-Za-z0-9]))?")
_TAIL = re.compile(r"[0-9](?:[ -]{0,2}[0-9])*(?:[ -]{0,2}[Xx]?|\.)\Z")
_GROUP = re.compile(r"[0-9]+|[Xx]")
_ENDS = frozenset("0123456789 -.Xx")

_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_MOBILE_SIZES = frozenset(
    {
        (11,),
        *((first, 11 - first) for first in (3, 4, 5, 6, 7)),
        *((3, 4, 4), (3, 3, 5), (4, 3, 4), (4, 4, 3)),
        (1,) * 11,
    }
)
"""How a mobile number, which has no checksum, is written: other rows of small numbers are not taken for one."""
_COUNTRY = ("86", "0086")

_CARDS: tuple[tuple[range, int, frozenset[int]], ...] = (
    (range(62, 63), 2, frozenset({16, 17, 18, 19})),  # UnionPay
    (range(81, 82), 2, frozenset({16, 17, 18, 19})),  # UnionPay
    (range(4, 5), 1, frozenset({13, 16, 19})),  # Visa
    (range(51, 56), 2, frozenset({16})),  # Mastercard
    (range(2221, 2721), 4, frozenset({16})),  # Mastercard
    (range(34, 35), 2, frozenset({15})),  # American Express
    (range(37, 38), 2, frozenset({15})),  # American Express
    (range(3528, 3590), 4, frozenset({16})),  # JCB
)
"""Which numbers a card begins with, how many digits those have, and how many the card has."""

Sizes = Sequence[int]


def chinese_id(number: str, sizes: Sizes) -> bool:  # noqa: ARG001 -- checksum and date say enough, however it is grouped
    """An identity card's number: 18 digits, of which the last may be X, ISO 7064 MOD 11-2, with a date that exists.

    The region is not looked up: one that the library does not know yet would let the number pass.
    """
    if len(number) != 18 or number[6:8] not in {"18", "19", "20"} or ric.calc_check_digit(number) != number[-1]:
        return False
    try:
        ric.get_birth_date(number)
    except ValidationError:
        return False
    return True


def chinese_mobile(number: str, sizes: Sizes) -> bool:
    """A mobile number of mainland China, with or without 86 or 0086 before it."""
    for country in _COUNTRY:
        if number.startswith(country) and len(number) == len(country) + 11:
            number = number[len(country) :]
            first = sizes[0] - len(country)
            if first < 0:  # the country itself is in several groups
                return _MOBILE.fullmatch(number) is not None
            sizes = (first, *sizes[1:]) if first else sizes[1:]
    return tuple(sizes) in _MOBILE_SIZES and _MOBILE.fullmatch(number) is not None


def bank_card(number: str, sizes: Sizes) -> bool:
    """A card's number: Luhn, with the beginning and the length of a known network."""
    if not any(int(number[:digits]) in begins and len(number) in lengths for begins, digits, lengths in _CARDS):
        return False
    # Rows of small numbers pass Luhn one time in ten: a card is written in groups of three or more, or digit by digit.
    if min(sizes[:-1], default=3) < 3 and set(sizes) != {1}:
        return False
    return luhn.is_valid(number)


KINDS: Mapping[str, tuple[range, Callable[[str, Sizes], bool]]] = {
    "chinese_id": (range(18, 19), chinese_id),
    "chinese_mobile": (range(11, 16), chinese_mobile),
    "bank_card": (range(13, 20), bank_card),
}
"""How many digits a kind has, and what tells it. Where one number is of two kinds, it is of the first."""


class Numbers:
    """Finds several kinds at once: see `recognizer.Recognizer`.

    Args:
        kinds: of `KINDS`.
    """

    longest = LONGEST

    def __init__(self, kinds: Sequence[str]) -> None:
        self._kinds = [(kind, *known) for kind, known in KINDS.items() if kind in kinds]

    def find(self, text: str, since: int, deadline: Deadline) -> Iterator[Match]:
        """See `recognizer.Recognizer`."""
        for run in _RUN.finditer(text, since):
            groups = [found.span() for found in _GROUP.finditer(text, *run.span())]
            number = 0
            while number < len(groups):
                deadline.check()
                last, kind = self._at(text, groups, number)
                if kind:
                    yield Match(groups[number][0], groups[last][1], kind)
                number = last + 1

    def _at(self, text: str, groups: list[tuple[int, int]], first: int) -> tuple[int, str]:
        """The longest number that begins with a group: its last group and its kind; the group itself and "" if none."""
        start = groups[first][0]
        found = first, ""
        if _is_digit(text, start - 1) or (text[start - 1 : start] == "." and _is_digit(text, start - 2)):
            return found
        digits, sizes = "", []
        for last in range(first, len(groups)):
            begin, end = groups[last]
            if len(digits) + end - begin > MOST_DIGITS:
                break
            digits += text[begin:end].upper()
            sizes.append(end - begin)
            if _is_digit(text, end) or (text[end : end + 1] == "." and _is_digit(text, end + 1)):
                continue
            for kind, lengths, holds in self._kinds:
                if len(digits) in lengths and (digits.isdigit() or kind == "chinese_id") and holds(digits, sizes):
                    found = last, kind
                    break
        return found

    def undecided(self, text: str, since: int, deadline: Deadline) -> int:  # noqa: ARG002 -- it is done at once
        """See `recognizer.Recognizer`."""
        if text[-1:] not in _ENDS:
            return len(text)
        tail = _TAIL.search(text, max(0, len(text) - LONGEST - MOST_DIGITS))
        if tail is None:
            return len(text)
        groups = [found.span() for found in _GROUP.finditer(text, *tail.span())][::-1]
        digits = accumulate(end - start for start, end in groups)
        starts = [start for (start, _), sofar in zip(groups, digits, strict=True) if sofar <= MOST_DIGITS]
        return max(since, min(starts, default=len(text)))


def _is_digit(text: str, place: int) -> bool:
    # An exponent or a footnote's number is a digit to Python, and none here.
    return 0 <= place < len(text) and "0" <= text[place] <= "9"

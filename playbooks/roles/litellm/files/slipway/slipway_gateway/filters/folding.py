"""One form for characters that mean the same in a number: full-width digits, wide spaces, the many dashes."""

from __future__ import annotations

import unicodedata


def _table() -> dict[int, str]:
    # The full-width forms of ASCII, then the decimal digits of every script.
    folded = {0xFEE0 + code: chr(code) for code in range(0x21, 0x7F)}
    for code in range(0x660, 0x1FC00):
        if (digit := unicodedata.decimal(chr(code), None)) is not None:
            folded[code] = str(digit)
    spaces = [0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000]
    # They are not even seen, and would hide a number.
    unseen = [0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF]
    folded |= dict.fromkeys([*spaces, *unseen], " ")
    return folded | dict.fromkeys([*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63], "-")


_FOLDED = _table()


def fold(text: str) -> str:
    """The text in that form. It keeps its length: a place in it is the same place in `text`."""
    return text if text.isascii() else text.translate(_FOLDED)

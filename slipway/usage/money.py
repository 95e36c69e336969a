"""Amounts of money as the front has them: whole numbers, so that nothing is lost on the way.

What a request costs is reckoned in one place, `money.lua` of role nginx, and written into its record.
"""

from __future__ import annotations

from decimal import Decimal

_PRICE_DIGITS = 6
_AMOUNT_DIGITS = 9


def millionths(price: Decimal) -> int:
    """The price of a million tokens in millionths of the currency."""
    return int(price.scaleb(_PRICE_DIGITS))


def billionths(amount: Decimal) -> int:
    """An amount in billionths of the currency."""
    return int(amount.scaleb(_AMOUNT_DIGITS))


def amount(billionths: int) -> Decimal:
    """An amount in units of the currency."""
    return Decimal(billionths).scaleb(-_AMOUNT_DIGITS)

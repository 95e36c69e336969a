"""Computed figures in sentences: as many digits as tell something, never an exponent."""

from math import floor, log10

_DIGITS, _MOST = 2, 6


def figure(value: float, wanted: float | None = None) -> str:
    """`value` with two significant digits, and with more where it would read like `wanted`, which it is not."""
    texts = [_rounded(value, digits) for digits in range(_DIGITS, _MOST + 1)]
    if wanted is None or value == wanted:
        return texts[0]
    return next((text for text in texts if float(text.replace(",", "")) != wanted), texts[-1])


def _rounded(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    places = digits - 1 - floor(log10(abs(value)))
    text = f"{value:,.{max(0, places)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def after_months(count: float) -> str:
    """When something has paid for itself: `within a month`, `after 1 month`, `after 14 months`."""
    if count < 1:
        return "within a month"
    whole = round(count)
    return f"after {whole} month{'' if whole == 1 else 's'}"

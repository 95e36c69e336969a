# ruff: noqa: RUF001 -- full-width characters are meant
"""Texts with numbers of people in them, and texts with numbers that are none. Checksums are computed here once more."""

import datetime
import string
from collections.abc import Callable
from random import Random

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_WIDE = str.maketrans({code: code + 0xFEE0 for code in range(0x21, 0x7F)})
_BEFORE = ("", "电话：", "my number is ", "号码", "(", "id=", "On 2026-11-29 at 10:45, ", "3 of 12: ", "“", "a1 - ")
_AFTER = ("", "。", ".", ", thanks", " 是我的", ")", " x 3", "\n12 left", "!", "”", " 和 20 元", ": 7")


def _digits(dice: Random, count: int) -> str:
    return "".join(dice.choices(string.digits, k=count))


def id_check(first: str) -> str:
    return "10X98765432"[sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, first, strict=True)) % 11]


def luhn_check(first: str) -> str:
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(first[::-1]))
    return str(-sum(value - 9 * (value > 9) for value in doubled) % 10)


def mrz_check(field: str) -> str:
    return str(sum(("0123456789" + string.ascii_uppercase).find(c.replace("<", "0")) * (7, 3, 1)[n % 3]
                   for n, c in enumerate(field)) % 10)  # fmt: skip


def _grouped(dice: Random, number: str, *ways: tuple[int, ...]) -> str:
    """The number in groups of these sizes, the last takes the rest; now and then in full-width characters."""
    between = dice.choice((" ", "-", " - "[:2], "\u00a0", "‑", "\u200b"))
    parts, rest = [], number
    for size in dice.choice(ways):
        parts.append(rest[:size])
        rest = rest[size:]
    text = between.join([*parts, rest])
    return text.translate(_WIDE) if dice.random() < 0.3 else text


def chinese_id(dice: Random) -> str:
    born = datetime.date(1930, 1, 1) + datetime.timedelta(dice.randrange(35_000))
    first = f"{dice.randrange(110_000, 660_000)}{born:%Y%m%d}{_digits(dice, 3)}"
    number = first + id_check(first)
    number = number.lower() if dice.random() < 0.3 else number
    return _grouped(dice, number, (), (6, 8), (6, 4, 4), (3, 3, 4, 2, 2), (1,) * 17, (17,), (9,))


def chinese_mobile(dice: Random) -> str:
    number = f"1{dice.randrange(3, 10)}{_digits(dice, 9)}"
    return _grouped(dice, number, (), (3, 4), (3,), (5,), (4, 3), (1,) * 10)


def bank_card(dice: Random) -> str:
    begin, size = dice.choice((("62", 16), ("62", 19), ("6217", 18), ("4", 16), ("4", 13), ("53", 16), ("2230", 16)))
    first = begin + _digits(dice, size - 1 - len(begin))
    return _grouped(dice, first + luhn_check(first), (), (4, 4, 4), (6,), (4,), (1,) * (size - 1))


def passport(dice: Random) -> str:
    if dice.random() < 0.3:
        number = dice.choice(string.ascii_uppercase) + _digits(dice, 7) + "<"
        born, expires = "850712", "310203"
        line = f"{number}{mrz_check(number)}{dice.choice(('CHN', 'D<<', 'UTO'))}{born}{mrz_check(born)}"
        line += f"{dice.choice('MF<')}{expires}{mrz_check(expires)}{'<' * 14}"
        return line + "0" + _digits(dice, 1)
    text = dice.choice(("E#", "G#", "EA", "EK", "PE", "DE", "SE", "P")).replace("#", _digits(dice, 1)) + _digits(
        dice, 7
    )
    return dice.choice((text, text.lower(), text.translate(_WIDE)))


def email(dice: Random) -> str:
    name = "".join(dice.choices(string.ascii_letters + string.digits, k=dice.randrange(1, 12)))
    address = (
        f"{name}{dice.choice(('', '.x', '+tag', '_1'))}@{dice.choice(('qq.com', 'mail.example.com.cn', 'a-b.de'))}"
    )
    return dice.choice((address, address.translate(_WIDE)))


KINDS: dict[str, Callable[[Random], str]] = {
    "bank_card": bank_card,
    "chinese_id": chinese_id,
    "chinese_mobile": chinese_mobile,
    "email": email,
    "passport": passport,
}


def planted(kind: str, dice: Random) -> tuple[str, str]:
    """A text with a number, and the same with the mask."""
    before, after = dice.choice(_BEFORE), dice.choice(_AFTER)
    if kind in {"email", "passport"} and (before == "" or before[-1].isascii()) and before.strip()[-1:].isalnum():
        before += " "
    return f"{before}{KINDS[kind](dice)}{after}", f"{before}[{kind}]{after}"


def _wrong(digit: str) -> str:
    return str((int(digit) + 5) % 10) if digit.isdigit() else "3"


def clean(dice: Random) -> str:
    """A text whose numbers are nobody's: dates, prices, order numbers, and look-alikes whose checksum is wrong."""
    id_first = f"110101{dice.choice(('19991332', '20230230', '00000000'))}{_digits(dice, 3)}"
    id_wrong = f"11010119900307{_digits(dice, 3)}"
    card = "62220" + _digits(dice, 10)
    pieces: tuple[Callable[[], str], ...] = (
        lambda: f"{dice.randrange(1950, 2030)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02} {dice.randrange(100, 999)}",
        lambda: f"{dice.randrange(24):02}:{dice.randrange(60):02}:{dice.randrange(60):02}.{_digits(dice, 6)}",
        lambda: f"¥{dice.randrange(10**6):,}.{_digits(dice, 2)}",
        lambda: f"0.1{dice.randrange(3, 10)}{_digits(dice, 9)}",
        lambda: f"SO-{dice.randrange(2020, 2027)}-{_digits(dice, 6)}",
        lambda: f"NO.{'0' + _digits(dice, 11)}",
        lambda: f"{_digits(dice, 20)}{_digits(dice, 7)}",
        lambda: f"12{_digits(dice, 9)}",
        lambda: f"1{dice.randrange(3, 10)}{_digits(dice, 8)}",
        lambda: f"1{dice.randrange(3, 10)}{_digits(dice, 10)}",
        lambda: id_first + id_check(id_first),
        lambda: id_wrong + _wrong(id_check(id_wrong)),
        lambda: card + _wrong(luhn_check(card)),
        lambda: f"192.168.{dice.randrange(256)}.{dice.randrange(256)}",
        lambda: f"E{_digits(dice, 6)} EI{_digits(dice, 7)} XE{_digits(dice, 8)}",
        lambda: f"@{dice.choice(('home', 'user'))} a@b, x@y. 5@6.7",
        lambda: " ".join(str(dice.randrange(2, 40)) for _ in range(12)),
        lambda: "P<AB SMITH<JOHN",
        lambda: "订单号①②③④⑤⑥⑦⑧⑨⑩⑪，共二十件",
    )  # fmt: skip
    return "；".join(dice.choice(pieces)() for _ in range(dice.randrange(1, 4))) + dice.choice(_AFTER)

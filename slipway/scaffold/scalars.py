"""YAML scalars and comments that mean what was given, whatever is in it."""

import re
import textwrap

import yaml

WIDTH = 120

_PLAIN = re.compile(r"[A-Za-z~/][A-Za-z0-9._/~@+-]*|\d+\.\d+\.\d+\.\d+")
_BOOLEANS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What YAML 1.1 or 1.2 takes for something other than text; Pulumi's reader is neither quite."""


def scalar(value: str) -> str:
    """`value` as a YAML scalar on one line: plain where every reader takes it for this text, else double-quoted ASCII."""
    if _PLAIN.fullmatch(value) and value.casefold() not in _BOOLEANS and yaml.safe_load(value) == value:
        return value
    quoted: str = yaml.safe_dump(value, default_style='"', allow_unicode=False, width=float("inf"))
    return quoted.rstrip("\n")


def comment(text: str, indent: int = 0) -> list[str]:
    """`text` as comment lines below `WIDTH` columns; line breaks and control characters in it become spaces."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    lead = " " * indent + "# "
    return textwrap.wrap(
        printable, WIDTH, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False, break_long_words=False
    )

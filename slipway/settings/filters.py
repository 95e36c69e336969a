"""Filters: what may not pass in what a team asks and in what it is answered, and the patterns that a site adds.

The recognisers themselves lie with the gateway that applies them; here are their names alone.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from slipway.settings.base import Problem, Section

KINDS = ("chinese_id", "chinese_mobile", "bank_card", "passport", "email")
"""What is recognised without a site's saying how."""

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_LABEL = re.compile(r"[^\"\\\x00-\x1f\x7f]{1,64}")
MOST_HELD_BACK = 512


def kind_name(value: str) -> str:
    """The name of a kind: it stands in the journal, in errors and in the place of what is masked."""
    if not _KIND.fullmatch(value):
        raise ValueError(
            f"{value!r} can't name a kind; journal and errors carry it: use a-z, 0-9 and _, up to 32, a letter first"
        )
    return value


def pattern(value: str) -> str:
    """A regular expression, as the gateway reads it."""
    import regex  # it takes its time to load, and most stacks have no pattern

    try:
        compiled = regex.compile(value)
    except regex.error as error:
        raise ValueError(f"it is no regular expression ({error}); the gateway would not take it: correct it") from None
    if compiled.fullmatch("", timeout=1):
        raise ValueError("it matches the empty text, so it would be found everywhere: describe at least one character")
    return value


def label(value: str) -> str:
    """What stands in the place of a match, inside of JSON too."""
    if not _LABEL.fullmatch(value):
        raise ValueError(
            'it is not 1 to 64 characters without ", \\ and control characters; where it stands in JSON, that would '
            "break: use others"
        )
    return value


Action = Literal["block", "mask", "log"]
Direction = Literal["in", "out"]
KindName = Annotated[str, AfterValidator(kind_name)]
RegularExpression = Annotated[str, AfterValidator(pattern)]
Label = Annotated[str, AfterValidator(label)]
Filters = Mapping[Direction, Mapping[KindName, Action]]
"""What is done about which kind in which direction."""


class FilterPattern(Section):
    """A pattern of the site's own, a kind beside chinese_id, chinese_mobile, bank_card, passport and email."""

    pattern: RegularExpression
    """A regular expression in the syntax of Python's package regex. Full-width digits and letters are ASCII to it."""
    check: Literal["luhn", "verhoeff", "mod_11_2", "mod_97_10"] | None = None
    """A checksum that a match must have too: of its digits, with mod_11_2 and mod_97_10 of its letters as well."""
    label: Label | None = None
    """What stands in the place of a match that is masked. Default: the name in brackets."""
    longest: int = Field(default=64, ge=1, le=MOST_HELD_BACK)
    """Characters that a match has at most. A stream holds back as many; in a stream, a longer match may pass."""


def problems(patterns: Mapping[str, FilterPattern], teams: Mapping[str, Filters]) -> Iterator[Problem]:
    """What does not fit together, by the place below `gateway`.

    Args:
        patterns: the site's own.
        teams: the filters of each team.
    """
    for name in patterns:
        if name in KINDS:
            yield ("filters", name), f"{name} is recognised already; nobody could tell the two apart: name it otherwise"
    known = (*KINDS, *patterns)
    for team, directions in teams.items():
        for direction, actions in directions.items():
            for kind in actions:
                if kind not in known:
                    yield (
                        ("teams", team, "filters", direction, kind),
                        (
                            f"there is no kind {kind!r}; nothing would be found: use one of {', '.join(known)}, or describe "
                            "it under gateway.filters"
                        ),
                    )

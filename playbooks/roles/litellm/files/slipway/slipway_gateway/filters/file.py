"""The filters of filters.json: the patterns of the site, and what is done about which kind in a team's texts.

{"patterns": {NAME: {"pattern": …, "check": …, "label": …, "longest": …}},
 "teams": {NAME: {"in": {KIND: ACTION}, "out": {KIND: ACTION}}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway_gateway.answers import Refusal
from slipway_gateway.filters import numbers, patterns
from slipway_gateway.filters.recognizer import Recognizer
from slipway_gateway.filters.text import ACTIONS, Rules

KINDS = (*numbers.KINDS, *patterns.SHAPES)
"""The kinds that are known without a site's saying so."""

DIRECTIONS = ("in", "out")
LONGEST = 64


@dataclass(frozen=True)
class Filters:
    """The filters of all teams.

    Attributes:
        rules: by team and direction; a team without any is not in it.
        read: whether a good file was read.
    """

    rules: Mapping[tuple[str, str], Rules] = field(default_factory=dict)
    read: bool = True

    def of(self, team: str, direction: str) -> Rules | None:
        """What is done about a team's texts; None where nothing is.

        Raises:
            Refusal: 503: no file was read yet, so nobody knows.
        """
        if not self.read:
            raise Refusal(503, "The gateway does not know its filters yet. Try again later.", "filters_unknown")
        return self.rules.get((team, direction))


UNREAD = Filters(read=False)


def parse(text: str) -> Filters:
    """The filters of a filters.json.

    Raises:
        ValueError: it is something else; the message names patterns and teams.
    """
    data = _map(json.loads(text), "the file")
    own, labels = {}, {kind: f"[{kind}]" for kind in KINDS}
    for name, entry in _map(data.get("patterns", {}), "patterns").items():
        own[name] = _pattern(name, _map(entry, f"the pattern {name}"))
        labels[name] = entry.get("label") or f"[{name}]"
    rules = {}
    for team, directions in _map(data.get("teams", {}), "teams").items():
        for direction, actions in _map(directions, f"the team {team}").items():
            where = f"{direction} of the team {team}"
            if direction not in DIRECTIONS:
                raise ValueError(f"{where} is no direction")
            for kind, action in _map(actions, where).items():
                if kind not in labels or action not in ACTIONS:
                    raise ValueError(f"{where} has a kind that is not known, or an action that is none")
            if actions:
                rules[team, direction] = Rules(team, direction, actions, labels, _recognizers(actions, own))
    return Filters(rules)


def _recognizers(kinds: Mapping[str, str], own: Mapping[str, Recognizer]) -> list[Recognizer]:
    found: list[Recognizer] = []
    if of_people := [kind for kind in kinds if kind in numbers.KINDS]:
        found.append(numbers.Numbers(of_people))
    for kind in kinds:
        found += patterns.SHAPES.get(kind, ())
        found += [own[kind]] if kind in own else []
    return found


def _pattern(name: str, entry: dict[str, Any]) -> Recognizer:
    pattern, check, longest = entry.get("pattern"), entry.get("check"), entry.get("longest", LONGEST)
    if name in KINDS or not isinstance(pattern, str) or type(longest) is not int or longest < 1:
        raise ValueError(f"the pattern {name} is no pattern, or has a name or a length that it cannot have")
    if not isinstance(check, str | None) or not isinstance(entry.get("label"), str | None):
        raise ValueError(f"check or label of the pattern {name} is no text")  # noqa: TRY004
    return patterns.own(name, pattern, longest=longest, check=check)


def _map(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no map")  # noqa: TRY004
    return value

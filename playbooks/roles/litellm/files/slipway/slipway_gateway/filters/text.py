"""What is done about what is found in a text: it is blocked, masked, or only counted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from slipway_gateway.filters.folding import fold
from slipway_gateway.filters.recognizer import Deadline, Late, Match, Recognizer

ACTIONS = ("log", "mask", "block")
"""What can be done, from the weakest to the strongest: where matches overlap, the strongest is done to all of them."""

log = logging.getLogger("slipway.gateway")


class Blocked(Exception):  # noqa: N818 -- what was asked for
    """A text holds what may not pass.

    Attributes:
        kind: of what was found.
        late: nothing was found, but the text takes too long to judge.
    """

    def __init__(self, kind: str, *, late: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.late = late


class Span(NamedTuple):
    """A part of a text, and what is done to it: the first match in it names it."""

    start: int
    end: int
    kind: str
    action: str


@dataclass(frozen=True)
class Rules:
    """What is done about a team's texts in one direction.

    Attributes:
        team: its name.
        direction: "in" or "out".
        actions: one of `ACTIONS` for each kind that is looked for.
        labels: what stands in the place of a kind that is masked.
        recognizers: they find these kinds, and no others.
    """

    team: str
    direction: str
    actions: Mapping[str, str]
    labels: Mapping[str, str]
    recognizers: Sequence[Recognizer]

    @property
    def change(self) -> bool:
        """Whether a text may come out otherwise than it went in: without it, everything passes as it is."""
        return any(action != "log" for action in self.actions.values())

    def spans(self, text: str, since: int, deadline: Deadline) -> list[Span]:
        """What is found in a folded text, in order; none overlaps another.

        Raises:
            Late: it took too long.
        """
        found: list[Match] = []
        for recognizer in self.recognizers:
            found += recognizer.find(text, since, deadline)
        spans: list[Span] = []
        for match in sorted(found, key=lambda match: (match.start, -match.end)):
            action = self.actions[match.kind]
            if spans and match.start < spans[-1].end:
                last = spans.pop()
                strongest = max(action, last.action, key=ACTIONS.index)
                kind = match.kind if strongest != last.action else last.kind
                spans.append(Span(last.start, max(last.end, match.end), kind, strongest))
            else:
                spans.append(Span(match.start, match.end, match.kind, action))
        return spans

    def undecided(self, text: str, since: int, deadline: Deadline) -> int:
        """From which place on more text could change the spans."""
        return min((one.undecided(text, since, deadline) for one in self.recognizers), default=len(text))


class Quotes:
    """Whether a place in a JSON text is inside of a string, as the text goes by."""

    def __init__(self) -> None:
        self.inside = False
        self._escaped = False

    def feed(self, text: str) -> None:
        """Take the next part of the text."""
        for character in text if '"' in text or self._escaped or "\\" in text else "":
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = self.inside
            elif character == '"':
                self.inside = not self.inside


@dataclass
class Judge:
    """Judges the texts of one request or one answer, and counts what it finds.

    Attributes:
        rules: what is done.
        deadline: when it is given up.
    """

    rules: Rules
    deadline: Deadline
    _found: Counter[tuple[str, str]] = field(default_factory=Counter)

    def whole(self, text: str, *, json: bool = False) -> str:
        """A whole text, as it may pass.

        Args:
            text: the text.
            json: it is JSON: where a number is masked, the text stays JSON.

        Raises:
            Blocked: it may not.
        """
        with_end = self.spans(fold(text), 0)
        return "".join(self.written(text, 0, len(text), with_end, Quotes() if json else None)) if with_end else text

    def spans(self, folded: str, since: int) -> list[Span]:
        """See `Rules.spans`.

        Raises:
            Blocked: it took too long, and something may be to be changed.
        """
        try:
            return self.rules.spans(folded, since, self.deadline)
        except Late as late:
            self._give_up(late)
            return []

    def undecided(self, folded: str, since: int) -> int:
        """See `Rules.undecided`.

        Raises:
            Blocked: it took too long, and something may be to be changed.
        """
        try:
            return self.rules.undecided(folded, since, self.deadline)
        except Late as late:
            self._give_up(late)
            return len(folded)

    def written(self, text: str, since: int, until: int, spans: Sequence[Span], quotes: Quotes | None) -> Iterator[str]:
        """The parts of a text between two places, as they may pass; spans before or behind are passed over.

        Raises:
            Blocked: at the first span that may not pass.
        """
        for span in spans:
            if not since <= span.start < until:
                continue
            self._found[span.kind, span.action] += 1
            if span.action == "log":
                continue
            before = text[since : span.start]
            if quotes:
                quotes.feed(before)
            yield before
            if span.action == "block":
                raise Blocked(span.kind)
            label = self.rules.labels[span.kind]
            yield f'"{label}"' if quotes and not quotes.inside else label
            since = span.end
        if quotes:
            quotes.feed(text[since:until])
        yield text[since:until]

    def tell(self) -> None:
        """Write to the journal how much was found of what, and begin to count anew."""
        for (kind, action), count in sorted(self._found.items()):
            log.warning(
                "filter: team %s, %s, %s: %d, action %s", self.rules.team, self.rules.direction, kind, count, action
            )
        self._found.clear()

    def _give_up(self, late: Late) -> None:
        log.error("filter: team %s, %s: no time left at %s", self.rules.team, self.rules.direction, late)
        if self.rules.change:
            raise Blocked(str(late), late=True) from None

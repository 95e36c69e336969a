"""Filters an answer that comes in events, as it passes: a number may be split over them anywhere.

Every text that an answer tells piece by piece is a channel: a choice's content, its reasoning, the arguments of each of
its tool calls. What of a channel may still become a match is held back and goes with the channel's next event, or with
one that is added when the channel is over. So every event passes at once, with other words in it at most.

A channel holds back no more characters than the longest match of each kind has: 57 for numbers, 258 for e-mail
addresses, and what a site says of its own patterns. As a rule it holds back nothing, or the word that is being said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from slipway_gateway.filters.bodies import JSON, TOLD_APART, at, filtered, leaves
from slipway_gateway.filters.folding import fold
from slipway_gateway.filters.recognizer import Deadline
from slipway_gateway.filters.text import Blocked, Judge, Quotes, Rules

FEED_S = 0.25
"""How long one piece of a stream may be judged. Others wait as long, and the stream ends where it does not do."""

CONTEXT = 64
"""Characters that stay in memory after they were sent: what comes next may depend on what is before it."""

_EVENTS_END = re.compile(rb"(\r?\n\r?\n)")
_ENDINGS = frozenset({"message_delta", "message_stop", "error"})


class Channel:
    """One text that is told piece by piece.

    Args:
        judge: what is done.
        json: the text is JSON.

    Attributes:
        blocked: what ended it.
        again: makes another event with a piece of this text.
    """

    def __init__(self, judge: Judge, *, json: bool) -> None:
        self._judge = judge
        self._quotes = Quotes() if json else None
        self._text = ""
        self._since = 0
        self.blocked: Blocked | None = None
        self.again: Callable[[str], bytes] = str.encode

    def feed(self, text: str) -> str:
        """Take the next piece; returns what may pass by now."""
        self._text += text
        return self._pass(over=False)

    def end(self) -> str:
        """The text is over; returns the rest."""
        return self._pass(over=True)

    def _pass(self, *, over: bool) -> str:
        if self.blocked or self._since == len(self._text):
            return ""
        folded = fold(self._text)
        parts: list[str] = []
        try:
            spans = self._judge.spans(folded, self._since)
            until = len(folded) if over else self._judge.undecided(folded, self._since)
            # What is found here, and reaches into what is not decided yet, waits with it.
            until = min([until, *(span.start for span in spans if span.start < until < span.end)])
            parts += self._judge.written(self._text, self._since, until, spans, self._quotes)
        except Blocked as blocked:
            self.blocked = blocked
            return "".join(parts)
        kept = max(0, until - CONTEXT)
        self._text, self._since = self._text[kept:], until - kept
        return "".join(parts)


class FilteredStream:
    """Filters one answer.

    Args:
        rules: what is done.

    Attributes:
        blocked: what ended the answer: nothing more of it is for the caller, who is to be told so.
    """

    def __init__(self, rules: Rules) -> None:
        self._change = rules.change
        self._judge = Judge(rules, Deadline(FEED_S))
        self._rest = b""
        self._channels: dict[tuple[Any, ...], Channel] = {}
        self._added = 0
        self._number = 0
        self.blocked: Blocked | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the answer; returns those that are for the caller."""
        self._judge.deadline = Deadline(FEED_S)
        *parts, self._rest = _EVENTS_END.split(self._rest + chunk)
        events = [parts[place] + parts[place + 1] for place in range(0, len(parts), 2)]
        passed = b"".join(self._event(event) for event in events)
        return passed if self._change else chunk

    def end(self) -> bytes:
        """The answer is over, or broken off; returns what is left of it for the caller."""
        self._judge.deadline = Deadline(FEED_S)
        rest, self._rest = self._rest, b""
        passed = self._event(rest) + self._over(()) if rest.strip() else self._over(())
        self._judge.tell()
        return passed if self._change else b""

    def _event(self, event: bytes) -> bytes:
        if self.blocked:
            return b""
        lines = event.splitlines(keepends=True)
        told = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
        if not told:
            return event
        if told == b"[DONE]":
            return self._over(()) + (b"" if self.blocked else event)
        head = b"".join(line for line in lines if line.strip() and not line.startswith(b"data:"))
        try:
            data = json.loads(told)
        except (ValueError, RecursionError):
            data = told.decode("utf-8", "replace")
        try:
            before, new = self._judged(data, head)
        except Blocked as blocked:
            self.blocked = blocked
            return b""
        if new is None:
            return before
        if isinstance(new, str):
            return before + (event if new == data else head + b"data: " + new.encode() + b"\n\n")
        return before + self._written(new, head, event if new == data else None)

    def _judged(self, data: Any, head: bytes) -> tuple[bytes, Any]:
        """What goes before an event, and what the event says now."""
        kind = data.get("type") if isinstance(data, dict) else None
        if isinstance(data, dict) and isinstance(data.get("choices"), list):
            return self._choices(data, head)
        if isinstance(data, dict) and isinstance(data.get("delta"), str):
            place = (data.get(name) for name in ("output_index", "item_id", "content_index", "summary_index"))
            channel = self._channel(("item", *place, kind), json=str(kind).endswith("arguments.delta"))
            channel.again = lambda text: self._more({**_without(data), "delta": text}, head)
            new = {**_without(data), "delta": self._fed(channel, data["delta"], over=False)}
            return b"", data if new == data else new
        if kind == "content_block_delta" and isinstance(data.get("delta"), dict):
            return b"", self._block(data, head)
        before = self._closed(data, kind)
        return before, None if self.blocked else filtered(data, self._judge, answer=True)

    def _choices(self, data: dict[str, Any], head: bytes) -> tuple[bytes, Any]:
        """Of chat completions and completions."""
        before, choices = b"", []
        around = {name: value for name, value in data.items() if name in {"id", "object", "created", "model"}}
        for choice in data["choices"]:
            if not isinstance(choice, dict):
                continue
            new = self._told_once(choice)
            over, index = choice.get("finish_reason") is not None, choice.get("index", 0)

            def again(text: str, way: tuple[Any, ...], field: str, index: Any = index) -> bytes:
                piece = {"index": index, **at(way, {field: text}), "finish_reason": None}
                return self._more({**around, "choices": [piece]}, head)

            for way, holder, field in leaves(new):
                channel = self._channel(("choice", index, *way), json=field in JSON)
                channel.again = lambda text, way=way, field=field, again=again: again(text, way, field)
                holder[field] = self._fed(channel, holder[field], over=over)
            if over:
                before += self._over(("choice", index))
            if self.blocked:
                new["finish_reason"] = None
            choices.append(new)
        rest = {name: value for name, value in data.items() if name != "choices"}
        return before, {**filtered(rest, self._judge, answer=True), "choices": choices}

    def _block(self, data: dict[str, Any], head: bytes) -> dict[str, Any]:
        """Of messages."""
        new = self._told_once(data)
        delta, index = new["delta"], data.get("index", 0)
        for way, holder, field in leaves(delta):
            channel = self._channel(("block", index, *way), json=field in JSON)

            def again(text: str, way: tuple[Any, ...] = way, field: str = field) -> bytes:
                piece = {"type": delta.get("type"), **at(way, {field: text})}
                return self._more({**data, "delta": piece}, head)

            channel.again = again
            holder[field] = self._fed(channel, holder[field], over=False)
        return new

    def _closed(self, data: Any, kind: Any) -> bytes:
        """The rests of the channels that an event says are over."""
        if kind == "content_block_stop":
            return self._over(("block", data.get("index", 0)))
        if not isinstance(kind, str):
            return self._over(()) if isinstance(data, dict) and data.get("error") else b""
        if kind.endswith(".done"):
            return self._over(("item", data["output_index"])) if "output_index" in data else self._over(())
        whole = isinstance(data.get("response"), dict) and kind.endswith((".completed", ".failed", ".incomplete"))
        return self._over(()) if whole or kind in _ENDINGS else b""

    def _channel(self, key: tuple[Any, ...], *, json: bool) -> Channel:
        if key not in self._channels:
            self._channels[key] = Channel(self._judge, json=json)
        return self._channels[key]

    def _fed(self, channel: Channel, text: str, *, over: bool) -> str:
        if self.blocked:
            return ""
        passed = channel.feed(text) if text else ""
        if over:
            passed += channel.end()
        self.blocked = channel.blocked
        return passed

    def _over(self, beginning: tuple[Any, ...]) -> bytes:
        """Events with the rests of the channels whose keys begin so."""
        events = b""
        for key in [key for key in self._channels if key[: len(beginning)] == beginning]:
            channel = self._channels.pop(key)
            if not self.blocked and (rest := channel.end()):
                events += channel.again(rest)
            self.blocked = self.blocked or channel.blocked
        return events

    def _told_once(self, data: Any) -> Any:
        """A copy of a part of an event; what tells a text token by token is left out where the text may be changed."""
        if isinstance(data, dict):
            gone = TOLD_APART if self._change else frozenset()
            return {name: None if name in gone else self._told_once(value) for name, value in data.items()}
        return [self._told_once(value) for value in data] if isinstance(data, list) else data

    def _more(self, data: dict[str, Any], head: bytes) -> bytes:
        """An event that is added."""
        if "sequence_number" in data:
            self._added += 1
            data = {**data, "sequence_number": self._number + 1 - self._added}
        return self._written(data, head, None)

    def _written(self, data: Any, head: bytes, event: bytes | None) -> bytes:
        number = data.get("sequence_number") if isinstance(data, dict) else None
        if isinstance(number, int):
            self._number = number + self._added
            data = {**data, "sequence_number": self._number}
        if event is not None and not self._added:
            return event
        return head + b"data: " + json.dumps(data).encode() + b"\n\n"


def _without(data: dict[str, Any]) -> dict[str, Any]:
    return {name: [] if name in TOLD_APART else value for name, value in data.items()}

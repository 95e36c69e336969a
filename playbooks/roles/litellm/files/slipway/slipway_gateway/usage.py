"""Reads from answers how many tokens they took, as they pass."""

from __future__ import annotations

import json
from typing import Any

_PARTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
"""Of Anthropic's usage, and of OpenAI's responses, which tell a total as well."""


class Meter:
    """The tokens of one answer.

    Args:
        stream: whether the answer is a stream of events.
        hide: leave out the event with the usage alone, which chat completions and completions send when they are asked
            to: the caller did not ask, we did.
    """

    def __init__(self, *, stream: bool, hide: bool = False) -> None:
        self._stream = stream
        self._hide = hide
        self._rest = b""
        self._events = 0
        self._told: dict[str, int] = {}

    @property
    def tokens(self) -> int:
        """What the answer took: as it tells, and else one for each event of a stream."""
        if "total_tokens" in self._told:
            return self._told["total_tokens"]
        return sum(self._told.get(part, 0) for part in _PARTS) or self._events

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the answer; returns those that are for the caller."""
        self._rest += chunk
        if not self._stream:
            return chunk
        # Events end with an empty line; one that has not ended yet waits here when it may have to be left out.
        *events, self._rest = self._rest.split(b"\n\n")
        passed = [event + b"\n\n" for event in events if not self._event(event)]
        return b"".join(passed) if self._hide else chunk

    def end(self) -> bytes:
        """The answer is complete; returns what is left of it for the caller."""
        rest, self._rest = self._rest, b""
        if not self._stream:
            self._read(rest)
            return b""
        self._event(rest)
        return rest if self._hide else b""

    def _event(self, event: bytes) -> bool:
        """Count an event; says whether it is the usage that only we asked for."""
        data = b"".join(line[5:] for line in event.splitlines() if line.startswith(b"data:"))
        self._events += bool(data)
        found = self._read(data) if b'"usage"' in data else {}
        return self._hide and found.get("choices") == [] and bool(found.get("usage"))

    def _read(self, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except ValueError:
            return {}
        if not isinstance(found, dict):
            return {}
        # Responses and messages tell it in the object that an event is about.
        for holder in (found, found.get("response"), found.get("message")):
            usage = holder.get("usage") if isinstance(holder, dict) else None
            for name, value in (usage if isinstance(usage, dict) else {}).items():
                if name in {*_PARTS, "total_tokens"} and type(value) is int:
                    self._told[name] = max(value, self._told.get(name, 0))
        return found

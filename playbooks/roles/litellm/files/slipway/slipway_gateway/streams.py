"""Makes LiteLLM's streams of chats such as OpenAI's are.

Two things differ (LiteLLM 1.106): the event with the usage has a choice in it, where OpenAI's has none; and of several choices
one alone gets its `finish_reason`. A choice that ended without one gets that of the others, since its own is lost.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

_END = b"\n\n"
_DATA = b"data: "


async def mended(chunks: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    """The same stream, mended; an event at a time.

    Args:
        chunks: what LiteLLM sends.
        count: of the choices that were asked for.
    """
    mend, rest = _Mend(count), b""
    async for chunk in chunks:
        *events, rest = (rest + chunk).split(_END)
        if events:
            yield b"".join(mend.event(event) + _END for event in events)
    if rest:
        yield rest


class _Mend:
    def __init__(self, count: int) -> None:
        self._count = count
        self._open: set[int] = set()
        self._reason: str | None = None
        self._last: dict[str, Any] = {}

    def event(self, event: bytes) -> bytes:
        """An event without its end, mended; what was left out comes before it."""
        counts = b'"usage"' in event
        if not event.startswith(_DATA) or not (counts or self._count > 1):
            return event
        try:
            data = json.loads(event[len(_DATA) :])
        except ValueError:
            return self._missing() + event  # [DONE]
        choices = data.get("choices")
        if not choices:
            return self._missing() + event
        if counts and data.get("usage") and not any(_says(choice) for choice in choices):
            return self._missing() + _DATA + json.dumps(data | {"choices": []}).encode()
        self._last = data
        for choice in choices:
            self._open.add(choice["index"])
            if choice.get("finish_reason"):
                self._open.discard(choice["index"])
                self._reason = choice["finish_reason"]
        return event

    def _missing(self) -> bytes:
        """The ends of the choices that have none, once one has."""
        if self._reason is None:
            return b""
        ends = [{"index": index, "delta": {}, "finish_reason": self._reason} for index in sorted(self._open)]
        self._open.clear()
        head = {key: value for key, value in self._last.items() if key not in {"choices", "usage"}}
        return b"".join(_DATA + json.dumps(head | {"choices": [end]}).encode() + _END for end in ends)


def _says(choice: dict[str, Any]) -> bool:
    return bool(choice.get("finish_reason")) or any((choice.get("delta") or {}).values())

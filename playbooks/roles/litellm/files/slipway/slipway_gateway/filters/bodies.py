"""Where texts stand in requests and answers, whatever part of the API they belong to.

Every string is taken for a text, wherever it stands, but those that the API itself needs: so a field that nobody thought
of is filtered rather than passed over. Images, sound and vectors are no texts, and nothing in them is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway_gateway.filters.text import Judge

NAMES = frozenset(
    {
        "call_id",
        "encoding_format",
        "encrypted_content",
        "finish_reason",
        "format",
        "id",
        "item_id",
        "media_type",
        "model",
        "name",
        "object",
        "previous_response_id",
        "role",
        "service_tier",
        "signature",
        "status",
        "stop_reason",
        "system_fingerprint",
        "tool_call_id",
        "tool_use_id",
        "type",
    }
)
"""Fields by which the API tells its own things apart."""

FILES = frozenset({"audio", "b64_json", "data", "file_data", "image_url", "url", "video_url"})
"""Fields that may hold a file: what begins like one, or stands beside the name of a file's form, is not read."""

FREE = frozenset({"arguments", "input", "metadata"})
"""Fields with an object of the caller's or the model's own making: every value in it counts, whatever its name, and
numbers too."""

JSON = frozenset({"arguments", "partial_json"})
"""Fields with a text that is JSON."""

TOLD_APART = frozenset({"logprobs", "prompt_logprobs", "prompt_token_ids", "token_ids"})
"""Parts of an answer that tell the text once more, token by token: they are left out where a text may be changed."""

TOKENS = ("prompt", "input", "tokens")
"""Fields of a request that may hold a text as token ids."""


Way = tuple[Any, ...]
"""Where something stands: names of fields, and in a list the index that the entry itself says, or its position."""


def holds_tokens(data: Any) -> str | None:
    """The field of a request that holds a text in another form than letters, which no filter reads; None without one."""
    for name in TOKENS:
        value = data.get(name)
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, int) and name in data:
            return name
    return "prompt_embeds" if data.get("prompt_embeds") is not None else None


def filtered(data: Any, judge: Judge, *, answer: bool = False) -> Any:
    """A body as it may pass; the same object where nothing in it is changed.

    Args:
        data: what the JSON says.
        judge: what is done.
        answer: it is an answer, or an event of one.

    Raises:
        Blocked: it may not pass.
    """
    return _value(data, judge, "", free=False, drops=answer and judge.rules.change)


def _value(value: Any, judge: Judge, name: str, *, free: bool, drops: bool) -> Any:
    if isinstance(value, str):
        return judge.whole(value, json=name in JSON)
    if isinstance(value, list):
        new = [_value(one, judge, name, free=free, drops=drops) for one in value]
        return value if all(one is other for one, other in zip(new, value, strict=True)) else new
    if isinstance(value, dict):
        return _map(value, judge, free=free, drops=drops)
    if free and type(value) is int:
        text = str(value)
        return value if (written := judge.whole(text)) == text else written
    return value


def _map(data: dict[str, Any], judge: Judge, *, free: bool, drops: bool) -> dict[str, Any]:
    changed = {}
    for name, value in data.items():
        if drops and name in TOLD_APART and value and not free:
            changed[name] = None
        elif not (isinstance(value, str) and passes(data, name, free=free)):
            inner = free or (name in FREE and isinstance(value, dict))
            new = _value(value, judge, name, free=inner, drops=drops)
            if new is not value:
                changed[name] = new
    return {**data, **changed} if changed else data


def passes(holder: dict[str, Any], name: str, *, free: bool = False) -> bool:
    """Whether a string of an object is none of its texts."""
    if name in FILES:
        return str(holder[name])[:5].lower() == "data:" or (
            name == "data" and not {"media_type", "format"}.isdisjoint(holder)
        )
    return name in NAMES and not free


def leaves(data: Any, way: Way = ()) -> Iterator[tuple[Way, dict[str, Any], str]]:
    """The texts of a part of an event: for each the way to it, the object that holds it, and the field's name."""
    if isinstance(data, dict):
        for name, value in data.items():
            if isinstance(value, str):
                if not passes(data, name):
                    yield (*way, name), data, name
            else:
                yield from leaves(value, (*way, name))
    elif isinstance(data, list):
        for position, value in enumerate(data):
            index = value.get("index") if isinstance(value, dict) else None
            index = index if isinstance(index, int) else position
            yield from leaves(value, (*way, index))


def at(way: Way, holder: Mapping[str, Any]) -> dict[str, Any]:
    """An object in which `holder` stands where a way without its last step leads: the inverse of `leaves`."""
    value: dict[str, Any] = dict(holder)
    steps = list(way[:-1])
    while steps:
        step = steps.pop()
        value = {steps.pop(): [{"index": step, **value}]} if isinstance(step, int) else {step: value}
    return value

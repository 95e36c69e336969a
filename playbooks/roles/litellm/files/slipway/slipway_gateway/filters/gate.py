"""Where the door and the serving meet the filters: a body in, the body that may pass out, or a refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TypeVar

from slipway_gateway.answers import Refusal
from slipway_gateway.bodies import Body, Form, Json
from slipway_gateway.filters.bodies import filtered, holds_tokens
from slipway_gateway.filters.recognizer import Deadline
from slipway_gateway.filters.text import Blocked, Judge, Rules

WHOLE_S = 2.0
"""How long a whole body may be judged."""

LARGE = 16 * 1024
"""Bytes from which on a body is judged beside the event loop, so that others do not wait."""

VECTORS = frozenset({"embeddings"})
"""Families whose answers hold no text."""

Result = TypeVar("Result")


def refusal(rules: Rules, blocked: Blocked) -> Refusal:
    """What a caller is told of a text that may not pass: its kind, and nothing of it."""
    what = "request" if rules.direction == "in" else "answer"
    if blocked.late:
        message = f"The filters of the team {rules.team} could not judge the {what} in time, so it does not pass."
    else:
        message = (
            f"The {what} holds something of the kind {blocked.kind}, which the filters of the team {rules.team} "
            "do not let pass."
        )
    return Refusal(400, message, "content_filtered")


async def asked(rules: Rules | None, body: Body) -> Body:
    """A request as it may pass; the same object where nothing in it is changed.

    Raises:
        Refusal: 400: it may not pass.
    """
    if rules is None:
        return body
    if rules.change and (field := holds_tokens(body.data)):
        raise Refusal(
            400,
            f"The field '{field}' holds no letters, which the filters of the team {rules.team} could read. Send text.",
            "content_filtered",
            param=field,
        )
    size = len(body.raw) if isinstance(body, Json) else LARGE
    return await _judged(rules, size, lambda judge: _asked(body, judge))


def _asked(body: Body, judge: Judge) -> Body:
    if isinstance(body, Form):
        return Form(
            tuple(
                (name, judge.whole(value) if isinstance(value, str) and name not in {"model", "stream"} else value)
                for name, value in body.fields
            )
        )
    data = filtered(body.data, judge)
    return body if data is body.data else Json(json.dumps(data).encode(), data)


async def answered(rules: Rules | None, family: str, body: bytes) -> bytes:
    """A whole answer as it may pass.

    Raises:
        Refusal: 400: it may not pass.
    """
    if rules is None or family in VECTORS:
        return body
    return await _judged(rules, len(body), lambda judge: _answered(body, judge))


def _answered(body: bytes, judge: Judge) -> bytes:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
        return body if (passed := judge.whole(text)) == text else passed.encode()
    passed = filtered(data, judge, answer=True)
    return body if passed is data else json.dumps(passed).encode()


async def _judged(rules: Rules, size: int, how: Callable[[Judge], Result]) -> Result:
    judge = Judge(rules, Deadline(WHOLE_S))
    try:
        return await asyncio.to_thread(how, judge) if size >= LARGE else how(judge)
    except Blocked as blocked:
        raise refusal(rules, blocked) from None
    except RecursionError:
        raise Refusal(400, "The body is nested too deep to be filtered.", "content_filtered") from None
    finally:
        judge.tell()

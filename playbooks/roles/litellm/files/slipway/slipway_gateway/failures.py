"""What a backend's error means: whether another backend is to be asked, and what the caller is told in the end."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from slipway_gateway.answers import Refusal, backend_refusal
from slipway_gateway.backends import Reply
from slipway_gateway.routes import Deployment

MENDABLE = frozenset({401, 403, 404, 408, 429})
"""Answers below 500 that say something of the backend, or of how the gateway asks it, and nothing of the request."""

_SAID = {
    "backend_failed": "The backend of the model '{}' failed",
    "backend_refused": "The backend of the model '{}' does not serve this",
    "backend_timeout": "The backend of the model '{}' took too long",
    "backend_without": "The backend of the model '{}' does not serve this",
}
"""By code what a caller is told; the front says the same of the backends that it asks itself."""

log = logging.getLogger("slipway.gateway")


def judged(chosen: Deployment, status: int, body: bytes, reply: Reply) -> Refusal:
    """What to tell the caller about a backend's error, if no other backend answers.

    Raises:
        Refusal: the request is wrong on every backend.
    """
    refusal = backend_refusal(status, body)
    if (400 <= status < 500 and status not in MENDABLE) or status == 501:
        refusal.message = _as_asked(chosen, refusal.message)
        raise refusal
    # Of what it says, only the kind is for the journal: the rest may quote a key, an address or what was asked.
    kind = refusal.kind if re.fullmatch(r"[A-Za-z_]{1,60}", refusal.kind or "") else "of no known kind"
    log.warning("backend %s answers %d, %s", chosen.id, status, kind)
    if status in {429, 503} and chosen.private:  # its queue is full, and the next request may find room
        return Refusal(
            503,
            f"The model '{chosen.name}' has all the requests that it can hold. Try again later.",
            "overloaded",
            headers={"retry-after": "1"},
        )
    if status == 429:
        refusal.code = "rate_limit_exceeded"
        refusal.headers.update({name: value for name, value in reply.headers.items() if name == "retry-after"})
        return refusal
    if status == 404:  # well, but without this path or this name
        return failed(chosen, 502, "backend_without")
    if status in {401, 403}:  # the gateway's own key is wrong there
        return failed(chosen, 502, "backend_refused")
    if status in {408, 504}:
        return failed(chosen, 504, "backend_timeout")
    return failed(chosen, 503 if status == 503 else 502, "backend_failed")


def _as_asked(chosen: Deployment, message: str) -> str:
    """The message with the model's name as callers know it: the name that it has at the backend is nobody's business."""
    for name in (str(chosen.litellm["model"]), chosen.model, chosen.id):
        if re.search(r"[\d_./:@-]", name):  # a bare word may be one of the message's
            message = re.sub(rf"(?<![\w/-]){re.escape(name)}(?![\w/-])", lambda _: chosen.name, message)
    return message


def failed(chosen: Deployment, status: int, code: str) -> Refusal:
    """What a caller is told of a backend that failed: nothing of what it said."""
    what = _SAID.get(code, "No backend of the model '{}' gives an answer").format(chosen.name)
    headers = {"retry-after": "1"} if status == 503 else {}
    return Refusal(status, f"{what}. Try again later.", code, headers=headers)


def error_in_event(event: bytes) -> dict[str, Any] | None:
    """The error that a stream starts with; None when it starts with something else."""
    lines = (line[5:] for line in event.splitlines() if line.startswith(b"data:"))
    return next(filter(None, map(error_in, lines)), None)


def error_in(body: bytes) -> dict[str, Any] | None:
    """The error that a body or an event is, as {"error": …}."""
    # A look is cheap; most answers are long and are none.
    if b'"error"' not in body:
        return None
    try:
        data = json.loads(body)
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    holder = data.get("response") if data.get("type") == "response.failed" else data
    # A response of OpenAI's is whole and says by itself what became of it.
    if not isinstance(holder, dict) or (holder is data and "object" in data):
        return None
    return {"error": holder["error"]} if holder.get("error") else None


def status_of(data: dict[str, Any]) -> int:
    """The HTTP status that goes with the error {"error": …}."""
    error = data["error"]
    code = error.get("code") if isinstance(error, dict) else None
    digits = str(code)
    return int(digits) if digits.isdigit() and 400 <= int(digits) < 600 else 500

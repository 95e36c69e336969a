"""Answers and errors in the forms that clients read: OpenAI's, and Anthropic's on its own paths."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_OPENAI_TYPES = {429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):  # noqa: N818 -- as often an answer as a fault
    """What a caller is told instead of an answer.

    Attributes:
        status: HTTP status.
        message: what is wrong and what to do; nothing of a request's content, and no address.
        code: OpenAI's word for it.
        param: the parameter that is meant.
        kind: its type in OpenAI's form; by default what goes with the status.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None,
        *,
        param: str | None = None,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.kind = kind
        self.headers = dict(headers or {})

    def data(self, *, anthropic: bool) -> dict[str, Any]:
        """The error as data, in one of the two forms."""
        server = self.status >= 500
        if anthropic:
            kind = _ANTHROPIC_TYPES.get(self.status, "api_error" if server else "invalid_request_error")
            return {"type": "error", "error": {"type": kind, "message": self.message}}
        kind = self.kind or _OPENAI_TYPES.get(self.status, "server_error" if server else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def answer(self, *, anthropic: bool) -> Answer:
        """The error as an answer."""
        return json_answer(self.data(anthropic=anthropic), status=self.status, headers=self.headers)

    def event(self, *, anthropic: bool) -> bytes:
        """The error as the last event of a stream that has begun."""
        data = json.dumps(self.data(anthropic=anthropic)).encode()
        return b"event: error\ndata: " + data + b"\n\n" if anthropic else b"data: " + data + b"\n\n"


def json_answer(data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with data."""
    return Answer(status, json.dumps(data).encode(), {"content-type": "application/json", **(headers or {})})


def backend_refusal(status: int, body: bytes) -> Refusal:
    """What a backend's error says, whatever form it has: OpenAI's, Anthropic's, FastAPI's, Ollama's or a bare text."""
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    fields, message = _said(data)
    # LiteLLM adds which backends it knows, and how one might change its settings.
    message = _ADDED.split(message)[0].strip()
    if wrapped := _WRAPPED.match(message):
        message = message[wrapped.end() :]
        if within := _read(message):
            fields, message = _said(within)
    code = _word(fields.get("code"))
    return Refusal(
        status,
        message,
        None if code is None or code.isdigit() else code,
        param=_word(fields.get("param")),
        kind=_word(fields.get("type")),
    )


_ADDED = re.compile(
    r"\s(?:Received Model Group=|LiteLLM: model group)|\s*(?:\n\. |\. Handle with `litellm|\.? To drop these, set `litellm)"
)
_WRAPPED = re.compile(
    r"litellm\.\w+: (?:(?:litellm\.)?[A-Z]\w*(?:Error|Timeout): |[A-Z]\w*Exception(?::? [\w: ]+?)? - |Error code: \d{3} - )*"
)
"""What LiteLLM writes before a provider's words: classes of its own, and the provider's name among them."""


def _said(data: Any) -> tuple[dict[str, Any], str]:
    """An error's fields, and its message."""
    data = data if isinstance(data, dict) else {}
    error = data.get("error", data)
    fields = error if isinstance(error, dict) else {"message": error}
    message = fields.get("message") or fields.get("detail")
    if not isinstance(message, str):
        message = json.dumps(message) if message else "The backend refused the request and did not say why."
    return fields, message


def _read(text: str) -> dict[str, Any] | None:
    """The provider's own error where LiteLLM quotes it: as JSON, or as Python writes that."""
    if not text.startswith(("{", "b'", 'b"')):
        return None
    found: Any = text
    for read in (json.loads, ast.literal_eval, json.loads):  # the last for bytes
        with contextlib.suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            found = read(found)
        if isinstance(found, dict):
            return found
    return None


def _word(value: Any) -> str | None:
    # LiteLLM writes "None" where there is nothing.
    return value if isinstance(value, str) and value not in {"", "None"} else None


def provider_only(name: str) -> Refusal:
    """Why a private team cannot use a model."""
    return Refusal(
        403,
        f"The model '{name}' is served by a provider, and requests of this team do not leave for one.",
        "model_not_allowed",
        param="model",
    )


def models_answer(models: list[dict[str, Any]]) -> dict[str, Any]:
    """The list of models, as OpenAI's and Anthropic's clients both read it."""
    return {
        "object": "list",
        "data": models,
        "has_more": False,
        "first_id": models[0]["id"] if models else None,
        "last_id": models[-1]["id"] if models else None,
    }

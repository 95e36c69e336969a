#!/usr/bin/python
"""Ansible module: ask an OpenAI-compatible endpoint for a model's answer, as its task wants it, and measure it.

Runs on the host, with the standard library alone. It asks and reads: it changes nothing, so it never reports a change.
Only an answer counts as success, a token, a vector, a score or a text: an engine whose health check says 200 may be unable
to give one.
"""

from __future__ import annotations

import http.client
import io
import json
import math
import socket
import ssl
import struct
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: model_answer
short_description: Ask for an answer of a model by its task, and measure it
description:
  - Asks to warm up and then to measure, and fails unless each time an answer comes that is one, and is the model's own.
  - Does nothing in check mode.
options:
  url:
    description: The endpoint's base URL, ending in /v1.
    type: str
    required: true
  address:
    description: Connect to this address instead of the one that the URL's name resolves to.
    type: str
    default: ""
  front_unit:
    description: The unit to look at where the connection breaks off; empty where it is not known.
    type: str
    default: ""
  gateway_unit:
    description: The unit to look at where key or model is refused; empty where it is not known.
    type: str
    default: ""
  ca_file:
    description: Trust this CA alone, instead of the system's.
    type: str
    default: ""
  ca_certificate:
    description: Trust this CA alone, given as PEM text.
    type: str
    default: ""
  key:
    description: The bearer key; empty for none.
    type: str
    default: ""
  private_gateway:
    description: The unit of the gateway that answers private teams, where the key is one of theirs; messages name it.
    type: str
    default: ""
  model:
    description: The model to ask for.
    type: str
    required: true
  task:
    description: What the model does.
    type: str
    choices: [chat, completion, embedding, rerank, transcription]
    default: chat
  prompt:
    description: What to ask, or the text to embed, or the query to rank by.
    type: str
    default: Tell me a story about a slipway.
  max_tokens:
    description: The longest answer of a chat or completion, in tokens.
    type: int
    default: 64
  timeout:
    description: Seconds that one answer may take.
    type: int
    default: 120
  asks:
    description: How often to ask; the last answer is what is measured.
    type: int
    default: 2
author: [Slipway]
"""

RETURN = r"""
manages:
  description: Nothing, as it only asks; for whoever records what a role manages.
  returned: success
  type: list
figures:
  description: What was measured.
  returned: success, outside check mode
  type: dict
  contains:
    ttft_ms: {description: Milliseconds from the request to the first token; chat and completion, type: float}
    tokens_per_second: {description: Tokens a second over the whole answer; chat and completion, type: float}
    deltas: {description: Pieces of text that arrived; chat and completion, type: int}
    latency_ms: {description: Milliseconds from the request to the whole answer; the other tasks, type: float}
    dimensions: {description: Numbers in a vector; embedding, type: int}
"""

ASKS = 2
"""The first answer pays for warming up, and is not what a user sees."""
MINUTE_S = 60
EXCERPT = 300
ALL_UNITS = "'slipway-*'"
LOGS = f"look at journalctl -u {ALL_UNITS}"
DOCUMENTS = (
    "A slipway is a ramp on which ships are built and from which they are launched.",
    "Bread rises because yeast makes gas in the dough.",
    "The harbour master keeps the times of high and low water.",
)
SAMPLE_RATE = 16000
BOUNDARY = "slipway-model-answer"

Figures = dict[str, Any]


class AnswerError(Exception):
    """No answer came that is one; the text says why and where to look, and never holds the key."""


class LimitError(AnswerError):
    """The team has used up its minute.

    Attributes:
        wait_s: seconds until the next one, as the gateway says; 0 where it doesn't.
    """

    def __init__(self, text: str, wait_s: int) -> None:
        super().__init__(text)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Request:
    """One answer to ask for."""

    url: str
    model: str
    prompt: str
    max_tokens: int
    timeout: float
    task: str = "chat"
    key: str = ""
    address: str = ""
    front_unit: str = ""
    gateway_unit: str = ""
    ca_file: str = ""
    ca_certificate: str = ""
    private_gateway: str = ""

    @property
    def subject(self) -> str:
        """What every message begins with."""
        asked = f"model {self.model} at {self.url}"
        return f"{asked}, asked as a private team through {self.private_gateway}" if self.private_gateway else asked

    @property
    def gateways_log(self) -> str:
        """Where gateways log: whose a key is the first one says, also of private teams."""
        units = [unit for unit in (self.gateway_unit, self.private_gateway) if unit] or [ALL_UNITS]
        return f"journalctl {' '.join(f'-u {unit}' for unit in units)}"


def measure(request: Request) -> Figures:
    """Ask once.

    Returns:
        For ``chat`` and ``completion`` ``ttft_ms`` (connection and TLS included), ``tokens_per_second`` and ``deltas``;
        else ``latency_ms``, and ``dimensions`` for ``embedding``.

    Raises:
        AnswerError: no connection, no trust, a status other than 200, or an answer that is none.
    """
    path, body, read = TASKS[request.task]
    start = time.perf_counter()
    connection = _connect(request)
    try:
        content_type, data = body(request)
        headers = {"Content-Type": content_type}
        if request.key:
            headers["Authorization"] = f"Bearer {request.key}"
        connection.request("POST", urlsplit(request.url).path + path, data, headers)
        with connection.getresponse() as response:
            _refuse_unless_ok(response, request)
            _refuse_a_fall_back(response, request)
            return read(response, request, start)
    except TimeoutError:
        raise AnswerError(
            f"{request.subject}: no complete answer within {request.timeout:g} s; the model may be too slow for this host: "
            f"{LOGS}"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise AnswerError(
            f"{request.subject}: the connection broke off ({error}); look at journalctl -u {request.front_unit or ALL_UNITS}"
        ) from None
    finally:
        connection.close()


def last(request: Request, asks: int) -> Figures:
    """Ask so often, at least once, and measure the last answer.

    Where the team's limit is reached, as after many runs in a row, the next minute is waited for, and asked in once.

    Raises:
        AnswerError: as `measure`, whichever answer it was.
    """
    for _ in range(asks - 1):
        _in_time(request)
    return _in_time(request)


def _in_time(request: Request) -> Figures:
    try:
        return measure(request)
    except LimitError as error:
        if not 0 < error.wait_s <= MINUTE_S:
            raise
        time.sleep(error.wait_s)
        return measure(request)


def _connect(request: Request) -> http.client.HTTPConnection:
    parts = urlsplit(request.url)
    name = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        plain = socket.create_connection((request.address or name, port), timeout=request.timeout)
    except OSError as error:
        raise AnswerError(
            f"{request.subject}: no connection ({error.strerror or error}); is the service up? "
            "look at systemctl status 'slipway-*'"
        ) from None
    connection = http.client.HTTPConnection(name, port, timeout=request.timeout)
    if parts.scheme != "https":
        connection.sock = plain
        return connection
    try:
        trust = ssl.create_default_context(cafile=request.ca_file or None, cadata=request.ca_certificate or None)
        connection.sock = trust.wrap_socket(plain, server_hostname=name)
    except (ssl.SSLError, OSError) as error:
        plain.close()
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.strerror or str(error)
        trusted = request.ca_file or ("the CA given" if request.ca_certificate else "the system's CAs")
        raise AnswerError(
            f"{request.subject}: the certificate is not trusted by {trusted} ({reason}); no client could connect: "
            "check front.server_name, and the site's certificate with its chain and CA"
        ) from None
    return connection


def _excerpt(text: str, request: Request) -> str:
    shown = " ".join(text.split())
    return (shown.replace(request.key, "[key]") if request.key else shown)[:EXCERPT]


def _refuse_unless_ok(response: http.client.HTTPResponse, request: Request) -> None:
    if response.status != http.client.OK:
        said = _excerpt(response.read(4096).decode(errors="replace"), request)
        text = f"{request.subject}: answered {response.status}: {said}; {_mend(response.status, request)}"
        if response.status == http.client.TOO_MANY_REQUESTS:
            wait = response.headers.get("retry-after") or ""
            raise LimitError(text, int(wait) if wait.isdecimal() else 0)
        raise AnswerError(text)


def _refuse_a_fall_back(response: http.client.HTTPResponse, request: Request) -> None:
    """The gateway says who has answered; an engine, asked directly, says nothing."""
    by = response.headers.get("x-slipway-model") or request.model
    if by != request.model:
        raise AnswerError(
            f"{request.subject}: {_excerpt(by, request)} answered in its place; its own engine answers nobody: {LOGS}"
        )


def _mend(status: int, request: Request) -> str:
    if status == http.client.UNAUTHORIZED:
        return f"the gateway doesn't know this key: look at {request.gateways_log}"
    if status == http.client.FORBIDDEN:
        return "the key may not use this model: look at the models of its team"
    if status == http.client.NOT_FOUND:
        return f"the gateway doesn't know the model, or its engine doesn't do that task: look at {request.gateways_log}"
    if status == http.client.TOO_MANY_REQUESTS:
        return "the team's limit is reached: wait a minute; where it is reached again, somebody else asks with this key"
    if status in (http.client.BAD_GATEWAY, http.client.GATEWAY_TIMEOUT):
        gateway = "the private teams' gateway" if request.private_gateway else "the gateway"
        return f"the front doesn't reach {gateway}, or {gateway} the engine: look at systemctl status 'slipway-*'"
    return LOGS


# What is asked, by task


def _as_json(**body: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(body).encode()


def _chat(request: Request) -> tuple[str, bytes]:
    messages = [{"role": "user", "content": request.prompt}]
    return _as_json(model=request.model, messages=messages, max_tokens=request.max_tokens, stream=True)


def _completion(request: Request) -> tuple[str, bytes]:
    return _as_json(model=request.model, prompt=request.prompt, max_tokens=request.max_tokens, stream=True)


def _embedding(request: Request) -> tuple[str, bytes]:
    return _as_json(model=request.model, input=[request.prompt, DOCUMENTS[1]])


def _rerank(request: Request) -> tuple[str, bytes]:
    return _as_json(model=request.model, query=request.prompt, documents=list(DOCUMENTS))


def _transcription(request: Request) -> tuple[str, bytes]:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{request.model}\r\n'
    head += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="tone.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    return f"multipart/form-data; boundary={BOUNDARY}", head.encode() + tone() + f"\r\n--{BOUNDARY}--\r\n".encode()


def tone() -> bytes:
    """A second of a tone, as a WAV file of 16 kHz, 16 bit, one channel."""
    samples = (round(8000 * math.sin(2 * math.pi * 440 * index / SAMPLE_RATE)) for index in range(SAMPLE_RATE))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(struct.pack(f"<{SAMPLE_RATE}h", *samples))
    return buffer.getvalue()


# What counts as an answer, by task


def _read_stream(response: http.client.HTTPResponse, request: Request, start: float) -> Figures:
    first = last = 0.0
    deltas = 0
    while line := response.readline():
        if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
            continue
        chunk = json.loads(line[len(b"data:") :])
        if "error" in chunk:
            said = _excerpt(str(chunk["error"]), request)
            raise AnswerError(f"{request.subject}: the stream ended in an error: {said}; {LOGS}")
        choice = (chunk.get("choices") or [{}])[0]
        delta = choice.get("delta") or {}
        if choice.get("text") or delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning"):
            last = time.perf_counter()
            first = first or last
            deltas += 1
    if not deltas:
        raise AnswerError(
            f"{request.subject}: answered, but no token came; a health check would not have noticed: {LOGS}"
        )
    return {
        "ttft_ms": round((first - start) * 1000, 1),
        # Over the whole answer: a short one may come in one piece, whose rate by itself would be absurd.
        "tokens_per_second": round(deltas / (last - start), 1),
        "deltas": deltas,
    }


def _read_document(response: http.client.HTTPResponse, request: Request, start: float) -> tuple[Figures, Any]:
    text = response.read().decode(errors="replace")
    figures = {"latency_ms": round((time.perf_counter() - start) * 1000, 1)}
    try:
        return figures, json.loads(text)
    except ValueError:
        raise AnswerError(
            f"{request.subject}: answered 200 with what is no JSON: {_excerpt(text, request)}; {LOGS}"
        ) from None


def _wrong(request: Request, what: str) -> AnswerError:
    return AnswerError(
        f"{request.subject}: answered, but {what}; a health check would not have noticed: "
        f"is it a model for the task {request.task}? {LOGS}"
    )


def _finite(numbers: Any) -> bool:
    """Whether it is a list of finite numbers; JSON's `NaN` is a number to Python."""
    return isinstance(numbers, list) and all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)
        for number in numbers
    )


def _read_embedding(response: http.client.HTTPResponse, request: Request, start: float) -> Figures:
    figures, answer = _read_document(response, request, start)
    entries = answer.get("data") if isinstance(answer, dict) else None
    vectors = [entry.get("embedding") for entry in entries or [] if isinstance(entry, dict)]
    if len(vectors) != 2:
        raise _wrong(request, f"{len(vectors)} vectors came for 2 texts")
    if not all(vector and _finite(vector) for vector in vectors):
        raise _wrong(request, "a vector is empty or holds what is no finite number")
    if len(vectors[0]) != len(vectors[1]):
        raise _wrong(request, f"the vectors of two texts have {len(vectors[0])} and {len(vectors[1])} dimensions")
    if not all(any(vector) for vector in vectors):
        raise _wrong(request, "a vector is all zero")
    if vectors[0] == vectors[1]:
        raise _wrong(request, "the vectors of two different texts are the same")
    return {**figures, "dimensions": len(vectors[0])}


def _read_rerank(response: http.client.HTTPResponse, request: Request, start: float) -> Figures:
    figures, answer = _read_document(response, request, start)
    results = answer.get("results") if isinstance(answer, dict) else None
    entries = [entry for entry in results or [] if isinstance(entry, dict)]
    if sorted(str(entry.get("index")) for entry in entries) != [str(index) for index in range(len(DOCUMENTS))]:
        raise _wrong(request, f"not one score for each of {len(DOCUMENTS)} documents came")
    if not _finite([entry.get("relevance_score") for entry in entries]):
        raise _wrong(request, "a score is no finite number")
    return figures


def _read_transcription(response: http.client.HTTPResponse, request: Request, start: float) -> Figures:
    figures, answer = _read_document(response, request, start)
    # A tone says nothing, so an empty text is an answer.
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        raise _wrong(request, "no text came")
    return figures


Body = Callable[[Request], tuple[str, bytes]]
Read = Callable[[http.client.HTTPResponse, Request, float], Figures]

TASKS: dict[str, tuple[str, Body, Read]] = {
    "chat": ("/chat/completions", _chat, _read_stream),
    "completion": ("/completions", _completion, _read_stream),
    "embedding": ("/embeddings", _embedding, _read_embedding),
    "rerank": ("/rerank", _rerank, _read_rerank),
    "transcription": ("/audio/transcriptions", _transcription, _read_transcription),
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "address": {"type": "str", "default": ""},
            "front_unit": {"type": "str", "default": ""},
            "gateway_unit": {"type": "str", "default": ""},
            "ca_file": {"type": "str", "default": ""},
            "ca_certificate": {"type": "str", "default": ""},
            "key": {"type": "str", "default": "", "no_log": True},
            "model": {"type": "str", "required": True},
            "task": {"type": "str", "choices": list(TASKS), "default": "chat"},
            "prompt": {"type": "str", "default": "Tell me a story about a slipway."},
            "max_tokens": {"type": "int", "default": 64},
            "timeout": {"type": "int", "default": 120},
            "private_gateway": {"type": "str", "default": ""},
            "asks": {"type": "int", "default": ASKS},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, manages=[])
    asks = module.params.pop("asks")
    request = Request(**module.params)
    try:
        figures = last(request, asks)
    except AnswerError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, manages=[], figures=figures)


if __name__ == "__main__":
    main()

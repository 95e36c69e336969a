#!/usr/bin/python
"""Ansible module: ask an OpenAI-compatible endpoint for a streamed chat completion, and measure it.

Runs on the host, with the standard library alone. It asks and reads: it changes nothing, so it never reports a change.
Only a token counts as success: an engine whose health check says 200 may be unable to generate.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: stream_completion
short_description: Ask for a streamed chat completion and measure it
description:
  - Streams one chat completion to warm up and one to measure, and fails unless tokens arrive.
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
  model:
    description: The model to ask for.
    type: str
    required: true
  prompt:
    description: What to ask.
    type: str
    default: Tell me a story about a slipway.
  max_tokens:
    description: The longest answer, in tokens.
    type: int
    default: 64
  timeout:
    description: Seconds that one completion may take.
    type: int
    default: 120
author: [Slipway]
"""

RETURN = r"""
figures:
  description: What was measured.
  returned: success, outside check mode
  type: dict
  contains:
    model: {description: The model that answered, type: str}
    ttft_ms: {description: Milliseconds from the request to the first token, type: float}
    tokens_per_second: {description: Tokens a second over the whole answer, type: float}
    deltas: {description: Pieces of text that arrived, type: int}
"""

EXCERPT = 300


class CompletionError(Exception):
    """No token arrived; the text says why and where to look, and never holds the key."""


@dataclass(frozen=True)
class Request:
    """One completion to ask for."""

    url: str
    model: str
    prompt: str
    max_tokens: int
    timeout: float
    key: str = ""
    address: str = ""
    ca_file: str = ""
    ca_certificate: str = ""


def measure(request: Request) -> dict[str, Any]:
    """Stream one completion.

    Returns:
        ``model``, ``ttft_ms`` (connection and TLS included), ``tokens_per_second``, ``deltas``.

    Raises:
        CompletionError: no connection, no trust, a status other than 200, or no token.
    """
    start = time.perf_counter()
    connection = _connect(request)
    try:
        with _post(connection, request) as response:
            _refuse_unless_ok(response, request)
            return _read(response, request, start)
    except TimeoutError:
        raise CompletionError(
            f"{request.url}: no complete answer within {request.timeout:g} s; the model may be too slow for this host: "
            "look at journalctl -u 'slipway-*'"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise CompletionError(
            f"{request.url}: the connection broke off ({error}); look at journalctl -u slipway-nginx"
        ) from None
    finally:
        connection.close()


def _connect(request: Request) -> http.client.HTTPConnection:
    parts = urlsplit(request.url)
    name = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        plain = socket.create_connection((request.address or name, port), timeout=request.timeout)
    except OSError as error:
        raise CompletionError(
            f"{request.url}: no connection ({error.strerror or error}); is the service up? "
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
        raise CompletionError(
            f"{request.url}: the certificate is not trusted by {trusted} ({reason}); no client could connect: "
            "check front.server_name, and the site's certificate with its chain and CA"
        ) from None
    return connection


def _post(connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if request.key:
        headers["Authorization"] = f"Bearer {request.key}"
    body = {
        "model": request.model,
        "messages": [{"role": "user", "content": request.prompt}],
        "max_tokens": request.max_tokens,
        "stream": True,
    }
    connection.request("POST", urlsplit(request.url).path + "/chat/completions", json.dumps(body), headers)
    return connection.getresponse()


def _refuse_unless_ok(response: http.client.HTTPResponse, request: Request) -> None:
    if response.status != http.client.OK:
        excerpt = response.read(4096).decode(errors="replace").strip()[:EXCERPT]
        if request.key:
            excerpt = excerpt.replace(request.key, "[key]")
        raise CompletionError(f"{request.url}: answered {response.status}: {excerpt}; {_mend(response.status)}")


def _mend(status: int) -> str:
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return "the gateway doesn't know this key: look at journalctl -u slipway-litellm"
    if status == http.client.TOO_MANY_REQUESTS:
        return "the first team's limit is reached: wait a minute, or raise that team's limit"
    if status in (http.client.BAD_GATEWAY, http.client.GATEWAY_TIMEOUT):
        return "the front doesn't reach the gateway: look at systemctl status slipway-litellm"
    return "look at journalctl -u 'slipway-*'"


def _read(response: http.client.HTTPResponse, request: Request, start: float) -> dict[str, Any]:
    first = last = 0.0
    deltas = 0
    model = request.model
    while line := response.readline():
        if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
            continue
        chunk = json.loads(line[len(b"data:") :])
        if "error" in chunk:
            raise CompletionError(f"{request.url}: the stream ended in an error: {str(chunk['error'])[:EXCERPT]}")
        model = chunk.get("model") or model
        choices = chunk.get("choices") or [{}]
        delta = choices[0].get("delta") or {}
        if delta.get("content") or delta.get("reasoning_content"):
            last = time.perf_counter()
            first = first or last
            deltas += 1
    if not deltas:
        raise CompletionError(
            f"{request.url}: answered, but no token came; a health check would not have noticed: "
            "look at journalctl -u 'slipway-*'"
        )
    return {
        "model": model,
        "ttft_ms": round((first - start) * 1000, 1),
        # Over the whole answer: a short one may come in one piece, whose rate by itself would be absurd.
        "tokens_per_second": round(deltas / (last - start), 1),
        "deltas": deltas,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "address": {"type": "str", "default": ""},
            "ca_file": {"type": "str", "default": ""},
            "ca_certificate": {"type": "str", "default": ""},
            "key": {"type": "str", "default": "", "no_log": True},
            "model": {"type": "str", "required": True},
            "prompt": {"type": "str", "default": "Tell me a story about a slipway."},
            "max_tokens": {"type": "int", "default": 64},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False)
    request = Request(**module.params)
    try:
        measure(request)  # the first completion pays for warming up, and is not what a user sees
        figures = measure(request)
    except CompletionError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, figures=figures)


if __name__ == "__main__":
    main()

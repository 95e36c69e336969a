"""Bytes over TLS, as no client would send them, and what comes back."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One HTTP/1.1 answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """What it says of what is wrong, if it is in the form that OpenAI's or Anthropic's clients read."""
        assert self.headers["content-type"] == "application/json", self
        found = json.loads(self.body)
        if set(found) == {"type", "error"}:
            assert found["type"] == "error"
            assert set(found["error"]) == {"type", "message"}
        else:
            assert set(found) == {"error"}
            assert set(found["error"]) == {"message", "type", "param", "code"}
        assert found["error"]["message"]
        return found["error"]


@cache
def _context(protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


@contextmanager
def connection(port: int, timeout_s: float = 10, protocol: str = "http/1.1") -> Iterator[ssl.SSLSocket]:
    """A connection to the front."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as plain,
        _context(protocol).wrap_socket(plain) as stream,
    ):
        yield stream


def received(stream: ssl.SSLSocket) -> bytes:
    """All that comes until the other side closes, or is silent for as long as the connection's time-out."""
    found = b""
    try:
        while piece := stream.recv(65536):
            found += piece
    except (TimeoutError, ConnectionError, ssl.SSLError):
        # Who sends nonsense is left without a good-bye.
        pass
    return found


def exchange(port: int, request: bytes, timeout_s: float = 10) -> bytes:
    """What is answered to these bytes. The last request of them ought to ask for the connection to be closed."""
    with connection(port, timeout_s) as stream:
        # It may close before it has all; what it said before is there to be read.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            stream.sendall(request)
        return received(stream)


def answers(raw: bytes) -> list[Answer]:
    """Cut what came into answers; interim ones are left out."""
    found = []
    while raw:
        head, separator, raw = raw.partition(b"\r\n\r\n")
        assert separator, head[:200]
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status = first.split(" ")[:2]
        assert version == "HTTP/1.1", first
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if status.startswith("1"):
            continue
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size, _, raw = raw.partition(b"\r\n")
                length = int(size, 16)
                body, raw = body + raw[:length], raw[length + 2 :]
                if not length:
                    break
        else:
            length = int(headers.get("content-length", "0"))
            body, raw = raw[:length], raw[length:]
        found.append(Answer(int(status), headers, body))
    return found

"""Malformed requests by the thousand, and what the front must not do about them.

Two fifths are made by schemathesis of the engine's OpenAPI (`generate.py`), the others are valid requests with bytes changed, a
tenth of all in HTTP/2. Those of HTTP/1.1 are sent once without a key and once with one. `run` raises an AssertionError with the
first request that got what it must not get. The same seed makes the same requests.
"""

import base64
import contextlib
import hashlib
import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import hpack
from hyperframe.frame import DataFrame, Frame, HeadersFrame

from slipway.paths import ROOT
from tests.integration.backend_double import Double
from tests.integration.front import Front, backend, model, team
from tests.integration.gateway import KEYS
from tests.integration.security.wire import answers, connection, exchange, received

HERE = ROOT / "tests/integration/security"
FAMILIES = ("chat", "completions", "embeddings", "rerank", "responses", "messages", "tokenize")
KEY = KEYS["open"].encode()
PATIENCE_S = 0.4
"""How long a request that has no end waits for an answer."""

_CHAT = b'{"model":"tiny","messages":[{"role":"user","content":"Hello"}],"stream":true,"max_tokens":4,"n":1}'
_HEAD = b"Host: front\r\nAuthorization: Bearer " + KEY + b"\r\nUser-Agent: fuzz\r\nConnection: close\r\n"
_CHUNKED = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (_CHAT[:20], _CHAT[20:])) + b"0\r\n\r\n"
SEEDS = (
    b"POST /v1/chat/completions HTTP/1.1\r\n" + _HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(_CHAT), _CHAT),
    b"POST /v1/chat/completions HTTP/1.1\r\n" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + _CHUNKED,
    b"POST /v1/messages?beta=true HTTP/1.1\r\n" + _HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(_CHAT), _CHAT),
    b"POST /openai/deployments/tiny/chat/completions?api-version=2024-10-21 HTTP/1.1\r\n"
    + _HEAD
    + b"Content-Length: %d\r\n\r\n%s" % (len(_CHAT), _CHAT),
    b"GET /v1/models/tiny HTTP/1.1\r\n" + _HEAD + b"\r\n",
    b"OPTIONS /v1/chat/completions HTTP/1.1\r\n" + _HEAD + b"Origin: x\r\nAccess-Control-Request-Method: POST\r\n\r\n",
)
"""Valid requests."""
TOKENS = (
    *(
        b"\0",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"%",
        b"%00",
        b"%0d%0a",
        b"..",
        b"/",
        b"//",
    ),
    *(b"*", b"?", b"#", b"@", b"\x7f", b"\xff", b"\xc0\xaf", b"\xf0\x9f\x92\xa9", b"\\u0000", b"\\ud800", b"\\"),
    *(b"{", b"}", b"[", b"]", b'"', b"[" * 300, b'{"a":' * 300, b"null", b"-1", b"1e999", b"9" * 40, b"NaN", b"true"),
    *(
        b"Content-Length: 0\r\n",
        b"Content-Length: 99\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: x\r\n",
    ),
    *(
        b"Host: other\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: h2c\r\n",
        b"If-Match: x\r\n",
        b"If-None-Match: *\r\n",
    ),
    *(b"Range: bytes=0-1\r\n", b"X-Request-ID: a\r\n", b"Content-Encoding: gzip\r\n", b"X-Original-URL: /health\r\n"),
    *(
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"HTTP/0.9",
        b"CONNECT ",
        b"TRACE ",
        b"http://127.0.0.1/",
        b"A" * 9000,
        b"B: c\r\n" * 120,
    ),
)


class Strict(Double):
    """A stand-in for an engine that refuses a body which is no JSON object, as engines do, and notes that as asked, too."""

    def _server(self, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        answer = handler._answer  # type: ignore[attr-defined]

        def strict(self: Any, raw: bytes) -> None:
            try:
                json.loads(raw)
            except ValueError:
                self._json(
                    {"error": {"message": "no JSON", "type": "BadRequestError", "param": None, "code": 400}}, 400
                )
            else:
                answer(self, raw)

        handler._answer = strict  # type: ignore[attr-defined]
        return super()._server(handler)


def mutated(random_: random.Random, seed: bytes) -> bytes:
    """A request with one to four faults."""
    found = bytearray(seed)
    for _ in range(random_.choice((1, 1, 2, 4))):
        at = random_.randrange(len(found) + 1)
        length = random_.choice((1, 1, 2, 8, 64))
        match random_.randrange(7):
            case 0 if found:
                found[min(at, len(found) - 1)] ^= 1 << random_.randrange(8)
            case 1:
                found[at : at + length] = random_.randbytes(length)
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = found[at : at + length] * random_.choice((1, 2, 50))
            case 4:
                del found[at:]
            case 5:
                other = random_.choice(SEEDS)
                found[at:] = other[random_.randrange(len(other)) :]
            case _:
                found[at:at] = random_.choice(TOKENS)
        if not found:
            found += b"\r\n"
    return bytes(found)


def over_http2(random_: random.Random) -> bytes:
    """The frames of a valid request of HTTP/2, with faults."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    opening = client.data_to_send()
    head = [(":method", "POST"), (":path", "/v1/chat/completions"), (":scheme", "https"), (":authority", "front")]
    client.send_headers(1, [*head, ("authorization", f"Bearer {KEYS['open']}"), ("content-length", str(len(_CHAT)))])
    client.send_data(1, _CHAT, end_stream=True)
    return opening + mutated(random_, client.data_to_send())


def environment() -> Path:
    """Where `tools/setup/setup.sh test` put schemathesis and sslyze."""
    digest = hashlib.sha256((HERE / "requirements.txt").read_bytes()).hexdigest()[:12]
    home = Path(f"~/.cache/slipway/security-{digest}").expanduser()
    assert home.is_dir(), "make setup-test installs it"
    return home


def generated(count: int, seed: int) -> list[bytes]:
    """About so many that schemathesis makes, as requests of HTTP/1.1 with a key: as made, and for a model that is there.

    Making them takes longer than asking them, so they are kept in this user's cache.
    """
    parts = (HERE / "requirements.txt", HERE / "generate.py", HERE / "vllm-openapi.json")
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    kept = environment().parent / f"fuzz-{digest}-{count}-{seed}.jsonl"
    if not kept.exists():
        command = [environment() / "bin/python", *parts[1:], str(count), str(seed)]
        new = kept.with_suffix(f".{os.getpid()}")
        new.write_bytes(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        new.replace(kept)
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    return [_request(line, served) for line in lines for served in (False, True)]


def _request(made: dict[str, Any], served: bool) -> bytes:
    body = base64.b64decode(made["body"])
    if served:
        # What is no JSON stays what it is.
        with contextlib.suppress(ValueError):
            data = json.loads(body)
            body = json.dumps({**data, "model": "tiny"}).encode() if isinstance(data, dict) else body
    kinds = (value for name, value in made["headers"].items() if name.lower() == "content-type")
    head = "".join(f"Content-Type: {kind}\r\n" for kind in kinds)
    line = f"{made['method']} {made['path']} HTTP/1.1\r\n{head}".encode("utf-8", "surrogatepass")
    return line + _HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def judged(raw: bytes) -> Counter[int]:
    """The statuses of what came back, which has to be in the form of errors where it is one."""
    found: Counter[int] = Counter()
    # HTTP/0.9, whose answers are bodies alone.
    for answer in answers(raw) if raw.startswith(b"HTTP/") else []:
        found[answer.status] += 1
        assert answer.status < 500, answer
        if answer.status >= 400:
            assert answer.error
    return found


def _of_http2(raw: bytes) -> Counter[int]:
    """The same of HTTP/2, frame by frame: what was sent is no conversation that a client would take part in."""
    found: Counter[int] = Counter()
    decoder, status, kind, body = hpack.Decoder(), 0, "", b""
    while len(raw) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(raw[:9]))
        frame.parse_body(memoryview(raw[9 : 9 + length]))
        raw = raw[9 + length :]
        if isinstance(frame, HeadersFrame):
            headers = {str(name): str(value) for name, value in decoder.decode(frame.data)}
            status, kind, body = int(headers[":status"]), headers.get("content-type", ""), b""
            found[status] += 1
            assert status < 500, headers
        elif isinstance(frame, DataFrame):
            body += frame.data
            if status >= 400 and "END_STREAM" in frame.flags:
                assert kind == "application/json", kind
                assert json.loads(body)["error"]["message"]
    return found


def _send(front: Front, request: bytes) -> Counter[int]:
    return judged(exchange(front.port, request, PATIENCE_S))


def _send_http2(front: Front, request: bytes) -> Counter[int]:
    with connection(front.port, PATIENCE_S, "h2") as stream:
        stream.sendall(request)
        return _of_http2(received(stream))


def workers(front: Front) -> set[str]:
    """The processes that answer."""
    assert front.process is not None
    return set(Path(f"/proc/{front.process.pid}/task/{front.process.pid}/children").read_text().split())


def _all(front: Front, send: Callable[[Front, bytes], Counter[int]], requests: Sequence[bytes]) -> Counter[int]:
    def one(request: bytes) -> Counter[int]:
        try:
            return send(front, request)
        except AssertionError as fault:
            raise AssertionError(f"{request[:3000]!r} got {fault}") from fault

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(one, requests), Counter[int]())


def run(front: Front, count: int, seed: int = 1) -> dict[str, Any]:
    """Send so many requests to a running front; returns how many had which status."""
    random_ = random.Random(seed)  # noqa: S311 -- reproducible
    engine = Strict("engine")
    try:
        front.serve(team("open"), models={"tiny": model(backend("tiny", engine.url, native=FAMILIES))})
        before = workers(front)
        made = generated(count // 10, seed)
        frames = [over_http2(random_) for _ in range(count // 10)]
        left = max(0, count - 2 * len(made) - len(frames))
        bytes_ = [mutated(random_, random_.choice(SEEDS)) for _ in range(-(-left // 2))]
        told: dict[str, Any] = {"requests": 2 * len(made) + 2 * len(bytes_) + len(frames), "seed": seed}
        unkeyed = [_without_key(request) for request in (*made, *bytes_)]
        told["without a key"] = dict(sorted(_all(front, _send, unkeyed).items()))
        assert not engine.asked, [asked.raw for asked in engine.asked]
        told["with a key"] = dict(sorted(_all(front, _send, [*made, *bytes_]).items()))
        told["over HTTP/2"] = dict(sorted(_all(front, _send_http2, frames).items()))
        told["asked of the engine"] = len(engine.asked)
        for asked in engine.asked:
            assert asked.headers["authorization"] == "Bearer sk-backend"
            assert b'"tiny-inside"' in asked.raw, asked
        # Those whose answer nobody waited for, too.
        lines = (front.folder / "access").read_text().splitlines()
        assert not [line for line in lines if json.loads(line)["status"] >= 500]
        assert workers(front) == before, "a worker died"
        assert "exited on signal" not in front.journal
        assert "a request failed" not in front.journal
        assert "not accounted for" not in front.journal
        return told
    finally:
        engine.kill()


def _without_key(request: bytes) -> bytes:
    """The same with one byte of the key changed, whatever else was changed."""
    return request.replace(KEY, KEY[:-1] + b"X")

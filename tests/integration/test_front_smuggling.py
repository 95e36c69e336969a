"""Requests that two readers could read differently: the front answers each once, and engines get what it understood."""

import json
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import pytest

from tests.integration.front import Front
from tests.integration.gateway import KEYS
from tests.integration.security.fuzz import Strict
from tests.integration.security.rig import guarded
from tests.integration.security.wire import answers, connection, exchange

KEY = f"Authorization: Bearer {KEYS['open']}\r\n".encode()
BODY = b'{"model":"tiny","messages":[]}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
SECOND = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""What would be answered, were it taken for a request."""
INSIDE = {"model": "tiny-inside", "messages": []}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, Strict]]:
    with guarded(tmp_path_factory.mktemp("smuggling")) as both:
        yield both


@pytest.fixture
def front(rig: tuple[Front, Strict]) -> Front:
    return rig[0]


@pytest.fixture
def engine(rig: tuple[Front, Strict]) -> Strict:
    rig[1].asked.clear()
    return rig[1]


def post(headers: bytes, body: bytes, key: bytes = KEY) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + key + headers + b"\r\n" + body


REFUSED = {
    "length and chunks": (LENGTH + CHUNKED, CHUNKS),
    "chunks and length": (CHUNKED + LENGTH, CHUNKS),
    "length within chunks": (b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\nG"),
    "the same length twice": (LENGTH + LENGTH, BODY),
    "two lengths": (LENGTH + b"Content-Length: 0\r\n", BODY),
    "two lengths in one": (b"Content-Length: 30, 30\r\n", BODY),
    "length with a sign": (b"Content-Length: +30\r\n", BODY),
    "negative length": (b"Content-Length: -1\r\n", BODY),
    "length in hexadecimal": (b"Content-Length: 0x1e\r\n", BODY),
    "length with a blank in it": (b"Content-Length: 3 0\r\n", BODY),
    "length without a number": (b"Content-Length: \r\n", BODY),
    "length of many digits": (b"Content-Length: 18446744073709551646\r\n", BODY),
    "coding with a blank before the colon": (b"Transfer-Encoding : chunked\r\n", CHUNKS),
    "unknown coding": (b"Transfer-Encoding: xchunked\r\n", CHUNKS),
    "coding in quotes": (b'Transfer-Encoding: "chunked"\r\n', CHUNKS),
    "coding with a vertical tab": (b"Transfer-Encoding: \x0bchunked\r\n", CHUNKS),
    "coding with a null": (b"Transfer-Encoding: chunked\0\r\n", CHUNKS),
    "chunked and another": (b"Transfer-Encoding: chunked, identity\r\n", CHUNKS),
    "another and chunked": (b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS),
    "coding twice": (CHUNKED + b"Transfer-Encoding: identity\r\n", CHUNKS),
    "chunked twice": (CHUNKED + CHUNKED, CHUNKS),
    "continued coding": (b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS),
    "continued header": (b"X-A: b\r\n Transfer-Encoding: chunked\r\n" + LENGTH, BODY),
    "header in a bare carriage return": (b"X-A: b\rTransfer-Encoding: chunked\r\n" + LENGTH, BODY),
    "header with a null": (b"X-A: b\0c\r\n" + LENGTH, BODY),
    "header without a name": (b": b\r\n" + LENGTH, BODY),
    "second host": (b"Host: y\r\n" + LENGTH, BODY),
    "size with a sign": (CHUNKED, b"+1e\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "negative size": (CHUNKED, b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "size with 0x": (CHUNKED, b"0x1e\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "size that is too large to count": (CHUNKED, b"f" * 17 + b"\r\n" + BODY),
    "chunk longer than its size": (CHUNKED, b"4\r\n" + BODY + b"\r\n0\r\n\r\n"),
}
"""What may stand in no request."""


@pytest.mark.parametrize("name", REFUSED)
def test_two_readings_are_refused(front: Front, engine: Strict, name: str) -> None:
    headers, body = REFUSED[name]
    found = answers(exchange(front.port, post(headers, body + SECOND)))
    assert [answer.status for answer in found] == [400], found
    assert found[0].error["type"] == "invalid_request_error"
    assert not engine.asked


ONCE = {
    "bare line feeds": post(LENGTH, BODY).replace(b"\r", b""),
    "extension of a chunk": post(CHUNKED, b"1e;a=b;c\r\n%s\r\n0;d\r\nTrailer: x\r\n\r\n" % BODY),
    "line feeds between chunks": post(CHUNKED, b"1e\n%s\n0\n\n" % BODY),
    "sizes with zeros": post(CHUNKED, b"0000001E\r\n%s\r\n000\r\n\r\n" % BODY),
    "coding in capitals": post(b"TRANSFER-ENCODING:CHUNKED\r\n", CHUNKS),
    "name with an underscore": post(b"Transfer_Encoding: chunked\r\n" + LENGTH, BODY),
    "header without a colon": post(b"chunked\r\n" + LENGTH, BODY),
    "absolute address": post(LENGTH, BODY).replace(b" /v1", b" http://169.254.169.254/v1", 1),
    "more than the length": post(LENGTH, BODY),
}
"""What is read in one way alone."""


@pytest.mark.parametrize("name", ONCE)
def test_what_passes_is_written_anew(front: Front, engine: Strict, name: str) -> None:
    found = answers(exchange(front.port, ONCE[name] + SECOND))
    # The second is a request of its own, since the first ended before it.
    assert [answer.status for answer in found] == [200, 200], found
    assert found[1].body == b'{"status":"ok"}'
    (asked,) = engine.asked
    assert json.loads(asked.raw) == INSIDE
    assert asked.headers["content-length"] == str(len(asked.raw))
    assert not {"transfer-encoding", "transfer_encoding"} & set(asked.headers)
    assert asked.headers["host"] == f"127.0.0.1:{engine.port}"
    assert asked.path == "/v1/chat/completions"


@pytest.mark.parametrize("body", [b"", BODY, BODY * 3000])
@pytest.mark.parametrize("key", [b"", b"Authorization: Bearer sk-wrong\r\n"])
def test_who_has_no_key_smuggles_nothing_in_a_body(front: Front, engine: Strict, key: bytes, body: bytes) -> None:
    inner = body + post(LENGTH, BODY)
    length = b"Content-Length: %d\r\n" % len(inner)
    found = answers(exchange(front.port, post(length, inner + SECOND, key)))
    assert [answer.status for answer in found][:1] in ([401], [429])
    assert all(answer.status == 200 and answer.body == b'{"status":"ok"}' for answer in found[1:])
    assert not engine.asked


WIRE = {
    "nothing known": b"nonsense",
    "path with a null": b"GET /%00 HTTP/1.1\r\nHost: x",
    "path with a control character": b"GET /\x01 HTTP/1.1\r\nHost: x",
    "path that leaves the root": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x",
    "path with half a percent": b"GET /%zz HTTP/1.1\r\nHost: x",
    "no path": b"GET * HTTP/1.1\r\nHost: x",
    "address of another": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x",
    "small letters": b"get /healthz HTTP/1.1\r\nHost: x",
    "no host": b"GET /healthz HTTP/1.1",
    "bad host": b"GET /healthz HTTP/1.1\r\nHost: x/../y",
    "version of another protocol": b"GET /healthz HTTP/2.0\r\nHost: x",
    "version that is none": b"GET /healthz HTTP/9\r\nHost: x",
    "large header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 20_000,
    "many headers": b"GET /healthz HTTP/1.1\r\nHost: x" + b"\r\nX-A: b" * 9000,
    "more headers than are read": b"POST /v1/completions HTTP/1.1\r\nHost: x" + b"\r\nX-A: b" * 150,
}


@pytest.mark.parametrize("name", WIRE)
def test_what_is_no_request_is_refused_in_json(front: Front, engine: Strict, name: str) -> None:
    found = answers(exchange(front.port, WIRE[name] + b"\r\n" + KEY + b"Connection: close\r\n\r\n"))
    assert [answer.status for answer in found] == [400]
    assert found[0].error["type"] == "invalid_request_error"
    assert not engine.asked


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("CONNECT", 405),
        ("TRACE", 405),
        ("PROPFIND", 405),
        ("DELETE", 405),
        ("PATCH", 405),
        ("FOO", 405),
        ("OPTIONS", 405),
    ],
)
def test_other_methods(front: Front, engine: Strict, method: str, status: int) -> None:
    request = f"{method} /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + KEY + b"\r\n"
    (found,) = answers(exchange(front.port, request))
    assert found.status == status
    assert found.error["code"] == "method_not_allowed"
    assert not engine.asked


@pytest.mark.parametrize(
    "line",
    [
        "If-Match: x",
        "If-None-Match: *",
        "If-Modified-Since: Thu, 01 Jan 2032 00:00:00 GMT",
        "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT",
        "Range: bytes=0-3",
        "Expect: nonsense",
        "Upgrade: h2c",
        "Content-Encoding: gzip",
        "X-Original-URL: /health",
        "X-HTTP-Method-Override: DELETE",
        "TE: trailers, deflate",
        "Max-Forwards: 0",
    ],
)
def test_a_header_does_not_turn_an_answer_into_another(front: Front, engine: Strict, line: str) -> None:
    found = answers(exchange(front.port, post(f"{line}\r\nConnection: close\r\n".encode() + LENGTH, BODY)))
    assert [answer.status for answer in found] == [200], found
    assert json.loads(found[0].body)["object"] == "chat.completion"
    assert len(engine.asked) == 1


def test_what_callers_write_becomes_no_header(front: Front, engine: Strict) -> None:
    """Neither of an answer nor of an engine's request."""
    injected = "a%0d%0aX-Injected:%20yes"
    for path in (f"/v1/models/{injected}", f"/openai/deployments/{injected}/chat/completions", f"/{injected}"):
        method = b"POST" if "deployments" in path else b"GET"
        request = method + f" {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + KEY + LENGTH + b"\r\n"
        (found,) = answers(exchange(front.port, request + BODY))
        assert "x-injected" not in found.headers
        assert found.status in {200, 404}
    engine.asked.clear()
    body = json.dumps({"model": "tiny", "messages": [], "user": "a\r\nX-Injected: yes"}).encode()
    headers = (
        b"User-Agent: a\tb\r\nX-Request-ID: a b\r\nAccept: x\xff\r\nConnection: close\r\nContent-Length: %d\r\n"
        % len(body)
    )
    (found,) = answers(exchange(front.port, post(headers, body)))
    assert found.status == 200
    assert found.headers["x-request-id"] != "a b"
    (asked,) = engine.asked
    assert "x-injected" not in asked.headers


def test_a_name_that_is_no_text_is_answered_with_text(front: Front) -> None:
    for path in ("/v1/models/%ff%fe", "/openai/deployments/%c0%af/chat/completions"):
        method = b"POST" if "deployments" in path else b"GET"
        request = method + f" {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + KEY + LENGTH + b"\r\n"
        (found,) = answers(exchange(front.port, request + b'{"messages":[   ]}            '))
        assert found.status == 404
        assert "does not exist" in found.error["message"]


FORBIDDEN = {
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "connection": [("connection", "close")],
    "upgrade": [("upgrade", "h2c")],
    "te": [("te", "gzip")],
    "keep-alive": [("keep-alive", "1")],
    "line break in a value": [("x-a", "b\r\ntransfer-encoding: chunked")],
    "line break in a name": [("x-a: b\r\nx-b", "c")],
    "null in a value": [("x-a", "b\0c")],
    "colon in a name": [("x:a", "b")],
    "capitals": [("X-A", "b")],
    "wrong length": [("content-length", "3")],
    "two lengths": [("content-length", "30"), ("content-length", "31")],
    "second host": [("host", "y")],
    "pseudo-header at the end": [(":path", "/v1/models")],
    "unknown pseudo-header": [(":other", "x")],
}
"""What HTTP/2 forbids, and what would be another request were it written as HTTP/1.1."""


@pytest.mark.parametrize("name", FORBIDDEN)
def test_http2_brings_no_second_request_along(front: Front, engine: Strict, name: str) -> None:
    config = h2.config.H2Configuration(
        client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
    )
    client = h2.connection.H2Connection(config)
    client.initiate_connection()
    first = [(":method", "POST"), (":path", "/v1/chat/completions"), (":scheme", "https"), (":authority", "x")]
    client.send_headers(1, [*first, ("authorization", f"Bearer {KEYS['open']}"), *FORBIDDEN[name]])
    client.send_data(1, BODY, end_stream=True)
    statuses = []
    with connection(front.port, 10, "h2") as stream:
        stream.sendall(client.data_to_send())
        over = False
        while not over and (piece := stream.recv(65536)):
            for event in client.receive_data(piece):
                if isinstance(event, h2.events.ResponseReceived):
                    statuses.append(int(dict(event.headers)[":status"]))
                over = over or isinstance(
                    event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated
                )
            stream.sendall(client.data_to_send())
    assert statuses in ([], [400], [200]), statuses
    assert len(engine.asked) == (statuses == [200])
    for asked in engine.asked:
        assert json.loads(asked.raw) == INSIDE
        assert asked.headers["content-length"] == str(len(asked.raw))
        assert not {"transfer-encoding", "upgrade", "x-b"} & set(asked.headers)

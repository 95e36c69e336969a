"""The acceptance layer's client, against a real HTTP server on loopback: what counts as success, and what each failure says."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.unit.roles.loading import load

stream_completion = load("library/stream_completion.py")

KEY = "canary-0123456789abcdef"


def chunk(content: str | None) -> bytes:
    return b"data: " + json.dumps({"model": "m", "choices": [{"delta": {"content": content}}]}).encode() + b"\n\n"


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(url: str, **changes: object):
    given = {"url": url, "model": "m", "prompt": "x", "max_tokens": 8, "timeout": 5, "key": KEY, **changes}
    return stream_completion.measure(stream_completion.Request(**given))


def streams(*pieces: bytes, gap: float = 0.0) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for piece in pieces:
            time.sleep(gap)
            handler.wfile.write(piece)
            handler.wfile.flush()

    return answer


def fails(status: int, body: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body.encode())

    return answer


def test_counts_tokens_and_times_them() -> None:
    with served(streams(chunk(None), *(chunk("a") for _ in range(5)), b"data: [DONE]\n\n", gap=0.02)) as url:
        figures = ask(url)
    assert figures["deltas"] == 5
    assert figures["model"] == "m"
    assert figures["ttft_ms"] >= 40  # two gaps
    assert 10 < figures["tokens_per_second"] <= 51


def test_sends_the_key_and_asks_for_a_stream() -> None:
    seen: dict[str, str] = {}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.update(authorization=handler.headers["Authorization"], path=handler.path)
        streams(chunk("a"))(handler)

    with served(answer) as url:
        ask(url)
    assert seen == {"authorization": f"Bearer {KEY}", "path": "/v1/chat/completions"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (streams(), "answered, but no token came"),
        (streams(chunk(None), chunk(""), b"data: [DONE]\n\n"), "answered, but no token came"),
        (
            streams(chunk("a"), b'data: {"error": {"message": "engine died"}}\n\n'),
            "ended in an error: {'message': 'engine died'}",
        ),
        (fails(401, '{"error": "wrong"}'), 'answered 401: {"error": "wrong"}; the gateway doesn\'t know this key'),
        (fails(502, "bad gateway"), "answered 502: bad gateway; the front doesn't reach the gateway"),
        (fails(500, f"key {KEY} broke it"), "answered 500: key [key] broke it"),
    ],
)
def test_failures_say_what_and_where_to_look(answer: Callable[[BaseHTTPRequestHandler], None], expected: str) -> None:
    with served(answer) as url, pytest.raises(stream_completion.CompletionError) as failed:
        ask(url)
    assert expected in str(failed.value)
    assert KEY not in str(failed.value)


def test_closed_port() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(stream_completion.CompletionError, match=r"no connection .*refused"):
        ask(f"http://127.0.0.1:{port}/v1")


def test_silence_is_a_timeout() -> None:
    release = threading.Event()
    with served(lambda _: bool(release.wait(10))) as url:
        try:
            with pytest.raises(stream_completion.CompletionError, match=r"no complete answer within 0\.3 s"):
                ask(url, timeout=0.3)
        finally:
            release.set()


def test_plain_text_where_tls_is_wanted() -> None:
    with served(streams(chunk("a"))) as url, pytest.raises(stream_completion.CompletionError, match="is not trusted"):
        ask(url.replace("http:", "https:"))

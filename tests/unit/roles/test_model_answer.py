"""The acceptance layer's client, against a real HTTP server on loopback: what counts as an answer, and what each failure says."""

import io
import json
import socket
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.unit.roles.loading import load

answer = load("library/model_answer.py")

KEY = "canary-0123456789abcdef"


def chunk(content: str | None) -> bytes:
    return b"data: " + json.dumps({"model": "m", "choices": [{"delta": {"content": content}}]}).encode() + b"\n\n"


@contextmanager
def served(reply: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.body = self.rfile.read(int(self.headers["Content-Length"]))
            reply(self)

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


def ask(url: str, **changes: object) -> dict[str, Any]:
    given = {"url": url, "model": "m", "prompt": "x", "max_tokens": 8, "timeout": 5, "key": KEY, **changes}
    return answer.measure(answer.Request(**given))


def streams(*pieces: bytes, gap: float = 0.0) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for piece in pieces:
            time.sleep(gap)
            handler.wfile.write(piece)
            handler.wfile.flush()

    return reply


def fails(status: int, body: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body.encode())

    return reply


def test_counts_tokens_and_times_them() -> None:
    with served(streams(chunk(None), *(chunk("a") for _ in range(5)), b"data: [DONE]\n\n", gap=0.02)) as url:
        figures = ask(url)
    assert figures["deltas"] == 5
    assert figures["ttft_ms"] >= 40  # two gaps
    assert 0 < figures["tokens_per_second"] <= 51


@pytest.mark.parametrize("asks", [1, answer.ASKS, 5])
def test_asks_so_often_and_measures_the_last_answer(asks: int) -> None:
    """The gateway's limit for acceptance counts on it."""
    seen: list[str] = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.path)
        streams(*(chunk("a") for _ in seen))(handler)

    with served(reply) as url:
        request = answer.Request(url=url, model="m", prompt="x", max_tokens=8, timeout=5)
        assert answer.last(request, asks)["deltas"] == asks
    assert len(seen) == asks


@pytest.mark.parametrize(
    ("refusals", "retry_after", "waited"),
    [(1, "17", [17.0]), (2, "17", [17.0]), (1, "3600", []), (1, "soon", []), (1, None, [])],
)
def test_waits_once_for_the_next_minute(
    monkeypatch: pytest.MonkeyPatch, refusals: int, retry_after: str | None, waited: list[float]
) -> None:
    slept: list[float] = []
    seen: list[int] = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        seen.append(200 if len(seen) >= refusals else 429)
        handler.send_response(seen[-1])
        if seen[-1] == 429 and retry_after is not None:
            handler.send_header("Retry-After", retry_after)
        handler.end_headers()
        handler.wfile.write(chunk("a") if seen[-1] == 200 else b"its 8 requests per minute")

    with served(reply) as url:
        request = answer.Request(url=url, model="m", prompt="x", max_tokens=8, timeout=5)
        monkeypatch.setattr(answer.time, "sleep", slept.append)
        if refusals == 1 and waited:
            assert answer.last(request, 2)["deltas"] == 1
            assert seen == [429, 200, 200]
        else:
            with pytest.raises(answer.AnswerError, match="its 8 requests per minute; the team's limit is reached"):
                answer.last(request, 2)
            assert seen == [429] * (1 + len(waited))
    assert slept == waited


def test_sends_the_key_and_asks_for_a_stream() -> None:
    seen: dict[str, str] = {}

    def reply(handler: BaseHTTPRequestHandler) -> None:
        seen.update(authorization=handler.headers["Authorization"], path=handler.path)
        streams(chunk("a"))(handler)

    with served(reply) as url:
        ask(url)
    assert seen == {"authorization": f"Bearer {KEY}", "path": "/v1/chat/completions"}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (streams(), "answered, but no token came"),
        (streams(chunk(None), chunk(""), b"data: [DONE]\n\n"), "answered, but no token came"),
        (
            streams(chunk("a"), b'data: {"error": {"message": "engine died"}}\n\n'),
            "ended in an error: {'message': 'engine died'}",
        ),
        (fails(401, '{"error": "wrong"}'), 'answered 401: {"error": "wrong"}; the gateway doesn\'t know this key'),
        (fails(502, "bad gateway"), "answered 502: bad gateway; the front doesn't reach the gateway, or"),
        (fails(403, "no"), "answered 403: no; the key may not use this model: look at the models of its team"),
        (fails(404, "no"), "answered 404: no; the gateway doesn't know the model, or its engine doesn't do that task"),
        (fails(429, "no"), "the team's limit is reached"),
        (fails(500, f"key {KEY} broke it"), "answered 500: key [key] broke it"),
    ],
)
def test_failures_say_what_and_where_to_look(reply: Callable[[BaseHTTPRequestHandler], None], expected: str) -> None:
    with served(reply) as url, pytest.raises(answer.AnswerError) as failed:
        ask(url)
    assert str(failed.value).startswith(f"model m at {url}: ")
    assert expected in str(failed.value)
    assert KEY not in str(failed.value)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "look at journalctl -u slipway-g.service -u slipway-p.service"),
        (404, "look at journalctl -u slipway-g.service -u slipway-p.service"),
        (502, "the front doesn't reach the private teams' gateway, or the private teams' gateway the engine"),
        (504, "the front doesn't reach the private teams' gateway, or the private teams' gateway the engine"),
    ],
)
def test_a_failure_of_the_private_teams_gateway_names_it(status: int, expected: str) -> None:
    with served(fails(status, "no")) as url, pytest.raises(answer.AnswerError) as failed:
        ask(url, gateway_unit="slipway-g.service", private_gateway="slipway-p.service")
    said = str(failed.value)
    assert said.startswith(
        f"model m at {url}, asked as a private team through slipway-p.service: answered {status}: no; "
    )
    assert expected in said


@pytest.mark.parametrize(
    ("reply", "unit"),
    [
        (fails(401, "no"), "the-gateway.service"),
        (fails(404, "no"), "the-gateway.service"),
        (lambda handler: handler.connection.close(), "the-front.service"),
    ],
)
def test_failures_name_the_unit_to_look_at(reply: Callable[[BaseHTTPRequestHandler], None], unit: str) -> None:
    with served(reply) as url, pytest.raises(answer.AnswerError) as failed:
        ask(url, front_unit="the-front.service", gateway_unit="the-gateway.service")
    assert str(failed.value).endswith(f"look at journalctl -u {unit}")
    with served(reply) as url, pytest.raises(answer.AnswerError) as failed:
        ask(url)
    assert str(failed.value).endswith("look at journalctl -u 'slipway-*'")


def test_what_a_fall_back_answers_proves_nothing() -> None:
    def by(name: str) -> Callable[[BaseHTTPRequestHandler], None]:
        def reply(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("x-slipway-model", name)
            handler.end_headers()
            handler.wfile.write(chunk("a") + b"data: [DONE]\n\n")

        return reply

    with served(by("m")) as url:
        assert ask(url)["deltas"] == 1
    with served(by("gpt-5-mini")) as url, pytest.raises(answer.AnswerError) as failure:
        ask(url)
    assert str(failure.value).endswith(
        "gpt-5-mini answered in its place; its own engine answers nobody: look at journalctl -u 'slipway-*'"
    )


def test_closed_port() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(answer.AnswerError, match=r"no connection .*refused"):
        ask(f"http://127.0.0.1:{port}/v1")


def test_silence_is_a_timeout() -> None:
    release = threading.Event()
    with served(lambda _: bool(release.wait(10))) as url:
        try:
            with pytest.raises(answer.AnswerError, match=r"no complete answer within 0\.3 s"):
                ask(url, timeout=0.3)
        finally:
            release.set()


def test_plain_text_where_tls_is_wanted() -> None:
    with served(streams(chunk("a"))) as url, pytest.raises(answer.AnswerError, match="is not trusted"):
        ask(url.replace("http:", "https:"))


# The other tasks


def gives(document: object) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(json.dumps(document).encode())

    return reply


def vectors(*given: object) -> Callable[[BaseHTTPRequestHandler], None]:
    return gives({"data": [{"embedding": vector, "index": index} for index, vector in enumerate(given)]})


def scores(*given: tuple[int, object]) -> Callable[[BaseHTTPRequestHandler], None]:
    return gives({"results": [{"index": index, "relevance_score": score} for index, score in given]})


def test_a_completion_streams_texts() -> None:
    seen: list[Any] = []

    def reply(handler: Any) -> None:
        seen.append((handler.path, json.loads(handler.body)))
        streams(*(b'data: {"choices": [{"text": "a"}]}\n\n' for _ in range(3)), b"data: [DONE]\n\n")(handler)

    with served(reply) as url:
        assert ask(url, task="completion")["deltas"] == 3
    assert seen == [("/v1/completions", {"model": "m", "prompt": "x", "max_tokens": 8, "stream": True})]


def test_a_model_that_only_thinks_has_answered() -> None:
    with served(streams(b'data: {"choices": [{"delta": {"reasoning": "hm"}}]}\n\n')) as url:
        assert ask(url)["deltas"] == 1


def test_two_texts_are_embedded() -> None:
    with served(vectors([0.5, 0.0, 0.5], [0.0, 1, 0.0])) as url:
        figures = ask(url, task="embedding")
    assert figures["dimensions"] == 3
    assert figures.keys() == {"latency_ms", "dimensions"}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (vectors([1.0]), "1 vectors came for 2 texts"),
        (gives({"object": "list"}), "0 vectors came for 2 texts"),
        (gives([1]), "0 vectors came for 2 texts"),
        (vectors([1.0], []), "a vector is empty or holds what is no finite number"),
        (vectors([1.0], [float("nan")]), "a vector is empty or holds what is no finite number"),
        (vectors([1.0], ["1"]), "a vector is empty or holds what is no finite number"),
        (vectors([1.0, 2.0], [1.0]), "the vectors of two texts have 2 and 1 dimensions"),
        (vectors([1.0, 2.0], [0.0, 0.0]), "a vector is all zero"),
        (vectors([1.0, 2.0], [1.0, 2.0]), "the vectors of two different texts are the same"),
        (fails(200, "<html>"), "answered 200 with what is no JSON: <html>"),
    ],
)
def test_what_is_no_embedding(reply: Callable[[BaseHTTPRequestHandler], None], expected: str) -> None:
    with served(reply) as url, pytest.raises(answer.AnswerError) as failed:
        ask(url, task="embedding")
    assert expected in str(failed.value)
    assert str(failed.value).startswith(f"model m at {url}: answered")


def test_three_documents_are_ranked() -> None:
    seen: list[Any] = []

    def reply(handler: Any) -> None:
        seen.append((handler.path, json.loads(handler.body)))
        scores((2, 0.1), (0, 0.9), (1, -3))(handler)

    with served(reply) as url:
        assert ask(url, task="rerank").keys() == {"latency_ms"}
    assert seen == [("/v1/rerank", {"model": "m", "query": "x", "documents": list(answer.DOCUMENTS)})]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (scores((0, 1.0), (1, 1.0)), "not one score for each of 3 documents came"),
        (scores((0, 1.0), (1, 1.0), (1, 1.0)), "not one score for each of 3 documents came"),
        (gives({}), "not one score for each of 3 documents came"),
        (scores((0, 1.0), (1, 1.0), (2, float("inf"))), "a score is no finite number"),
        (scores((0, 1.0), (1, 1.0), (2, None)), "a score is no finite number"),
    ],
)
def test_what_is_no_ranking(reply: Callable[[BaseHTTPRequestHandler], None], expected: str) -> None:
    with served(reply) as url, pytest.raises(answer.AnswerError) as failed:
        ask(url, task="rerank")
    assert f"{expected}; a health check would not have noticed: is it a model for the task rerank?" in str(failed.value)


def test_a_tone_is_transcribed() -> None:
    seen: list[Any] = []

    def reply(handler: Any) -> None:
        seen.append((handler.path, handler.headers["Content-Type"], handler.body))
        gives({"text": ""})(handler)

    with served(reply) as url:
        assert ask(url, task="transcription").keys() == {"latency_ms"}
        with served(gives({"error": "x"})) as other, pytest.raises(answer.AnswerError, match="but no text came"):
            ask(other, task="transcription")
    path, content_type, body = seen[0]
    assert path == "/v1/audio/transcriptions"
    boundary = content_type.partition("boundary=")[2].encode()
    parts = body.split(b"--" + boundary)
    assert len(parts) == 4
    assert parts[1].endswith(b'name="model"\r\n\r\nm\r\n')
    assert parts[3] == b"--\r\n"
    with wave.open(io.BytesIO(parts[2].partition(b"\r\n\r\n")[2])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16000, 1, 16000)

"""The front in the real nginx, in front of stand-ins for engines and for the gateway."""

import contextlib
import json
import math
import os
import re
import signal
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.integration.asking import CANARY, GENERATING, HELLO, TEXT, until, words
from tests.integration.backend_double import WORDS, Double
from tests.integration.front import Front, backend, hashed, model, peer, team
from tests.integration.gateway import KEYS

ALL = ("chat", "completions", "embeddings", "rerank", "responses", "messages", "tokenize")
OTHERS: dict[str, dict[str, Any]] = {
    "/v1/messages/count_tokens": {"messages": HELLO},
    "/v1/embeddings": {"input": CANARY, "encoding_format": "base64"},
    "/v1/rerank": {"query": CANARY, "documents": ["a", "b"]},
    "/rerank": {"query": CANARY, "documents": ["a", "b"]},
    "/tokenize": {"prompt": CANARY},
    "/detokenize": {"tokens": [1]},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        gateway = nobody.getsockname()
    front = Front(tmp_path_factory.mktemp("front") / "nginx", gateway=gateway)
    front.start()
    try:
        front.wait()
        yield front
        assert CANARY not in front.journal
        assert not [secret for secret in [*KEYS.values(), "sk-backend"] if secret in front.journal]
        # What callers and backends do is told, and nothing else.
        known = ("is refused", "client intended to send too large body", "recv() failed (104", "send() failed (")
        said = [line for line in front.journal.splitlines() if "[error]" in line]
        assert [line for line in said if not any(words in line for words in known)] == []
    finally:
        front.close()


def test_it_serves_where_new_code_is_forbidden(tmp_path: Path, make: Callable[..., Double]) -> None:
    """`front.lua_compiler: false`."""
    front = Front(tmp_path / "nginx", compiles=False)
    front.start()
    try:
        front.wait()
        front.serve(team("open"), models={"tiny": model(backend("tiny", make("engine").url, native=ALL))})
        assert [front.chat("tiny").status_code for _ in range(200)] == [200] * 200
        assert " exited on signal" not in front.journal
    finally:
        front.close()


@pytest.fixture
def engine(make: Callable[..., Double]) -> Double:
    return make("engine")


@pytest.fixture
def front(running: Front, engine: Double) -> Front:
    """The model tiny, also called default, on one engine; teams open, narrow (tiny only) and private."""
    running.serve(
        team("open"),
        team("narrow", models=["tiny"]),
        team("private", private=True),
        models={"tiny": model(backend("tiny", engine.url, native=ALL))},
        aliases={"default": "tiny"},
    )
    return running


def error(response: httpx.Response) -> dict[str, Any]:
    found = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert response.headers["content-type"] == "application/json"
    return found


# Who calls, and what


def in_reserve(first: Double, second: Double) -> dict[str, Any]:
    """Model "tiny" on two engines, of which the second is asked where the first is not well."""
    return {
        "tiny": model(
            backend("tiny", first.url, native=ALL, weight=1, group="first"),
            backend("tiny", second.url, native=ALL, weight=0, group="second"),
        )
    }


def health(front: Front, engine: Double) -> str:
    """What the front takes an engine of model "tiny" to be."""
    return str(front.state()["backends"][f"tiny@{engine.port}"]["state"])


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer x"}, {"authorization": KEYS["open"]}, {"x-api-key": "x"}]
)
def test_who_has_no_key_gets_nothing(front: Front, engine: Double, headers: dict[str, str]) -> None:
    for path in (*GENERATING, *OTHERS, "/v1/models"):
        response = front.client.request("GET" if "models" in path else "POST", front.url + path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        if "messages" in path:
            assert response.json()["error"]["type"] == "authentication_error"
        else:
            assert error(response)["code"] == "invalid_api_key"
    assert not engine.asked


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEYS['open']}"},
        {"authorization": f"BEARER  {KEYS['open']}"},
        {"x-api-key": KEYS["open"]},
        {"api-key": KEYS["open"]},
    ],
)
def test_a_key_counts_in_every_header_that_clients_use(front: Front, headers: dict[str, str]) -> None:
    body = {"model": "tiny", "messages": HELLO}
    assert front.client.post(front.url + "/v1/chat/completions", json=body, headers=headers).status_code == 200


def test_created_keys_are_found_by_their_id_and_end(front: Front, engine: Double) -> None:
    current, old, ends = "sk-abcd1234-" + "s" * 32, "sk-abcd1235-" + "t" * 32, "sk-abcd1236-" + "u" * 32
    now = time.time()
    keys = [
        hashed(current, id="abcd1234", not_after=now + 1000),
        hashed(old, id="abcd1235", not_after=now - 1),
        hashed(ends, id="abcd1236"),
    ]
    gone = team("gone", not_after=now - 1)
    models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
    front.serve(team("open", keys=keys), gone, models=models)

    def status(key: str) -> int:
        return front.client.get(front.url + "/v1/models", headers={"authorization": f"Bearer {key}"}).status_code

    assert [status(key) for key in (current, old, ends, "sk-key-of-gone-0123456789")] == [200, 401, 200, 401]
    # With another key's id, or another's secret under this id, it is no key.
    assert [status("sk-abcd1236-" + "s" * 32), status("sk-abcd9999-" + "s" * 32), status(current[:-1])] == [401] * 3
    front.serve(team("open", keys=keys[:2]), models=models)
    assert [status(current), status(ends)] == [200, 401]


def test_a_key_that_goes_cuts_no_stream(front: Front, engine: Double) -> None:
    engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        stream = pool.submit(front.chat, "tiny", stream=True)
        until(lambda: bool(engine.asked))
        front.serve(team("narrow"), models={"tiny": model(backend("tiny", engine.url, native=ALL))})
        assert front.chat("tiny").status_code == 401
        engine.go_on.set()
        assert words(stream.result()) == TEXT


def test_wrong_keys_of_one_address_are_told_to_stop_and_good_ones_pass(front: Front) -> None:
    # They count in the clock's minute, which may end meanwhile; other tests have sent some, too.
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: front.ask("/tokenize", "nobody", model="tiny"), range(400)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {401, 429}
    assert front.chat("tiny").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("POST", "/v1/chat/completion", 404, "unknown_url"),
        ("POST", "/v1/../health", 404, "unknown_url"),
        ("GET", "/.slipway/500", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("PUT", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/tiny", 405, "method_not_allowed"),
        ("POST", "/v1/chat/completions?api_key=x", 400, "unknown_query"),
        ("POST", "/v1/chat/completions?api-version=2024-10-21&key=x", 400, "unknown_query"),
        ("GET", "/v1/models/other", 404, "model_not_found"),
    ],
)
def test_what_is_not_served(  # noqa: PLR0917 -- a table
    front: Front, engine: Double, method: str, path: str, status: int, code: str
) -> None:
    headers = {"authorization": f"Bearer {KEYS['open']}"}
    response = front.client.request(method, front.url + path, headers=headers)
    assert (response.status_code, error(response)["code"]) == (status, code)
    assert not engine.asked


@pytest.mark.parametrize("args", ["?api-version=2024-10-21", "?beta=true", "?"])
def test_what_clients_add_to_the_url_by_habit_passes(front: Front, engine: Double, args: str) -> None:
    response = front.ask("/v1/chat/completions" + args, model="tiny", messages=HELLO)
    assert response.status_code == 200
    assert engine.asked[-1].path == "/v1/chat/completions"


def test_a_blank_after_a_key_is_none_of_it(front: Front) -> None:
    key = f"Authorization: Bearer {KEYS['open']}\t"
    found = raw(front, f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{key}\r\n\r\n".encode())
    assert found.startswith(b"HTTP/1.1 200 OK")


def test_azures_client(front: Front, engine: Double) -> None:
    with httpx.Client(verify=False) as plain:  # noqa: S501
        client = openai.AzureOpenAI(
            azure_endpoint=front.url, api_key=KEYS["open"], api_version="2024-10-21", http_client=plain, max_retries=0
        )
        answer = client.chat.completions.create(model="default", messages=[{"role": "user", "content": "x"}])
        assert answer.choices[0].message.content == TEXT
    assert engine.asked[-1].body["model"] == "tiny-inside"


def connected(front: Front, timeout_s: float = 10) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", front.port), timeout=timeout_s))


def raw(front: Front, request: bytes, timeout_s: float = 10) -> bytes:
    """What the front answers to these bytes, until it closes or falls silent."""
    with connected(front, timeout_s) as stream:
        stream.sendall(request)
        found = b""
        while b"\r\n\r\n" not in found or (b'"code"' not in found and b"200 OK" not in found):
            piece = stream.recv(65536)
            if not piece:
                break
            found += piece
        return found


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
        (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 20000 + b"\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413, "request_too_large"),
        (
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            "bad_request",
        ),
        (b"nonsense\r\n\r\n", 400, "bad_request"),
    ],
)
def test_what_is_no_request_is_answered_in_json(front: Front, request_: bytes, status: int, code: str) -> None:
    head, _, body = raw(front, request_).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
    assert json.loads(body)["error"]["code"] == code


@pytest.mark.parametrize("expects", [False, True])
def test_who_brings_no_key_is_refused_before_the_body_is_sent(front: Front, expects: bool) -> None:
    """The body that the headers promise never comes, and is not asked for."""
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
    answer = raw(front, head + (b"Expect: 100-continue\r\n" if expects else b"") + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 401 "), answer


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"null", "invalid_json"),
        (b'"a"', "invalid_json"),
        (b'{"model":"tiny"', "invalid_json"),
        (b'{"model":"tiny"}}', "invalid_json"),
        (b'{"model":"tiny","model":"other"}', "invalid_json"),
        (b'{"model":"tiny","mod\\u0065l":"other"}', "invalid_json"),
        (b'{"model":' + b"[" * 100_000 + b"}", "invalid_json"),
        (b'{"messages":[]}', "missing_model"),
        (b'{"model":null}', "missing_model"),
        (b'{"model":["tiny"]}', "missing_model"),
        (b'{"model":""}', "missing_model"),
        (b'{"model":"tiny,tiny"}', "model_not_found"),
        (b'{"model":"tiny-inside"}', "model_not_found"),
        (b'{"model":"tiny","stream":"yes"}', "invalid_type"),
        (b'{"model":"tiny","stream":true,"stream_options":[1,}', "invalid_json"),
        (b'{"model":"tiny","stream":true,"stream_options":1}', "invalid_type"),
        (b'{"model":"tiny","n":100000}', "invalid_value"),
        (b'{"model":"tiny","structured_outputs":"x"}', "invalid_type"),
        (b'{"model":"tiny","response_format":["json"]}', "invalid_type"),
        (b'{"model":"tiny","n":"100"}', "invalid_type"),
        (b'{"model":"tiny","max_tokens":"100"}', "invalid_type"),
        (b'{"model":"tiny","base_url":"http://x"}', "unknown_parameter"),
        (b'{"model":"tiny","api_base":"http://x"}', "unknown_parameter"),
        (b'{"model":"tiny","timeout":1}', "unknown_parameter"),
        (b'{"model":"tiny","num_retries":9}', "unknown_parameter"),
        (b'{"model":"tiny","fallbacks":["x"]}', "unknown_parameter"),
        (b'{"model":"tiny","custom_llm_provider":"openai"}', "unknown_parameter"),
        (b'{"model":"tiny","user_config":{}}', "unknown_parameter"),
        (b'{"model":"tiny","input_cost_per_token":0}', "unknown_parameter"),
        (b'{"model":"tiny","chat_template":"x"}', "unknown_parameter"),
    ],
)
def test_a_callers_mistake_reaches_no_engine(front: Front, engine: Double, body: bytes, code: str) -> None:
    headers = {"authorization": f"Bearer {KEYS['open']}", "content-type": "application/json"}
    response = front.client.post(front.url + "/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == (404 if code == "model_not_found" else 400), response.text
    assert error(response)["code"] == code
    assert not engine.asked


@pytest.mark.parametrize("user", ["", "a\\", '"', 'a"b', '\\"', "\\\\", '\\\\"', '"\\', "}", "é\n"])
@pytest.mark.parametrize("name", ["tiny", "ti\\u006ey"])
def test_a_text_ends_where_its_quote_does(front: Front, engine: Double, user: str, name: str) -> None:
    """Backslashes before a quote are counted; a name may be written in another way."""
    front.serve(models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    body = f'{{"user":{json.dumps(user)},"model":"{name}","max_tokens":3}}'
    headers = {"authorization": f"Bearer {KEYS['open']}", "content-type": "application/json"}
    url = front.url + "/v1/chat/completions"
    assert front.client.post(url, content=body, headers=headers).is_success
    asked = engine.asked[-1].body
    assert (asked["user"], asked["model"], asked["max_tokens"]) == (user, "tiny-inside", 3)
    # One backslash more makes the quote a part of the text, which never ends then.
    open_ = body[: body.index(',"model"') - 1] + '\\"}'
    assert error(front.client.post(url, content=open_, headers=headers))["code"] == "invalid_json"


def test_a_sites_own_fields_pass(front: Front, engine: Double) -> None:
    models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
    front.serve(models=models, extra_fields={"/v1/chat/completions": ["chat_template"]})
    assert front.chat("tiny", chat_template="x").status_code == 200
    assert engine.asked[-1].body["chat_template"] == "x"
    assert front.ask("/v1/completions", model="tiny", prompt="x", chat_template="x").status_code == 400


def test_models_are_listed_for_the_team(front: Front, engine: Double) -> None:
    def listed(who: str) -> list[str]:
        response = front.client.get(front.url + "/v1/models", headers={"authorization": f"Bearer {KEYS[who]}"})
        return [entry["id"] for entry in response.json()["data"]]

    front.serve(
        team("open"),
        team("narrow", models=["tiny"]),
        team("private", private=True),
        models={"tiny": model(backend("tiny", engine.url, native=ALL)), "cloud": model(provided=True)},
        aliases={"default": "tiny"},
    )
    assert listed("open") == ["cloud", "default", "tiny"]
    assert listed("narrow") == ["default", "tiny"]
    assert listed("private") == ["default", "tiny"]
    headers = {"authorization": f"Bearer {KEYS['open']}"}
    one = front.client.get(front.url + "/v1/models/default", headers=headers).json()
    assert (one["id"], one["root"], one["context_window"]) == ("default", "tiny", 4096)
    assert [front.chat("cloud", who).status_code for who in ("narrow", "private")] == [403, 403]
    front.serve(models={})
    assert front.client.get(front.url + "/v1/models", headers=headers).json()["data"] == []


# What comes back


@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize("asked", ["tiny", "default"])
def test_an_answer_comes_as_the_engine_gave_it(front: Front, engine: Double, path: str, asked: str) -> None:
    response = front.ask(path, model=asked, **GENERATING[path])
    assert response.status_code == 200
    assert TEXT in response.text
    assert response.headers["x-slipway-model"] == "tiny"
    (request,) = engine.asked
    assert (request.path, request.body["model"]) == (path, "tiny-inside")
    assert request.headers["authorization"] == "Bearer sk-backend"
    assert "x-api-key" not in request.headers
    until(lambda: front.usage[-1]["request"] == response.headers["x-request-id"])
    record = front.usage[-1]
    assert (record["team"], record["model"], record["in"], record["out"]) == ("open", "tiny", 5, 4)


@pytest.mark.parametrize("path", OTHERS)
def test_what_generates_nothing_passes_too(front: Front, engine: Double, path: str) -> None:
    task = "embedding" if "embed" in path else "rerank" if "rank" in path else "chat"
    front.serve(team("open"), models={"tiny": model(backend("tiny", engine.url, native=ALL), task=task)})
    response = front.ask(path, model="tiny", **OTHERS[path])
    assert response.status_code == 200, response.text
    assert engine.asked[-1].path == path
    if path == "/v1/embeddings":
        assert response.json()["data"][0]["embedding"] == "AACAPwAAAEA="


@pytest.mark.parametrize("path", GENERATING)
def test_a_stream_passes_piece_by_piece(front: Front, engine: Double, path: str) -> None:
    engine.pace_s = 0.3
    arrived, text = [], ""
    headers = {"authorization": f"Bearer {KEYS['open']}"}
    body = {"model": "tiny", "stream": True, **GENERATING[path]}
    with front.client.stream("POST", front.url + path, json=body, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for piece in response.iter_text():
            arrived.append(time.monotonic())
            text += piece
    assert arrived[-1] - arrived[0] > 0.8
    assert len(arrived) >= 4
    assert all(word in text for word in WORDS)
    until(lambda: bool(front.usage) and front.usage[-1]["path"] == path and front.usage[-1]["stream"])
    assert (front.usage[-1]["in"], front.usage[-1]["out"]) == (5, 4)


def test_a_client_gets_one_piece_of_a_tool_call_at_a_time(front: Front, engine: Double) -> None:
    """vLLM sends several in one event, of which clients make calls of their own (OpenAI's for Python did until its release 3)."""
    first = {"id": "a", "type": "function", "function": {"name": "weather"}}
    second = {"id": "b", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    engine.words = (
        {
            "tool_calls": [
                {"index": 0, **first},
                {"index": 0, "function": {"arguments": '{"city": '}},
                {"index": 0, "function": {"arguments": '"[\\"Ås'}},
                {"index": 1, **second},
            ],
            "empty": [],
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": 'lo/]"}'}}]},
        {"content": 'It is called "tool_calls": ["'},
    )
    lines = [line[6:] for line in front.chat("tiny", stream=True).text.splitlines() if line.startswith("data: {")]
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines]
    begun = {"index": 0, **first, "function": {"name": "weather", "arguments": '{"city": "[\\"Ås'}}
    assert deltas[0] == {"tool_calls": [begun, {"index": 1, **second}], "empty": []}
    assert deltas[1:] == list(engine.words[1:])


@pytest.mark.parametrize("wanted", [None, True, False])
def test_usage_is_told_to_those_who_ask_for_it(front: Front, engine: Double, wanted: bool | None) -> None:
    more = {} if wanted is None else {"stream_options": {"include_usage": wanted}}
    response = front.chat("tiny", stream=True, **more)
    assert words(response) == TEXT
    assert ('"usage": {' in response.text) == (wanted is True)
    assert engine.asked[-1].body["stream_options"] == {"include_usage": True}


def test_large_bodies_pass_unchanged(front: Front, engine: Double) -> None:
    image = "data:image/png;base64," + "A" * 24_000_000
    content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": 'a"\\"b{[,"model":"x"'}]
    sent = {"messages": [{"role": "user", "content": content}], "seed": 12345678901234567, "stop": [], "logit_bias": {}}
    assert front.ask("/v1/chat/completions", model="tiny", **sent).is_success
    assert {**engine.asked[-1].body, "model": None} == {**sent, "model": None}
    over = {"model": "tiny", "messages": [{"role": "user", "content": "A" * 68_000_000}]}
    response = front.client.post(
        front.url + "/v1/chat/completions", json=over, headers={"authorization": f"Bearer {KEYS['open']}"}
    )
    assert (response.status_code, error(response)["code"]) == (413, "request_too_large")


def test_who_leaves_has_the_generation_ended(front: Front, engine: Double) -> None:
    engine.go_on.clear()
    headers = {"authorization": f"Bearer {KEYS['open']}"}
    body = {"model": "tiny", "stream": True, "messages": HELLO}
    with front.client.stream("POST", front.url + "/v1/chat/completions", json=body, headers=headers) as response:
        next(response.iter_text())
    engine.go_on.set()
    engine.pace_s = 0.05
    assert engine.left.wait(10)
    engine.left.clear()
    engine.mode = "hang"
    with pytest.raises(httpx.ReadTimeout):
        front.client.post(
            front.url + "/v1/chat/completions", json={**body, "stream": False}, headers=headers, timeout=0.5
        )
    until(lambda: front.state()["backends"][f"tiny@{engine.port}"]["requests"] == 0)
    until(lambda: front.usage and front.usage[-1]["status"] == 499)


@pytest.mark.parametrize("pause_s", [None, 0, 0.2], ids=["together", "at-once", "later"])
def test_who_leaves_is_seen_whenever_the_body_came(front: Front, engine: Double, pause_s: float | None) -> None:
    """Many clients send headers and body apart from each other."""
    engine.mode = "hang"
    content = json.dumps({"model": "tiny", "messages": HELLO}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: front\r\nAuthorization: Bearer {KEYS['open']}\r\n"
    with connected(front) as connection:
        connection.sendall(
            f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + (b"" if pause_s is not None else content)
        )
        if pause_s is not None:
            time.sleep(pause_s)
            connection.sendall(content)
        # What was not read would have the connection reset, which is seen always.
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(65536)
        assert front.state()["backends"][f"tiny@{engine.port}"]["requests"] == 1
    until(lambda: front.state()["backends"][f"tiny@{engine.port}"]["requests"] == 0)
    until(lambda: [each["status"] for each in front.usage if each.get("backend") == f"tiny@{engine.port}"] == [499])


def test_who_is_more_than_an_engine_may_have_is_refused_at_once(running: Front, engine: Double) -> None:
    """Under two names; what was left or refused is no more there."""
    backends = [backend(name, engine.url, native=ALL, most=3) for name in ("tiny", "other")]
    running.serve(
        team("open"), models={name: model(each) for name, each in zip(("tiny", "other"), backends, strict=True)}
    )
    engine.go_on.clear()

    def stream(number: int) -> int:
        return running.chat(("tiny", "other")[number % 2], stream=True).status_code

    with ThreadPoolExecutor(3) as pool:
        for _ in range(2):
            engine.go_on.clear()
            asked = [pool.submit(stream, number) for number in range(3)]
            until(lambda: sum(each["requests"] for each in running.state()["backends"].values()) == 3)
            for name in ("tiny", "other"):
                refused = running.chat(name)
                assert (refused.status_code, error(refused)["code"]) == (503, "overloaded")
                assert refused.headers["retry-after"] == "1"
            engine.go_on.set()
            assert [each.result() for each in asked] == [200] * 3
    assert running.chat("tiny").status_code == 200


def test_headers_of_the_engine_stay_inside(front: Front) -> None:
    response = front.chat("tiny")
    assert set(response.headers) == {
        *("server", "date", "content-type", "content-length", "connection", "x-slipway-model", "x-request-id"),
        *("strict-transport-security", "x-content-type-options", "content-security-policy", "referrer-policy"),
        "cache-control",
    }
    assert response.headers["server"] == "nginx"


# Who answers


def test_requests_go_to_the_engine_with_the_fewest(front: Front, make: Callable[..., Double]) -> None:
    first, second = make("first"), make("second")
    models = {"tiny": model(backend("tiny", first.url, native=ALL), backend("tiny", second.url, native=ALL))}
    front.serve(models=models)
    first.go_on.clear()
    second.go_on.clear()
    with ThreadPoolExecutor(12) as pool:
        streams = [pool.submit(front.chat, "tiny", stream=True) for _ in range(12)]
        until(lambda: len(first.asked) + len(second.asked) == 12)
        first.go_on.set()
        second.go_on.set()
        assert {words(stream.result()) for stream in streams} == {TEXT}
    assert abs(len(first.asked) - len(second.asked)) <= 2


def test_weights_share_requests_out(front: Front, make: Callable[..., Double]) -> None:
    much, little, none = make("much"), make("little"), make("none")
    front.serve(
        models={
            "tiny": model(
                backend("tiny", much.url, native=ALL, weight=9, group="much"),
                backend("tiny", little.url, native=ALL, weight=1, group="little"),
                backend("tiny", none.url, native=ALL, weight=0, group="none"),
            )
        }
    )
    for _ in range(200):
        assert front.chat("tiny").is_success
    assert 5 <= len(little.asked) <= 45
    assert not none.asked
    much.kill()
    little.kill()
    assert front.chat("tiny").is_success
    assert none.asked


@pytest.mark.parametrize("mode", ["die", "headers", "error", "empty", "500", "503", "429", "401"])
@pytest.mark.parametrize("path", GENERATING)
def test_a_stream_that_fails_before_its_first_event_is_begun_elsewhere(
    front: Front, make: Callable[..., Double], mode: str, path: str
) -> None:
    bad, good, other = make("bad", mode=mode), make("good"), make("other")
    models = in_reserve(bad, good)
    front.serve(models=models)
    # Another request is there, so none is known to be the one that took the backend down.
    holding = mode in {"die", "headers", "empty"}
    if holding:
        bad.go_on.clear()
        bad.mode = "well"
    with ThreadPoolExecutor() as pool:
        held = pool.submit(front.ask, path, model="tiny", stream=True, **GENERATING[path]) if holding else None
        if held:
            until(lambda: bool(bad.asked))
            bad.mode = mode
        response = front.ask(path, model="tiny", stream=True, **GENERATING[path])
        bad.go_on.set()
        assert response.status_code == 200, response.text
        assert all(word in response.text for word in WORDS), response.text
        if held:
            held.result()
    assert bad.asked
    assert good.asked
    assert not other.asked


@pytest.mark.parametrize("mode", ["500", "error"])
@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"structured_outputs": {"regex": "\\ud800"}}, 400, "invalid_structured_output"),
        ({"response_format": {"type": "json_schema"}}, 400, "invalid_structured_output"),
        ({"response_format": None}, 502, "backend_failed"),
        ({}, 502, "backend_failed"),
    ],
)
def test_what_no_engine_can_work_by_is_the_callers_mistake(  # noqa: PLR0917 -- a table
    front: Front, make: Callable[..., Double], mode: str, asked: dict[str, Any], status: int, code: str
) -> None:
    first, second = make("first", mode=mode), make("second", mode=mode)
    models = {"tiny": model(backend("tiny", first.url, native=ALL), backend("tiny", second.url, native=ALL))}
    front.serve(models=models)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "stream": mode == "error", **asked}
    response = front.ask("/v1/chat/completions", **body)
    assert (response.status_code, error(response)["code"]) == (status, code)
    assert (len(first.asked), len(second.asked)) == (1, 1)
    # One engine that fails by itself is another matter.
    second.mode = "well"
    assert front.ask("/v1/chat/completions", **body).is_success


def test_a_replica_with_a_missing_machine_is_asked_nothing_until_it_is_back(
    front: Front, make: Callable[..., Double]
) -> None:
    first, second = make("first"), make("second")
    backends = (
        backend("tiny", first.url, native=ALL, machines=["gpu-1", "gpu-2"]),
        backend("tiny", second.url, native=ALL, machines=["gpu-3"]),
    )
    front.serve(models={"tiny": model(*backends)}, missing=["gpu-2"])
    assert all(front.chat("tiny").is_success for _ in range(8))
    assert (len(first.asked), len(second.asked)) == (0, 8)

    front.serve(models={"tiny": model(*backends)}, missing=[])

    assert all(front.chat("tiny").is_success for _ in range(8))
    assert len(first.asked) > 0


def test_a_request_that_takes_its_engine_down_is_not_given_another(front: Front, make: Callable[..., Double]) -> None:
    first, second = make("first", mode="die"), make("second", mode="die")
    front.serve(models={"tiny": model(backend("tiny", first.url, native=ALL), backend("tiny", second.url, native=ALL))})

    def ask() -> httpx.Response:
        return front.ask("/v1/chat/completions", model="tiny", messages=[{"role": "user", "content": "kill"}])

    response = ask()
    assert (response.status_code, error(response)["code"]) == (503, "backend_unavailable")
    assert len(first.asked) + len(second.asked) == 1
    # The client's own second try is the last one; others are answered.
    assert error(ask())["code"] == "backend_unavailable"
    assert error(ask())["code"] == "request_suspended"
    assert len(first.asked) + len(second.asked) == 2
    first.mode = second.mode = "well"
    assert front.chat("tiny").is_success


def test_an_engine_that_several_use_is_not_lost_by_the_one_request_on_it(
    front: Front, make: Callable[..., Double]
) -> None:
    """It was killed; that nobody else was on it at that moment tells nothing."""
    first, second = make("first"), make("second")
    front.serve(models={"tiny": model(backend("tiny", first.url, native=ALL))})
    with httpx.Client(timeout=30, verify=False, trust_env=False) as other:  # noqa: S501
        headers = {"authorization": f"Bearer {KEYS['open']}"}
        assert other.post(
            front.url + "/v1/completions", json={"model": "tiny", "prompt": "x"}, headers=headers
        ).is_success
        models = [backend("tiny", each.url, native=ALL, weight=int(each is first)) for each in (first, second)]
        front.serve(models={"tiny": model(*models)})
        for _ in range(2):  # of each of the workers, which share what they know
            assert other.post(
                front.url + "/v1/completions", json={"model": "tiny", "prompt": "x"}, headers=headers
            ).is_success
    first.mode = "die"
    assert front.chat("tiny").is_success
    assert second.asked


@pytest.mark.parametrize("fast", [True, False])
def test_more_than_an_engine_ever_takes_is_the_callers_mistake(
    front: Front, make: Callable[..., Double], fast: bool
) -> None:
    small, large, gateway = make("small"), make("large"), make("gateway")
    held = [backend("tiny", small.url, native=ALL, places=4), backend("tiny", large.url, native=ALL, places=8)]
    models = {
        "tiny": model(*held),
        "free": model(held[0], backend("free", large.url, native=ALL)),
        # What it falls back to may take it.
        "spare": model(held[0], fallbacks=["free"]),
    }
    front.serve(models=models, through=through(gateway), fast_path=fast)
    asked = lambda model, **more: front.ask("/v1/completions", model=model, max_tokens=1, **more)  # noqa: E731
    for more in ({"prompt": ["x"] * 9}, {"prompt": "x", "n": 9}, {"prompt": ["x"] * 3, "n": 3}):
        response = asked("tiny", **more)
        assert (response.status_code, error(response)["code"]) == (400, "too_many_answers")
        assert "'tiny' takes 8 answers" in error(response)["message"]
        assert asked("free", **more).is_success
        assert asked("spare", **more).is_success
    before = len(small.asked) + len(large.asked) + len(gateway.asked)
    assert asked("tiny", prompt=["x"] * 2, n=4).is_success
    assert len(small.asked) + len(large.asked) + len(gateway.asked) == before + 1


def test_a_full_engine_says_so_at_once(front: Front, engine: Double) -> None:
    engine.mode = "503"
    response = front.chat("tiny")
    assert (response.status_code, error(response)["code"]) == (503, "overloaded")
    assert response.headers["retry-after"] == "1"


def test_a_stream_that_breaks_in_the_middle_says_so(front: Front, engine: Double) -> None:
    engine.mode = "middle"
    response = front.chat("tiny", stream=True)
    last = response.text.strip().splitlines()[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "backend_lost"
    response = front.ask("/v1/messages", model="tiny", stream=True, max_tokens=5, messages=HELLO)
    assert "event: error" in response.text
    with httpx.Client(verify=False) as plain:  # noqa: S501
        client = openai.OpenAI(base_url=f"{front.url}/v1", api_key=KEYS["open"], max_retries=0, http_client=plain)
        stream = client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x"}], stream=True)
        with pytest.raises(openai.APIError, match="lost in the middle"):
            list(stream)


def test_a_silent_engine_is_left_for_another_and_comes_back(front: Front, make: Callable[..., Double]) -> None:
    silent, good = make("silent"), make("good")
    models = in_reserve(silent, good)
    front.serve(models=models)
    assert front.chat("tiny").is_success
    assert len(silent.asked) == 1
    state = lambda: health(front, silent)  # noqa: E731
    silent.mode = "silent"
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(front.chat, "tiny") for _ in range(8)]
        until(lambda: state() == "silent")
        found_s = time.monotonic() - began
        answers = [each.result() for each in asked]
    over_s = time.monotonic() - began
    print(f"a silent engine was left after {found_s:.1f} s; the requests that waited had answers after {over_s:.1f} s")
    assert [answer.status_code for answer in answers] == [200] * 8
    # docs/gateway.md says three seconds; the rest is for a busy machine.
    assert found_s < 6
    assert over_s < 8
    before = silent.probed
    silent.mode = "well"
    silent.left.set()
    until(lambda: state() == "well")
    # It has proved itself.
    assert silent.probed > before
    seen = len(silent.asked)
    assert front.chat("tiny").is_success
    assert len(silent.asked) == seen + 1


def test_a_stream_that_has_begun_on_an_engine_that_falls_silent_ends_with_an_error(
    front: Front, engine: Double
) -> None:
    assert front.chat("tiny").is_success
    engine.go_on.clear()
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(front.chat, "tiny", stream=True)
        until(lambda: len(engine.asked) == 2)
        engine.mode = "silent"
        text = stream.result(timeout=60).text
    engine.go_on.set()
    assert "lost in the middle" in text
    assert "[DONE]" not in text
    assert time.monotonic() - began > 5


def test_an_engine_that_hangs_is_told_from_one_that_is_full(front: Front, make: Callable[..., Double]) -> None:
    """Both tell that they are healthy, and answer nothing; the one that is full computes for others."""
    bad, good = make("bad"), make("good")
    models = in_reserve(bad, good)
    state = lambda: health(front, bad)  # noqa: E731
    front.serve(models=models)
    bad.mode = "full"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(front.chat, "tiny")
        until(lambda: bad.probed >= 4)
        assert state() == "well"
        assert not waiting.done()
        bad.mode = "hang"
        began = time.monotonic()
        # New requests go elsewhere at once when it is noticed; the one that waits for it leaves a little later.
        until(lambda: state() == "slow")
        slow_s = time.monotonic() - began
        asked = len(bad.asked)
        assert front.chat("tiny").is_success
        assert len(bad.asked) == asked
        assert waiting.result(timeout=30).is_success
    over_s = time.monotonic() - began
    print(
        f"an engine whose core hung got nothing new after {slow_s:.1f} s; what waited had an answer after {over_s:.1f} s"
    )
    # docs/gateway.md says three seconds and ten; the rest is for a busy machine.
    assert slow_s < 8
    assert over_s < 20
    assert state() == "silent"
    assert [each.body["model"] for each in good.asked] == ["tiny-inside", "tiny-inside"]
    bad.mode = "well"
    bad.left.set()
    until(lambda: state() == "well")


def test_an_idle_engine_that_hangs_is_found_by_the_next_request(front: Front, make: Callable[..., Double]) -> None:
    """To have idle engines generate would cost what nobody asked for."""
    bad, good = make("bad"), make("good")
    models = in_reserve(bad, good)
    state = lambda: health(front, bad)  # noqa: E731
    front.serve(models=models)
    bad.mode = "hang"
    time.sleep(4)
    assert (state(), bad.probed) == ("well", 0)
    began = time.monotonic()
    assert front.chat("tiny").is_success
    print(f"the first request to an idle engine that hung had another's answer after {time.monotonic() - began:.1f} s")
    assert (state(), len(bad.asked), len(good.asked)) == ("silent", 1, 1)
    bad.left.set()


def test_a_dead_engine_is_seen_and_comes_back(front: Front, engine: Double) -> None:
    engine.kill()
    state = lambda: health(front, engine)  # noqa: E731
    until(lambda: state() == "gone")
    response = front.chat("tiny")
    assert (response.status_code, error(response)["code"]) == (503, "backend_unavailable")
    engine.start()
    until(lambda: state() == "well")
    assert front.chat("tiny").is_success


def test_fall_backs_are_asked_in_order(front: Front, make: Callable[..., Double]) -> None:
    first, second = make("first"), make("second")
    models = {
        "first": model(backend("first", first.url, native=ALL), fallbacks=["second"]),
        "second": model(backend("second", second.url, native=ALL)),
    }
    front.serve(team("open", models=["first"]), models=models)
    assert front.chat("first").headers["x-slipway-model"] == "first"
    first.kill()
    assert front.chat("first").headers["x-slipway-model"] == "second"
    assert second.asked[-1].body["model"] == "second-inside"
    assert front.chat("second").status_code == 403
    assert front.ask("/tokenize", model="first", prompt="x").status_code == 503


# Through the gateway


@pytest.fixture
def gateway(running: Front, make: Callable[..., Double]) -> Double:
    return make("gateway")


def through(*doubles: Double, **more: Any) -> dict[str, Any]:
    return {"open": [peer("127.0.0.1", double.port, **more) for double in doubles], "private": None}


def test_the_model_of_a_form_is_the_gateways_to_name(front: Front, gateway: Double) -> None:
    front.serve(models={"hears": model(task="transcription")}, through=through(gateway))
    headers = {"authorization": f"Bearer {KEYS['open']}"}
    answer = front.client.post(
        front.url + "/v1/audio/transcriptions", data={"model": "hears"}, files={"file": b"RIFF"}, headers=headers
    )
    assert answer.status_code == 200
    # This one names none.
    assert "x-slipway-model" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
def test_what_the_front_cannot_ask_goes_to_the_gateway_as_it_came(
    front: Front, engine: Double, gateway: Double, path: str, stream: bool
) -> None:
    models = {"tiny": model(backend("tiny", engine.url)), "cloud": model(provided=True)}
    aliases = {"best": "cloud"}
    cases = {
        "cloud": {},
        "best": {},
        "tiny": {},
    }
    for asked, more in cases.items():
        front.serve(models=models, aliases=aliases, through=through(gateway), **more)
        body = {"model": asked, "stream": stream, **GENERATING[path]}
        response = front.ask(path, **body)
        assert response.status_code == 200, response.text
        assert all(word in response.text for word in WORDS)
        request = gateway.asked[-1]
        assert (request.path, request.body["model"]) == (path, asked)
        assert request.headers["authorization"] == f"Bearer {KEYS['open']}"
    assert not engine.asked
    until(lambda: front.usage[-1].get("backend") == f"gateway@{gateway.port}")


def test_without_the_fast_path_all_goes_to_the_gateway(front: Front, engine: Double, gateway: Double) -> None:
    models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
    front.serve(models=models, through=through(gateway), fast_path=False)
    assert front.chat("tiny").is_success
    front.serve(team("open", filtered=True), models=models, through=through(gateway))
    assert front.chat("tiny").is_success
    assert len(gateway.asked) == 2
    assert not engine.asked


def test_a_private_team_goes_to_no_open_gateway(front: Front, engine: Double, gateway: Double) -> None:
    models = {
        "tiny": model(backend("tiny", engine.url, native=ALL), fallbacks=["cloud"]),
        "cloud": model(provided=True),
    }
    teams = [team("open"), team("private", private=True)]
    front.serve(*teams, models=models, through=through(gateway))
    assert front.chat("tiny", "private").is_success
    engine.kill()
    assert front.chat("tiny", "open").is_success
    response = front.chat("tiny", "private")
    assert response.status_code == 503
    assert error(response)["code"] == "backend_unavailable"
    front.serve(*teams, models=models, through=through(gateway), fast_path=False)
    response = front.chat("tiny", "private")
    assert (response.status_code, error(response)["code"]) == (503, "no_private_backend")
    assert len(gateway.asked) == 1


def test_errors_of_the_gateway_keep_their_words(front: Front, gateway: Double) -> None:
    front.serve(models={"cloud": model(provided=True)}, through=through(gateway))
    gateway.mode = "403"
    response = front.chat("cloud")
    assert (response.status_code, error(response)["message"]) == (403, "told to say 403")
    gateway.kill()
    response = front.chat("cloud")
    assert (response.status_code, error(response)["code"]) == (503, "gateway_unavailable")


def test_a_gateway_on_another_host_is_shown_the_fronts_own_key(front: Front, gateway: Double) -> None:
    front.serve(models={"cloud": model(provided=True)}, through=through(gateway, key="sk-front-0123456789"))
    headers = {"authorization": f"Bearer {KEYS['open']}", "x-slipway-team": "narrow"}
    body = {"model": "cloud", "messages": HELLO}
    assert front.client.post(front.url + "/v1/chat/completions", json=body, headers=headers).is_success
    told = gateway.asked[-1].headers
    assert (told["authorization"], told["x-slipway-team"]) == ("Bearer sk-front-0123456789", "open")
    assert KEYS["open"] not in str(told)


def state_of_gateway(front: Front, double: Double) -> str:
    return str(front.state()["backends"][f"gateway@{double.port}"]["state"])


def test_another_gateway_answers_for_one_that_is_killed(front: Front, make: Callable[..., Double]) -> None:
    first, second = make("first"), make("second")
    front.serve(models={"cloud": model(provided=True)}, through=through(first, second))
    statuses: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(lambda: [front.chat("cloud").status_code for _ in range(50)]) for _ in range(4)]
        until(lambda: first.asked and second.asked)
        first.kill()
        for each in asked:
            statuses += each.result()
    assert statuses == [200] * 200
    until(lambda: state_of_gateway(front, first) == "gone")
    first.start()
    until(lambda: state_of_gateway(front, first) == "well")


def test_a_silent_gateway_is_left_for_another(front: Front, make: Callable[..., Double]) -> None:
    first, second = make("first"), make("second")
    front.serve(models={"cloud": model(provided=True)}, through=through(first, second))
    first.mode = "silent"
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = [each.result() for each in [pool.submit(front.chat, "cloud") for _ in range(8)]]
    print(f"requests that waited for a silent gateway had answers after {time.monotonic() - began:.1f} s")
    assert [answer.status_code for answer in answers] == [200] * 8
    assert first.asked
    assert state_of_gateway(front, first) == "silent"
    first.mode = "well"
    first.left.set()
    until(lambda: state_of_gateway(front, first) == "well")


def test_a_request_that_takes_its_gateway_down_is_not_given_another(front: Front, make: Callable[..., Double]) -> None:
    first, second = make("first"), make("second")
    front.serve(models={"cloud": model(provided=True)}, through=through(first, second))
    # As it comes in a day's work: on connections that were kept.
    assert all(front.chat("cloud").is_success for _ in range(8))
    before = len(first.asked) + len(second.asked)
    time.sleep(1.1)  # what was answered a second ago is known to be to blame for nothing
    for double in (first, second):
        double.mode = "fall"
    response = front.chat("cloud", user="takes it down")
    assert (response.status_code, error(response)["code"]) == (503, "gateway_unavailable")
    assert len(first.asked) + len(second.asked) == before + 1


def test_a_gateway_that_does_not_know_the_fronts_key_is_left_for_another(
    front: Front, make: Callable[..., Double]
) -> None:
    """As while their keys change, or where one host's `up` has failed."""
    first, second = make("first"), make("second")
    front.serve(models={"cloud": model(provided=True)}, through=through(first, second, key="sk-front-0123456789"))
    first.mode = "401"
    assert [front.chat("cloud").status_code for _ in range(20)] == [200] * 20
    # It rests meanwhile.
    assert len(first.asked) <= 2
    second.mode = "401"
    response = front.chat("cloud")
    assert (response.status_code, error(response)["code"]) == (503, "gateway_unavailable")
    # Where teams' own keys are passed on, the caller is told.
    front.serve(models={"cloud": model(provided=True)}, through=through(first))
    assert front.chat("cloud").status_code == 401


def test_a_stream_of_one_gateway_is_not_judged_by_what_it_was_beside_another(
    front: Front, make: Callable[..., Double]
) -> None:
    """Nobody looks after one gateway alone."""
    first, second = make("first"), make("second")
    front.serve(models={"cloud": model(provided=True)}, through=through(first, second))
    first.mode = "silent"
    until(lambda: state_of_gateway(front, first) == "silent")
    front.serve(models={"cloud": model(provided=True)}, through=through(first))
    first.mode = "well"
    first.left.set()
    first.pace_s = 2
    time.sleep(5)
    assert "[DONE]" in front.chat("cloud", stream=True).text


def test_private_teams_have_two_gateways_as_well(front: Front, make: Callable[..., Double]) -> None:
    doubles = [make(name) for name in ("open", "other", "private", "hidden")]
    peers = [peer("127.0.0.1", double.port, name=double.name) for double in doubles]
    models = {"tiny": model(backend("tiny", make("engine").url))}
    teams = [team("open"), team("private", private=True)]
    front.serve(*teams, models=models, through={"open": peers[:2], "private": peers[2:]})
    assert all(front.chat("tiny", "private").is_success for _ in range(10))
    doubles[2].kill()
    assert all(front.chat("tiny", "private").is_success for _ in range(10))
    doubles[3].kill()
    assert front.chat("tiny", "private").status_code == 503
    assert not doubles[0].asked + doubles[1].asked
    assert front.chat("tiny", "open").is_success


# Limits


def calm() -> None:
    """Minutes are the clock's: do not begin at the end of one."""
    if time.time() % 60 > 45:
        time.sleep(60 - time.time() % 60 + 0.05)


def test_requests_per_minute_are_exact(front: Front, engine: Double) -> None:
    teams = [team(f"team-{number}", requests_per_minute=20) for number in range(10)]
    front.serve(*teams, models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    calm()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: front.chat("tiny", f"team-{number % 10}"), range(400)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 200
    assert statuses.count(429) == 200
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert error(refused)["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-limit-requests"] == "20"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert {answer.headers["x-ratelimit-remaining-requests"] for answer in answers if answer.is_success} <= {
        str(left) for left in range(20)
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("limits", [("requests",), ("tokens",), ("requests", "tokens"), ()])
def test_answers_tell_what_is_left(front: Front, engine: Double, limits: tuple[str, ...], stream: bool) -> None:
    has = {f"{name}_per_minute": 10_000_000_000_000 for name in limits}
    front.serve(team("told", **has), models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    found = front.chat("tiny", "told", stream=stream)
    assert found.headers["x-slipway-model"] == "tiny"
    told = {name: value for name, value in found.headers.items() if name.startswith("x-ratelimit-")}
    whats = ("limit", "remaining", "reset")
    assert set(told) == {f"x-ratelimit-{what}-{name}" for what in whats for name in limits}
    for name in limits:
        assert told[f"x-ratelimit-limit-{name}"] == "10000000000000"
        assert 9_999_999_990_000 < int(told[f"x-ratelimit-remaining-{name}"]) < 10_000_000_000_000
        assert re.fullmatch(r"\d\d?s", told[f"x-ratelimit-reset-{name}"])


def test_tokens_per_minute_are_reserved_and_settled(front: Front, engine: Double) -> None:
    front.serve(team("team-a", tokens_per_minute=900), models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    calm()
    statuses = [front.chat("tiny", "team-a", max_tokens=4).status_code for _ in range(150)]
    # Each takes 9 by what the engine says; the reservation is larger and is given back.
    assert 94 <= statuses.count(200) <= 100
    assert statuses[:90] == [200] * 90
    assert statuses[-1] == 429


def may_take(response: httpx.Response) -> int:
    """What the front says of a request of a team that has one token left."""
    return int(error(response)["message"].partition("may take ")[2].partition(" ")[0])


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("path", "body", "answers"),
    [
        ("chat/completions", {"messages": HELLO}, 1),
        ("chat/completions", {"messages": HELLO, "n": 100}, 100),
        ("completions", {"prompt": "x", "n": 3, "best_of": 7}, 7),
        ("completions", {"prompt": ["x"] * 100}, 100),
        ("completions", {"prompt": ['a",[', "]\\"], "n": 3}, 6),
        ("completions", {"prompt": ["x"]}, 1),
        ("completions", {"prompt": []}, 1),
        ("completions", {"prompt": [7, 8, 9]}, 1),
        ("completions", {"prompt": [[7, 8], [9], []]}, 3),
        ("completions", {"prompt": "", "prompt_embeds": ["eA==", "eA=="]}, 3),
    ],
)
def test_each_answer_counts_for_what_a_request_may_take(
    front: Front, path: str, body: dict[str, Any], answers: int, indent: int | None
) -> None:
    front.serve(team("team-j", tokens_per_month=1), models={"tiny": model()})
    content = json.dumps({"model": "tiny", "max_tokens": 1000, **body}, indent=indent)
    key = {"authorization": "Bearer sk-key-of-team-j-0123456789", "content-type": "application/json"}
    response = front.client.post(f"{front.url}/v1/{path}", content=content, headers=key)
    assert may_take(response) == math.ceil(len(content) / 4) + answers * 1000


@pytest.mark.parametrize(
    ("path", "body", "takes"),
    [
        # An answer ends with the context, and what fills it before the first answer makes no other shorter.
        ("chat/completions", {"messages": HELLO, "max_tokens": 9000}, 4096),
        ("chat/completions", {"messages": HELLO, "max_tokens": 9000, "max_completion_tokens": 1}, 4096),
        ("chat/completions", {"messages": HELLO, "max_tokens": 9000, "n": 100}, 100 * 4096),
        ("chat/completions", {"messages": HELLO, "user": " " * 40_000, "max_tokens": 100, "n": 10}, 4096 + 900),
        ("completions", {"prompt": ["x"] * 5, "max_tokens": 9000, "n": 2}, 10 * 4096),
        # Each text has a context of its own.
        ("embeddings", {"input": "x" * 40_000}, 4096),
        ("embeddings", {"input": [7] * 20_000}, 4096),
        ("embeddings", {"input": ["x" * 20_000] * 3}, 3 * 4096),
        ("rerank", {"query": "x", "documents": ["x" * 20_000] * 3}, 3 * 4096),
        ("rerank", {"query": "x" * 16_000, "documents": ["x"] * 3}, 3 * 4000 + 15),
    ],
)
def test_what_a_request_may_take_ends_with_the_context(
    front: Front, path: str, body: dict[str, Any], takes: int
) -> None:
    front.serve(team("team-k", tokens_per_month=1), models={"tiny": model()})
    assert may_take(front.ask(f"/v1/{path}", "team-k", model="tiny", **body)) == takes


@pytest.mark.parametrize(
    ("name", "path", "more"),
    [
        ("choices", "/v1/chat/completions", {"messages": HELLO, "n": 100}),
        ("prompts", "/v1/completions", {"prompt": ["x"] * 100}),
        ("tokens", "/v1/completions", {"prompt": [[7]] * 100}),
    ],
)
def test_a_hundred_answers_are_reserved_in_a_minute(
    front: Front, engine: Double, name: str, path: str, more: dict[str, Any]
) -> None:
    front.serve(team(name, tokens_per_minute=900), models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    calm()
    # What is larger than the limit may run alone; so something has to be there.
    assert front.chat("tiny", name, max_tokens=4).status_code == 200
    assert front.ask(path, name, model="tiny", max_tokens=10, **more).status_code == 429
    assert front.ask("/v1/completions", name, model="tiny", max_tokens=10, prompt=[7] * 100).status_code == 200


def test_a_guess_is_of_one_answer(front: Front, engine: Double) -> None:
    models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
    front.serve(team("team-m", tokens_per_month=1_000_000), models=models)
    before = len(front.usage)
    # The stand-in says four tokens, whatever is asked.
    assert front.chat("tiny", "team-m", n=4).status_code == 200
    front.used(before + 1)
    front.serve(team("team-m", tokens_per_month=10), models=models)
    response = front.chat("tiny", "team-m")
    assert may_take(response) == math.ceil(len(response.request.content) / 4) + 1


def test_who_leaves_before_an_answer_pays_for_what_was_reserved(front: Front, engine: Double) -> None:
    front.serve(team("team-e", tokens_per_minute=1000), models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    calm()
    engine.mode = "hang"
    key = {"authorization": "Bearer sk-key-of-team-e-0123456789"}
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 600}
    with pytest.raises(httpx.ReadTimeout):
        front.client.post(front.url + "/v1/chat/completions", json=body, headers=key, timeout=0.5)
    engine.left.set()
    engine.mode = "well"
    until(lambda: front.state()["backends"][f"tiny@{engine.port}"]["requests"] == 0)
    assert front.chat("tiny", "team-e", max_tokens=600).status_code == 429
    assert front.chat("tiny", "team-e", max_tokens=300).status_code == 200


def test_requests_at_once_are_limited(front: Front, engine: Double) -> None:
    front.serve(team("team-b", parallel_requests=2), models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = [pool.submit(front.chat, "tiny", "team-b", stream=True) for _ in range(2)]
        until(lambda: len(engine.asked) == 2)
        response = front.chat("tiny", "team-b")
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        engine.go_on.set()
        assert [words(stream.result()) for stream in held] == [TEXT] * 2
    until(lambda: front.chat("tiny", "team-b").status_code == 200)


def test_a_months_tokens_end(front: Front, engine: Double) -> None:
    models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
    front.serve(team("team-c", tokens_per_month=1), models=models)
    message = error(front.chat("tiny", "team-c", max_tokens=4))["message"]
    assert message.startswith("The team team-c has 1 tokens left of its 1 tokens per month, and this request may take ")
    may_take = int(message.partition("may take ")[2].partition(" ")[0])
    # Each takes 9; for the last one there is just what may be needed.
    front.serve(team("team-c", tokens_per_month=18 + may_take), models=models)
    statuses = []
    for _ in range(4):
        before = len(front.usage)
        response = front.chat("tiny", "team-c", max_tokens=4)
        front.used(before + 1)
        statuses.append(response.status_code)
    assert statuses == [200, 200, 200, 429]
    assert (error(response)["code"], error(response)["type"]) == ("insufficient_quota", "insufficient_quota")
    # Counting takes no tokens of a model.
    assert front.ask("/tokenize", "team-c", model="tiny", prompt="x" * 4000).status_code == 200


def test_many_at_once_do_not_overdraw_a_months_tokens(front: Front, engine: Double) -> None:
    front.serve(team("team-f", tokens_per_month=300), models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    engine.go_on.clear()
    with ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(front.chat, "tiny", "team-f", max_tokens=40, stream=True) for _ in range(32)]
        until(lambda: sum(each.done() for each in asked) == 32 - len(engine.asked) > 0)
        refused = next(each.result() for each in asked if each.done())
        assert (error(refused)["code"], refused.headers["retry-after"]) == ("rate_limit_exceeded", "1")
        held = len(engine.asked)
        # Each may take 40 and its prompt.
        assert 3 <= held <= 7
        engine.go_on.set()
        assert sum(each.result().status_code == 200 for each in asked) == held
    # What they did not take is there again.
    until(lambda: front.chat("tiny", "team-f", max_tokens=40).status_code == 200)


def test_who_leaves_before_an_answer_uses_the_months_tokens_after_a_restart_too(
    tmp_path_factory: pytest.TempPathFactory, engine: Double
) -> None:
    front = Front(tmp_path_factory.mktemp("left") / "nginx")
    front.start()
    try:
        front.wait()
        models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
        front.serve(team("team-g", tokens_per_month=1000), models=models)
        engine.mode = "hang"
        key = {"authorization": "Bearer sk-key-of-team-g-0123456789"}
        body = {"model": "tiny", "messages": HELLO, "max_tokens": 600}
        with pytest.raises(httpx.ReadTimeout):
            front.client.post(front.url + "/v1/chat/completions", json=body, headers=key, timeout=0.5)
        assert front.used(1)[0]["tokens_aside"] > 600
        engine.left.set()
        engine.mode = "well"
        assert front.chat("tiny", "team-g", max_tokens=600).status_code == 429
        front.stop(signal.SIGKILL)
        front.again()
        front.wait()
        assert front.chat("tiny", "team-g", max_tokens=600).status_code == 429
        assert front.chat("tiny", "team-g", max_tokens=300).status_code == 200
    finally:
        front.close()


def test_what_ends_after_its_minute_is_charged_once(front: Front, engine: Double) -> None:
    # So small a context that a request reserves one token, and takes nine.
    models = {"tiny": model(backend("tiny", engine.url, native=ALL), context_window=1)}
    front.serve(team("team-h", tokens_per_minute=10), models=models)
    time.sleep(max(0.0, 56 - time.time() % 60))
    before = len(front.usage)
    assert front.chat("tiny", "team-h").status_code == 200
    front.used(before + 1)
    engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(front.chat, "tiny", "team-h", stream=True)
        until(lambda: len(engine.asked) == 2)
        time.sleep(60 - time.time() % 60 + 0.1)
        engine.go_on.set()
        assert words(held.result()) == TEXT
    front.used(before + 2)
    # Eight beyond what was reserved count in this minute: two are left.
    response = front.chat("tiny", "team-h")
    assert (response.status_code, response.headers["x-ratelimit-remaining-tokens"]) == (200, "1")


def test_a_debt_is_worked_off_and_only_what_was_taken_is_owed(front: Front, engine: Double) -> None:
    models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
    front.serve(team("owes", tokens_per_minute=3), team("long", tokens_per_minute=10), models=models)
    time.sleep(max(0.0, 55 - time.time() % 60))
    before = len(front.usage)
    assert front.chat("tiny", "owes", max_tokens=4).status_code == 200
    front.used(before + 1)
    engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(front.chat, "tiny", "long", stream=True, max_tokens=1000)
        until(lambda: len(engine.asked) == 2)
        time.sleep(60 - time.time() % 60 + 0.1)
        # As long as it runs it may take all that it reserved.
        assert front.chat("tiny", "long").status_code == 429
        engine.go_on.set()
        assert words(held.result()) == TEXT
    front.used(before + 3)
    # It took less than the limit after all.
    assert front.chat("tiny", "long").status_code == 200
    # Nine tokens were three minutes' worth; the second passes without a request, and the third has still to pay for it.
    time.sleep(60 - time.time() % 60 + 0.1)
    response = front.chat("tiny", "owes", max_tokens=4)
    assert (response.status_code, response.headers["x-ratelimit-remaining-tokens"]) == (429, "0")


def test_an_absurd_length_forgets_nothing_that_was_counted(front: Front, engine: Double) -> None:
    models = {"tiny": model(backend("tiny", engine.url, native=ALL), context_window=None)}
    front.serve(team("team-i", tokens_per_minute=1000), models=models)
    calm()
    before = len(front.usage)
    assert front.chat("tiny", "team-i", max_tokens=4).status_code == 200
    front.used(before + 1)
    refused = front.chat("tiny", "team-i", max_tokens=10**300)
    assert (refused.status_code, refused.headers["x-ratelimit-remaining-tokens"]) == (429, "991")


def test_limits_outlive_a_restart_a_kill_and_a_reload(tmp_path_factory: pytest.TempPathFactory, engine: Double) -> None:
    front = Front(tmp_path_factory.mktemp("again") / "nginx")
    front.start()
    try:
        front.wait()
        teams = [team("team-d", requests_per_minute=50, tokens_per_month=10_000)]
        models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
        front.serve(*teams, models=models)
        calm()
        statuses = []
        for step in ("reload", signal.SIGTERM, signal.SIGKILL, None):
            statuses += [front.chat("tiny", "team-d").status_code for _ in range(10)]
            front.used(len(statuses))
            if step == "reload":
                front.reload()
            elif isinstance(step, int):
                front.stop(step)
                until(lambda: not listens(front.port))
                front.again()
                front.wait()
        statuses += [front.chat("tiny", "team-d").status_code for _ in range(20)]
        assert statuses == [200] * 50 + [429] * 10
        # What was refused is noted and does not count, after a restart either.
        front.used(60)
        front.serve(team("team-d", requests_per_minute=52), models=models)
        front.stop(signal.SIGTERM)
        front.again()
        front.wait()
        assert [front.chat("tiny", "team-d").status_code for _ in range(4)] == [200, 200, 429, 429]
    finally:
        front.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# While it runs


def test_reloads_lose_nothing(front: Front, engine: Double) -> None:
    over = threading.Event()
    faults: list[str] = []
    count = [0]

    def load(stream: bool) -> None:
        with httpx.Client(verify=False, timeout=30) as client:  # noqa: S501
            while not over.is_set():
                body = {"model": "tiny", "messages": HELLO, "stream": stream}
                headers = {"authorization": f"Bearer {KEYS['open']}"}
                try:
                    response = client.post(front.url + "/v1/chat/completions", json=body, headers=headers)
                except httpx.HTTPError as lost:
                    # An idle connection that is closed as it is used says nothing: the client asks again.
                    response = client.post(front.url + "/v1/chat/completions", json=body, headers=headers)
                    faults.append(f"again {type(lost).__name__}")
                count[0] += 1
                if response.status_code != 200 or (stream and words(response) != TEXT):
                    faults.append(response.text)

    with ThreadPoolExecutor() as pool:
        loads = [pool.submit(load, stream) for stream in (False, True)]
        for _ in range(20):
            front.reload()
            time.sleep(0.25)
        over.set()
        for one in loads:
            one.result()
    again = Counter(fault for fault in faults if fault.startswith("again"))
    print(f"of {count[0]} requests during 20 reloads {again.total()} were sent again: {dict(again)}")
    assert count[0] > 50
    assert [fault for fault in faults if not fault.startswith("again")] == []


def test_files_that_are_no_good_leave_the_old_ones_in_use(front: Front, engine: Double) -> None:
    front.write("teams.json", '{"teams": [{"name": "x"}]}')
    until(lambda: front.state()["teams"]["refused"] is not None)
    assert "private" in front.state()["teams"]["refused"]
    assert front.client.get(front.url + "/slipway/state").status_code == 503
    assert front.chat("tiny").is_success
    front.serve(models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    assert front.client.get(front.url + "/slipway/state").status_code == 200


def test_a_killed_worker_gives_back_what_it_held(front: Front, engine: Double) -> None:
    engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = [pool.submit(front.chat, "tiny", stream=True) for _ in range(4)]
        until(lambda: len(engine.asked) == 4)
        assert front.process is not None
        children = _children(front)
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        for one in held:
            with pytest.raises(httpx.HTTPError):
                one.result()
        engine.go_on.set()
    until(lambda: len(set(_children(front)) - set(children)) == front.workers)
    until(lambda: front.state()["backends"][f"tiny@{engine.port}"]["requests"] == 0)
    assert front.chat("tiny").is_success


def test_what_an_old_worker_held_is_given_back_after_a_reload_too(front: Front, engine: Double) -> None:
    """The memory of what each worker holds is the same before and after."""

    def status() -> int:
        # The old worker ends the connections on which nothing happens.
        with contextlib.suppress(httpx.RemoteProtocolError):
            return front.chat("tiny", "alone").status_code
        return 0

    front.serve(team("alone", parallel_requests=1), models={"tiny": model(backend("tiny", engine.url, native=ALL))})
    engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(front.chat, "tiny", "alone", stream=True)
        until(lambda: len(engine.asked) == 1)
        old = _children(front)
        front.reload()
        until(lambda: len(set(_children(front)) - set(old)) == front.workers)
        until(lambda: status() == 429)
        for child in old:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            held.result()
        engine.go_on.set()
    until(lambda: status() == 200)


def _children(front: Front) -> list[str]:
    assert front.process is not None
    with open(f"/proc/{front.process.pid}/task/{front.process.pid}/children") as file:  # noqa: PTH123
        return file.read().split()


# Browsers, clients and figures


def test_pages_of_allowed_origins_may_ask(front: Front, engine: Double) -> None:
    models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
    front.serve(models=models, allowed_origins=["https://chat.example.org"])
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    url = front.url + "/v1/chat/completions"
    good, bad = {"origin": "https://chat.example.org"}, {"origin": "https://evil.example.org"}
    response = front.client.options(url, headers={**preflight, **good})
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "https://chat.example.org"
    assert "authorization" in response.headers["access-control-allow-headers"]
    refused = front.client.options(url, headers={**preflight, **bad})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    key = {"authorization": f"Bearer {KEYS['open']}"}
    body = {"model": "tiny", "messages": HELLO}
    response = front.client.post(url, json=body, headers={**good, **key})
    assert response.headers["access-control-allow-origin"] == "https://chat.example.org"
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in front.client.post(url, json=body, headers={**bad, **key}).headers


def test_pages_may_read_every_header_that_tells_them_something(front: Front, engine: Double) -> None:
    models = {"tiny": model(backend("tiny", engine.url, native=ALL))}
    front.serve(
        team("paged", requests_per_minute=1, tokens_per_minute=9000),
        models=models,
        allowed_origins=["https://chat.example.org"],
    )
    calm()
    headers = {"origin": "https://chat.example.org", "authorization": "Bearer sk-key-of-paged-0123456789"}
    body = {"model": "tiny", "messages": HELLO}
    answer, refused = (
        front.client.post(front.url + "/v1/chat/completions", json=body, headers=headers) for _ in range(2)
    )
    assert (answer.status_code, refused.status_code) == (200, 429)
    # The rest is for the browser itself.
    told = {name for name in [*answer.headers, *refused.headers] if name.startswith("x-")} - {"x-content-type-options"}
    assert len(told) == 8
    exposed = {*answer.headers["access-control-expose-headers"].split(", ")}
    assert exposed == told | {"retry-after"}
    assert refused.headers["access-control-expose-headers"] == answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("http2", [False, True])
def test_the_official_clients(front: Front, http2: bool) -> None:
    with httpx.Client(verify=False, http2=http2) as plain:  # noqa: S501
        client = openai.OpenAI(base_url=f"{front.url}/v1", api_key=KEYS["open"], http_client=plain, max_retries=0)
        question: Any = [{"role": "user", "content": "x"}]
        assert client.chat.completions.create(model="tiny", messages=question).choices[0].message.content == TEXT
        chunks = list(client.chat.completions.create(model="tiny", messages=question, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="sk-wrong-0123456789").models.list()


def test_figures_are_there_for_the_machine_itself(front: Front) -> None:
    assert front.chat("tiny").is_success
    until(
        lambda: (
            'slipway_requests_total{team="open",model="tiny",status="2xx"}'
            in front.client.get(front.url + "/metrics").text
        )
    )
    text = front.client.get(front.url + "/metrics").text
    assert "# TYPE slipway_tokens_total counter" in text
    assert "slipway_backend_up{backend=" in text
    response = front.client.head(front.url + "/healthz")
    assert (response.status_code, response.text) == (200, "")

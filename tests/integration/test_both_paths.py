"""The same requests with the fast path and without it: who asks cannot tell which way an answer came.

Two fronts in front of one engine and one gateway, the real LiteLLM with its door; one of them asks engines itself, the other
sends everything through the gateway. A row says what is asked and what comes of it; all else must be the same on both.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.integration.asking import HELLO, until
from tests.integration.backend_double import CONTEXT, Double
from tests.integration.front import Front, backend, model, team
from tests.integration.gateway import KEYS, Gateway, deployment

ALL = ("chat", "completions", "embeddings", "rerank", "responses", "messages", "tokenize", "transcriptions")
FINGERPRINT = "vllm-0.99.9-tp1-0123abcd"
"""What an engine says of its release: that is nobody's business."""
ORIGIN = "https://chat.example.org"
MODES = {
    "full": "503",
    "busy": "429",
    "failing": "500",
    "refusing": "400",
    "without": "404",
    "closed": "401",
    "dying": "die",
    "silenced": "empty",
    "cut": "headers",
    "slow": "504",
    "slower": "408",
    "broken": "middle",
    "erring": "error",
}
"""By the name of a model what becomes of requests at its engine."""
TEAMS = (
    team("open"),
    team("narrow", models=["tiny"]),
    team("private", private=True),
    team("once", requests_per_minute=1),
    team("few", tokens_per_minute=1),
    team("spent", tokens_per_month=1),
    team("alone", parallel_requests=1),
    team("strict", filtered=True),
    team("counted", requests_per_minute=1000, tokens_per_minute=100_000, parallel_requests=9),
)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
FORM = {"files": {"file": ("a.wav", b"RIFF", "audio/wav")}, "data": {"model": "hears"}}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request, and what comes of it. The paths differ in nothing that a client sees, so no row says why they may.

    Attributes:
        says: its name.
        body: JSON; `raw` is sent where it is given.
        as_: the team; None for no key.
        before: how often it is asked beforehand.
        status: of the answer.
        code: of the error.
        param: of the error.
        form: httpx's arguments for a form.
    """

    says: str
    path: str = "/v1/chat/completions"
    body: Mapping[str, Any] | None = None
    raw: bytes | None = None
    form: Mapping[str, Any] | None = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    as_: str | None = "open"
    before: int = 0
    status: int = 200
    code: str | None = None
    param: str | None = None

    def __str__(self) -> str:
        return self.says.replace(" ", "_")


def chat(says: str, **more: Any) -> Row:
    """A chat request; what is no attribute of a row is a field of its body."""
    known = {name: more.pop(name) for name in list(more) if name in Row.__dataclass_fields__}
    return Row(says=says, body={"model": "tiny", "messages": HELLO, **more}, **known)


def told(says: str, path: str, **more: Any) -> Row:
    """A request to another path, to the model tiny."""
    known = {name: more.pop(name) for name in list(more) if name in Row.__dataclass_fields__}
    return Row(says=says, path=path, body={"model": "tiny", **more}, **known)


COMPLETIONS, RESPONSES, MESSAGES = "/v1/completions", "/v1/responses", "/v1/messages"
ANSWERS = [
    chat("chat"),
    chat("chat by an alias", model="default"),
    chat("chat stream", stream=True),
    chat("chat stream with usage", stream=True, stream_options={"include_usage": True}),
    chat("two choices", n=2),
    chat("two choices in a stream", n=2, stream=True),
    chat("tools", tools=[TOOL], tool_choice="auto"),
    chat("tools in a stream", tools=[TOOL], tool_choice="required", stream=True),
    chat("logprobs", logprobs=True, top_logprobs=2),
    chat("what counts is told", as_="counted"),
    chat("what counts is told of a stream", as_="counted", stream=True),
    chat("a number that the caller gives", headers={"x-request-id": "of-mine-1"}),
    chat("a private team", as_="private"),
    chat("a private team's stream", as_="private", stream=True),
    chat("a team with few models", as_="narrow"),
    told("completion", COMPLETIONS, prompt="x"),
    told("completion stream", COMPLETIONS, prompt="x", stream=True),
    told("token ids", COMPLETIONS, prompt=[1, 2, 3]),
    told("several prompts of token ids", COMPLETIONS, prompt=[[1, 2], [3]]),
    told("response", RESPONSES, input="x"),
    told("response stream", RESPONSES, input="x", stream=True),
    told("message", MESSAGES, messages=HELLO, max_tokens=5),
    told("message stream", MESSAGES, messages=HELLO, max_tokens=5, stream=True),
    told("message with the key as Anthropic's clients send it", MESSAGES, messages=HELLO, max_tokens=5, as_=None,
         headers={"x-api-key": KEYS["open"], "anthropic-version": "2023-06-01"}),
    told("tokens of a message", f"{MESSAGES}/count_tokens", messages=HELLO),
    told("tokens of a text", "/tokenize", prompt="x"),
    told("text of tokens", "/detokenize", tokens=[1]),
    told("embedding", "/v1/embeddings", model="vectors", input="x"),
    told("embedding in base64", "/v1/embeddings", model="vectors", input="x", encoding_format="base64"),
    told("rerank", "/v1/rerank", model="ranks", query="x", documents=["a", "b"]),
    told("rerank as Cohere's clients ask it", "/rerank", model="ranks", query="x", documents=["a", "b"]),
    Row(says="transcription", path="/v1/audio/transcriptions", form=FORM),
    Row(says="models", method="GET", path="/v1/models"),
    Row(says="models of a team", method="GET", path="/v1/models", as_="narrow"),
    Row(says="models of a private team", method="GET", path="/v1/models", as_="private"),
    Row(says="one model", method="GET", path="/v1/models/tiny"),
    Row(says="the head of the models", method="HEAD", path="/v1/models"),
    chat("a harmless query", path="/v1/chat/completions?api-version=2024-10-21"),
    chat("as Azure's clients ask", path="/openai/deployments/tiny/chat/completions?api-version=2024-10-21"),
    chat("a page that may ask", headers={"origin": ORIGIN}),
]  # fmt: skip
CORS = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
KEY = {"status": 401, "code": "invalid_api_key"}
JSON = {"status": 400, "code": "invalid_json"}
NOT_HERE = {"status": 404, "code": "unknown_url"}
REFUSALS = [
    chat("no key", as_=None, **KEY),
    chat("a wrong key", as_=None, headers={"authorization": "Bearer sk-wrong"}, **KEY),
    chat("a key in the query", as_=None, path=f"/v1/chat/completions?api_key={KEYS['open']}", **KEY),
    chat("a key in the query beside one that counts", path="/v1/chat/completions?api_key=x", status=400,
         code="unknown_query"),
    told("no key for Anthropic's clients", MESSAGES, messages=HELLO, as_=None, **KEY),
    Row(says="no key for the models", method="GET", path="/v1/models", as_=None, **KEY),
    chat("no such model", model="huge", status=404, code="model_not_found", param="model"),
    told("no such model for Anthropic's clients", MESSAGES, model="huge", messages=HELLO, status=404, code="model_not_found"),
    Row(says="no such model in the list", method="GET", path="/v1/models/huge", status=404, code="model_not_found",
        param="model"),
    chat("a model of others", model="full", as_="narrow", status=403, code="model_not_allowed", param="model"),
    chat("a provider's model for a private team", model="cloud", as_="private", status=403, code="model_not_allowed",
         param="model"),
    told("a path that is not for the model", "/v1/embeddings", input="x", status=404, code="unsupported_path", param="model"),
    told("another path that is not for the model", COMPLETIONS, model="vectors", prompt="x", status=404,
         code="unsupported_path", param="model"),
    Row(says="a wrong method", method="GET", status=405, code="method_not_allowed"),
    Row(says="another wrong method", method="DELETE", path=RESPONSES, status=405, code="method_not_allowed"),
    Row(says="a wrong method for the models", path="/v1/models", status=405, code="method_not_allowed"),
    chat("no such path", path="/v1/assistants", **NOT_HERE),
    chat("a path of LiteLLM's", path="/key/generate", **NOT_HERE),
    Row(says="a stored response", method="GET", path=f"{RESPONSES}/resp_1", **NOT_HERE),
    Row(says="the end of a stored response", method="DELETE", path=f"{RESPONSES}/resp_1", **NOT_HERE),
    Row(says="what a stored response was asked", method="GET", path=f"{RESPONSES}/resp_1/input_items", **NOT_HERE),
    Row(says="a response's cancelling", path=f"{RESPONSES}/resp_1/cancel", **NOT_HERE),
    Row(says="a stored completion", method="GET", path="/v1/chat/completions/c", **NOT_HERE),
    told("what a stored response goes on with", RESPONSES, input="x", previous_response_id="resp_1", status=400,
         code="previous_response_not_found", param="previous_response_id"),
    told("a response in the background", RESPONSES, input="x", background=True, status=400,
         code="unsupported_parameter", param="background"),
    Row(says="no JSON", raw=b'{"model": "tiny", ', **JSON),
    Row(says="a list", raw=b"[]", **JSON),
    Row(says="null", raw=b"null", **JSON),
    Row(says="a text", raw=b'"a"', **JSON),
    Row(says="nothing", raw=b"", **JSON),
    Row(says="a field twice", raw=b'{"model": "tiny", "model": "cloud", "messages": []}', **JSON),
    Row(says="no model", body={"messages": HELLO}, status=400, code="missing_model", param="model"),
    chat("a model that is no text", model=["tiny"], status=400, code="missing_model", param="model"),
    chat("an unknown field", frobnicate=1, status=400, code="unknown_parameter", param="frobnicate"),
    chat("an order to LiteLLM", api_base="http://127.0.0.1:1", status=400, code="unknown_parameter", param="api_base"),
    chat("a stream that is no boolean", stream="yes", status=400, code="invalid_type", param="stream"),
    chat("options that are none", stream=True, stream_options=1, status=400, code="invalid_type", param="stream_options"),
    chat("too many choices", n=1000, status=400, code="invalid_value", param="n"),
    chat("more than the context", max_tokens=CONTEXT + 1, status=400, code="context_length_exceeded"),
    chat("more than the context in a stream", max_tokens=CONTEXT + 1, stream=True, status=400,
         code="context_length_exceeded"),
    told("more than the context for Anthropic's clients", MESSAGES, messages=HELLO, max_tokens=CONTEXT + 1, status=400,
         code="context_length_exceeded"),
    Row(says="a body that is too large", raw=b'{"model": "' + b"x" * 2**21 + b'"}', status=413, code="request_too_large"),
    chat("too many requests", as_="once", before=1, status=429, code="rate_limit_exceeded"),
    told("too many requests of Anthropic's clients", MESSAGES, messages=HELLO, max_tokens=1, as_="once", before=1, status=429,
         code="rate_limit_exceeded"),
    chat("too many tokens", as_="few", before=1, status=429, code="rate_limit_exceeded"),
    chat("too many tokens in a month", as_="spent", before=1, status=429, code="insufficient_quota"),
    Row(says="a page asks whether it may", method="OPTIONS", headers={"origin": ORIGIN, **CORS}, as_=None, status=204),
    Row(says="another page asks whether it may", method="OPTIONS", headers={"origin": "https://x.test", **CORS}, as_=None,
        status=403, code="origin_not_allowed"),
    chat("a page that may ask without a key", as_=None, headers={"origin": ORIGIN}, **KEY),
    chat("what a filter stops", as_="strict", user="c@d.example", status=400, code="content_filtered"),
    chat("an answer that a filter stops", as_="strict", model="leaks", status=400, code="content_filtered"),
    chat("a stream that a filter stops", as_="strict", model="leaks", stream=True),
    told("a stream of Anthropic's that a filter stops", MESSAGES, as_="strict", model="leaks", messages=HELLO,
         max_tokens=9, stream=True),
    Row(says="no form", path="/v1/audio/transcriptions", body={"model": "hears"}, status=400, code="invalid_form"),
]  # fmt: skip
FAILURES = [
    chat("a full engine", model="full", status=503, code="overloaded"),
    chat("a full engine and a stream", model="full", stream=True, status=503, code="overloaded"),
    told("a full engine and Anthropic's clients", MESSAGES, model="full", messages=HELLO, max_tokens=1, status=503,
         code="overloaded"),
    chat("a busy engine", model="busy", status=503, code="overloaded"),
    chat("a failing engine", model="failing", status=502, code="backend_failed"),
    chat("an engine that refuses", model="refusing", status=400, code="invalid_request"),
    told("an engine that refuses Anthropic's clients", MESSAGES, model="refusing", messages=HELLO, max_tokens=1, status=400,
         code="invalid_request"),
    chat("an engine without the path", model="without", status=502, code="backend_without"),
    chat("an engine that takes no key of ours", model="closed", status=502, code="backend_refused"),
    chat("an engine that waits too long", model="slow", status=504, code="backend_timeout"),
    chat("an engine to which a request came too slowly", model="slower", status=504, code="backend_timeout"),
    chat("an engine that dies", model="dying", status=503, code="backend_unavailable"),
    chat("a stream of nothing", model="silenced", stream=True, status=503, code="backend_unavailable"),
    chat("a stream that ends before it begins", model="cut", stream=True, status=503, code="backend_unavailable"),
    chat("a stream that begins with an error", model="erring", stream=True, status=502, code="backend_failed"),
    chat("a stream that breaks", model="broken", stream=True),
    told("a stream of Anthropic's that breaks", MESSAGES, model="broken", messages=HELLO, max_tokens=9, stream=True),
    chat("an engine that is not there", model="gone", status=503, code="backend_unavailable"),
]  # fmt: skip


@dataclass
class Both:
    """The two fronts."""

    fast: Front
    slow: Front

    def ask(self, row: Row) -> tuple[httpx.Response, httpx.Response]:
        return self._ask(self.fast, row), self._ask(self.slow, row)

    def _ask(self, front: Front, row: Row) -> httpx.Response:
        key = KEYS.get(row.as_ or "", f"sk-key-of-{row.as_}-0123456789")
        headers = dict(row.headers) if row.as_ is None else {"authorization": f"Bearer {key}", **row.headers}
        content = row.raw if row.raw is not None or row.body is None else json.dumps(row.body).encode()
        given: Mapping[str, Any] = row.form or {"content": content}
        if row.before and time.time() % 60 > 50:
            time.sleep(60 - time.time() % 60 + 0.05)  # else its minute might end between the requests
        for _ in range(row.before):
            front.client.request(row.method, front.url + row.path, headers=headers, **given)
        return front.client.request(row.method, front.url + row.path, headers=headers, **given)


@pytest.fixture(scope="module")
def doubles() -> Iterator[dict[str, Double]]:
    found = {
        "engine": Double("engine", fingerprint=FINGERPRINT),
        "provider": Double("provider"),
        "leaks": Double("leaks", words=("a@b.example", " ")),
    }
    # With time between events: else some are lost with the connection, or come together with the error.
    found |= {name: Double(name, mode=mode, pace_s=0.2 if mode == "middle" else 0) for name, mode in MODES.items()}
    yield found
    for double in found.values():
        double.left.set()
        double.kill()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, doubles: dict[str, Double]) -> Iterator[Both]:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
    tasks = {"tiny": "chat", "vectors": "embedding", "ranks": "rerank", "hears": "transcription"}
    urls = (
        dict.fromkeys(tasks, doubles["engine"].url)
        | {name: doubles[name].url for name in (*MODES, "leaks")}
        | {"gone": gone}
    )
    entries = [deployment(name, url, native=ALL, task=tasks.get(name, "chat")) for name, url in urls.items()]
    entries.append(deployment("cloud", doubles["provider"].url, here=False))
    models = {
        name: model(backend(name, url, native=ALL, probe=None), task=tasks.get(name, "chat"))
        for name, url in urls.items()
    }
    models["cloud"] = model(provided=True)
    gateway = Gateway(tmp_path_factory.mktemp("gateway") / "litellm")
    gateway.start()
    fronts: list[Front] = []
    try:
        gateway.wait()
        gateway.keys(*TEAMS)
        gateway.filters({"strict": {"in": {"email": "block"}, "out": {"email": "block"}}})
        gateway.use(routes=gateway.routes(with_sizes(entries), {"default": "tiny"}))
        for name in ("fast", "slow"):
            variables = {"nginx_body_limit_mib": 1}
            front = Front(
                tmp_path_factory.mktemp(name) / "nginx", ("127.0.0.1", gateway.port), workers=1, variables=variables
            )
            fronts.append(front)
            front.start()
            front.wait()
            more = {"fast_path": name == "fast", "allowed_origins": [ORIGIN], "aliases": {"default": "tiny"}}
            front.serve(*TEAMS, models=models, **more)
        yield Both(*fronts)
    finally:
        for front in fronts:
            front.close()
        gateway.stop()


def with_sizes(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**entry, "context_window": 4096} for entry in entries]


def seen(response: httpx.Response) -> dict[str, Any]:
    """What a client sees, apart from what is another one each time."""
    kind = response.headers.get("content-type", "")
    found: dict[str, Any] = {"status": response.status_code, "content-type": kind}
    # Values are of the moment, or of nginx; names say what a client can count on.
    found["headers"] = sorted(response.headers.keys() - {"date", "server", "connection"})
    for name in ("x-slipway-model", "retry-after", "allow", "www-authenticate", "x-ratelimit-limit-requests"):
        found[name] = response.headers.get(name)
    if "event-stream" in kind:
        found["events"] = [_event(event) for event in response.text.strip().split("\n\n")]
    else:
        found["body"] = response.json() if "json" in kind and response.content else response.text
    return found


def _event(text: str) -> list[Any]:
    lines = [line.partition(": ") for line in text.splitlines()]
    return [(name, json.loads(value) if value.startswith("{") else value) for name, _, value in lines]


def error(found: dict[str, Any]) -> dict[str, Any]:
    body = found["body"]
    assert set(body) == ({"error"} if "type" not in body else {"type", "error"}), body
    return dict(body["error"])


@pytest.mark.parametrize("row", [*ANSWERS, *REFUSALS, *FAILURES], ids=str)
def test_both_paths_say_the_same(both: Both, doubles: dict[str, Double], row: Row) -> None:
    answers = both.ask(row)
    fast, slow = map(seen, answers)
    assert not any(FINGERPRINT in answer.text for answer in answers)
    if "x-request-id" in row.headers:
        assert {answer.headers["x-request-id"] for answer in answers} == {row.headers["x-request-id"]}
    assert fast["status"] == row.status, fast
    if row.code is not None:
        assert error(fast).get("code", row.code) == row.code
        assert error(fast).get("param", row.param) == row.param
    assert slow == fast


def test_one_way_is_fast_and_the_other_is_not(both: Both, doubles: dict[str, Double]) -> None:
    """Else the rows would compare a path with itself."""
    for row in ANSWERS[:2]:
        both.ask(row)

    def asked(front: Front) -> set[str]:
        return {entry["backend"] for entry in front.usage if entry.get("model") == "tiny" and entry["status"] == 200}

    until(lambda: bool(asked(both.fast) and asked(both.slow)))
    gateway = f"gateway@{both.slow.gateway[1]}"
    assert asked(both.slow) == {gateway}
    assert gateway not in asked(both.fast)


def test_requests_at_once_are_limited_alike(both: Both, doubles: dict[str, Double]) -> None:
    key = {"authorization": "Bearer sk-key-of-alone-0123456789"}
    body = {"model": "tiny", "messages": HELLO, "stream": True}
    found = []
    for front in (both.fast, both.slow):
        doubles["engine"].go_on.clear()
        with front.client.stream("POST", f"{front.url}/v1/chat/completions", json=body, headers=key) as held:
            pieces = held.iter_bytes()  # an iterator that goes takes the connection along
            assert b"one" in next(pieces)
            found.append(seen(front.chat("tiny", "alone")))
            doubles["engine"].go_on.set()
    assert (found[0]["status"], error(found[0])["code"]) == (429, "rate_limit_exceeded")
    assert found[1] == found[0]


@pytest.mark.parametrize("given", [{}, {"store": True}, {"store": None}, {"store": False, "stream": True}])
def test_no_response_is_kept_by_an_engine(both: Both, doubles: dict[str, Double], given: dict[str, Any]) -> None:
    engine = doubles["engine"]
    before = len(engine.asked)
    for response in both.ask(told("response", RESPONSES, input="x", **given)):
        assert response.status_code == 200
    assert [asked.body["store"] for asked in engine.asked[before:]] == [False, False]

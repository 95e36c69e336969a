"""The gateway's part in Slipway, in the real LiteLLM, in front of stand-ins for engines and providers."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from slipway.gateways.litellm.config import provider_parameters
from tests.integration.asking import CANARY, HELLO, TEXT, words
from tests.integration.asking import GENERATING as ASKING
from tests.integration.asking import until as until_within
from tests.integration.backend_double import WORDS, Double
from tests.integration.gateway import KEYS, Gateway, deployment, key

ALL = ("chat", "completions", "embeddings", "rerank", "responses", "messages", "tokenize", "transcriptions")
until = partial(until_within, timeout_s=30)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("gateway") / "litellm")
    gateway.start()
    try:
        gateway.wait()
        yield gateway
        # Neither what was asked nor what a backend said of it, and no key.
        assert CANARY not in gateway.journal
        assert "told to say" not in gateway.journal
        assert not [secret for secret in [*KEYS.values(), "sk-backend"] if secret in gateway.journal]
    finally:
        gateway.stop()


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    running.keys(key("open"), key("narrow", models=["tiny"]), key("private", private=True))
    return running


@pytest.fixture
def engine(make: Callable[..., Double]) -> Double:
    return make("engine")


@pytest.fixture
def provider(make: Callable[..., Double]) -> Double:
    return make("provider")


@pytest.fixture
def served(gateway: Gateway, engine: Double, provider: Double) -> Gateway:
    """The model tiny on an engine here, which falls back to the provider's model cloud."""
    models = [deployment("tiny", engine.url, native=ALL), deployment("cloud", provider.url, here=False)]
    digest = gateway.routes(models, {"default": "tiny"}, {"tiny": ["cloud"]})
    gateway.use(routes=digest)
    return gateway


def error(response: httpx.Response) -> dict[str, Any]:
    found = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


# Who calls, and what


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer x"}, {"authorization": KEYS["open"]}, {"x-api-key": "x"}]
)
def test_who_has_no_key_gets_nothing(served: Gateway, headers: dict[str, str]) -> None:
    for path in ("/v1/chat/completions", "/v1/models", "/tokenize"):
        response = served.client.request("GET" if "models" in path else "POST", served.url + path, headers=headers)
        assert (response.status_code, error(response)["code"]) == (401, "invalid_api_key")
    response = served.client.post(served.url + "/v1/messages", headers=headers)
    assert response.json()["error"]["type"] == "authentication_error"


def test_a_key_counts_in_the_header_of_anthropics_clients_too(served: Gateway) -> None:
    body = {"model": "tiny", "max_tokens": 5, "messages": HELLO}
    response = served.client.post(served.url + "/v1/messages", json=body, headers={"x-api-key": KEYS["open"]})
    assert response.json()["content"][0]["text"] == TEXT


@pytest.mark.parametrize("path", ["/key/generate", "/v1/model/info", "/model/info", "/v1/files", "/", "/v1/modelsx"])
def test_a_key_opens_nothing_but_the_api(served: Gateway, path: str) -> None:
    for method in ("GET", "POST"):
        response = served.client.request(method, served.url + path, headers={"x-api-key": KEYS["open"]})
        assert (response.status_code, error(response)["code"]) == (404, "unknown_url")


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"", "application/json", "invalid_json"),
        (b"{", "application/json", "invalid_json"),
        (b"[1]", "application/json", "invalid_json"),
        (b"\xff\xfe", "application/json", "invalid_json"),
        (b"[" * 100_000, "application/json", "invalid_json"),
        (b"{}", "application/json", "missing_model"),
        (b'{"model": ["tiny"]}', "application/json", "missing_model"),
        (b"nonsense", "multipart/form-data; boundary=x", "invalid_form"),
        (b"nonsense", "multipart/form-data", "invalid_form"),
    ],
)
def test_a_broken_body_is_the_callers_mistake(served: Gateway, content: bytes, kind: str, code: str) -> None:
    for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/audio/transcriptions"):
        headers = {"x-api-key": KEYS["open"], "content-type": kind}
        response = served.client.post(served.url + path, content=content, headers=headers)
        assert (response.status_code, error(response)["code"]) == (400, code)


def test_a_team_sees_and_uses_its_models_only(served: Gateway, engine: Double, provider: Double) -> None:
    def listed(team: str) -> list[str]:
        response = served.client.get(served.url + "/v1/models", headers={"x-api-key": KEYS[team]})
        return [entry["id"] for entry in response.json()["data"]]

    assert listed("open") == ["cloud", "default", "tiny"]
    assert listed("narrow") == ["default", "tiny"]  # an alias of what it may use
    assert listed("private") == ["default", "tiny"]
    assert served.chat("default", "narrow").status_code == 200
    for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/tokenize"):
        assert error(served.ask(path, "narrow", model="cloud"))["code"] == "model_not_allowed"
        assert served.ask(path, "narrow", model="cloud").status_code == 403
        assert served.ask(path, "narrow", model="cloudy").status_code == 404
        assert error(served.ask(path, "narrow", model="cloudy"))["code"] == "model_not_found"
    assert served.ask("/v1/messages", "narrow", model="cloud").json()["error"]["type"] == "permission_error"
    assert not provider.asked
    # The ids of backends, by which LiteLLM is asked, are no names.
    assert served.chat(f"cloud@{provider.port}").status_code == 404


def test_a_model_is_described(gateway: Gateway, engine: Double) -> None:
    gateway.routes([deployment("org/tiny", engine.url, context_window=4096, max_output_tokens=512)])
    headers = {"x-api-key": KEYS["open"]}
    found = gateway.client.get(gateway.url + "/v1/models/org/tiny", headers=headers).json()
    assert (found["id"], found["object"], found["owned_by"]) == ("org/tiny", "model", "slipway")
    assert (found["context_window"], found["max_output_tokens"], found["task"]) == (4096, 512, "chat")
    missing = gateway.client.get(gateway.url + "/v1/models/other", headers=headers)
    assert (missing.status_code, error(missing)["code"]) == (404, "model_not_found")


# Passing on


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO, "top_k": 3}),
        ("/v1/completions", {"prompt": CANARY}),
        ("/v1/embeddings", {"input": ["a"], "encoding_format": "base64"}),
        ("/v1/embeddings", {"input": [[1, 2]], "encoding_format": "float"}),
        ("/v1/rerank", {"query": "q", "documents": ["a", "b"]}),
        ("/rerank", {"query": "q", "documents": ["a", "b"]}),
        ("/v1/responses", {"input": CANARY, "unheard_of": [1.5, None]}),
        ("/v1/messages", {"max_tokens": 5, "messages": HELLO}),
        ("/v1/messages/count_tokens", {"messages": HELLO}),
        ("/tokenize", {"prompt": CANARY}),
        ("/detokenize", {"tokens": [1, 2]}),
    ],
)
def test_an_engine_gets_what_was_asked_and_says_what_is_answered(
    gateway: Gateway, engine: Double, path: str, body: dict[str, Any]
) -> None:
    task = "rerank" if "rerank" in path else "embedding" if "embeddings" in path else "chat"
    models = [deployment("tiny", engine.url, native=ALL, task=task)]
    gateway.use(routes=gateway.routes(models, {"default": "tiny"}))
    response = gateway.ask(path, model="default", **body)
    assert response.status_code == 200, response.text
    (asked,) = engine.asked
    kept = {"store": False} if "responses" in path else {}
    assert (asked.path, asked.body) == (path, {"model": "tiny-inside", **body, **kept})
    assert asked.headers["authorization"] == "Bearer sk-backend"
    assert "x-api-key" not in asked.headers
    found = response.json()
    assert found.get("model", "engine") == "engine"
    if body.get("encoding_format") == "base64":
        assert found["data"][0]["embedding"] == "AACAPwAAAEA="
    if path.endswith("chat/completions"):
        assert found["choices"][0]["message"]["reasoning"] == "thought"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_a_stream_passes_piece_by_piece(served: Gateway, engine: Double, path: str) -> None:
    engine.pace_s = 0.6
    arrived = []
    headers = {"x-api-key": KEYS["open"]}
    body = {"model": "tiny", "stream": True, "messages": HELLO, "input": "x", "max_tokens": 5}
    with served.client.stream("POST", served.url + path, json=body, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = ""
        for piece in response.iter_text():
            arrived.append(time.monotonic())
            text += piece
    assert arrived[-1] - arrived[0] > 0.8
    assert len(arrived) >= 4
    assert ("event: message_stop" in text) == (path == "/v1/messages")
    assert ("event: response.completed" in text) == (path == "/v1/responses")


def test_large_bodies_pass(served: Gateway, engine: Double) -> None:
    image = "data:image/png;base64," + "A" * 24_000_000
    content = [{"type": "image_url", "image_url": {"url": image}}]
    assert served.ask("/v1/chat/completions", model="tiny", messages=[{"role": "user", "content": content}]).is_success
    assert len(engine.asked[0].raw) > 24_000_000


@pytest.mark.parametrize("native", [ALL, ()])
def test_a_recording_is_transcribed(gateway: Gateway, engine: Double, native: tuple[str, ...]) -> None:
    models = [deployment("tiny", engine.url, native=native, task="transcription")]
    gateway.use(routes=gateway.routes(models, {"default": "tiny"}))
    sound = bytes(range(256)) * 5000

    def transcribe(**fields: Any) -> httpx.Response:
        files = {"file": ('a"b.wav', sound, "audio/wav")}
        headers = {"authorization": f"Bearer {KEYS['open']}"}
        return gateway.client.post(gateway.url + "/v1/audio/transcriptions", data=fields, files=files, headers=headers)

    response = transcribe(model="default", language="de")
    assert response.json()["text"] == TEXT
    (asked,) = engine.asked
    assert sound in asked.raw
    assert b"tiny-inside" in asked.raw
    assert b'name="model"' in asked.raw
    assert b'name="language"' in asked.raw
    assert transcribe(model="other").status_code == 404
    assert error(transcribe(model=["default", "other"]))["code"] == "invalid_form"
    assert error(transcribe())["code"] == "missing_model"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/messages", {"max_tokens": 5, "messages": HELLO}),
        ("/v1/messages/count_tokens", {"messages": HELLO}),
    ],
)
def test_a_provider_is_asked_by_litellm(served: Gateway, provider: Double, path: str, body: dict[str, Any]) -> None:
    response = served.ask(path, model="cloud", **body)
    assert response.status_code == 200, response.text
    assert response.json().get("model", "cloud") == "cloud"
    assert provider.asked[0].body["model"] == "cloud-inside"
    assert provider.asked[0].headers["authorization"] == "Bearer sk-backend"
    if "count" not in path:
        assert TEXT in response.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_reach_a_provider_as_they_are(
    served: Gateway, provider: Double, prompt: list[Any], stream: bool
) -> None:
    response = served.ask("/v1/completions", model="cloud", prompt=prompt, stream=stream)
    assert response.status_code == 200, response.text
    assert all(word in response.text for word in WORDS)
    (asked,) = provider.asked
    assert asked.body["prompt"] == prompt


@dataclass(frozen=True)
class Kind:
    """How a kind of provider is asked, as its own documentation has it."""

    kind: str
    path: str
    header: str
    value: str
    model: str = "m"
    key: str | None = "sk-backend"
    options: dict[str, str] = field(default_factory=dict)


OPENAI, AZURE = "/v1/chat/completions", "/openai/deployments/m/chat/completions?api-version=2026-10-01"
AWS = {"region": "eu-central-1", "access_key_id": "AKIA"}
GOOGLE = {"project": "p", "location": "europe-west3"}


KINDS = [
    Kind("openai", OPENAI, "authorization", "Bearer sk-backend"),
    Kind("openai_compatible", OPENAI, "authorization", "Bearer none", key=None),
    Kind("anthropic", "/v1/messages", "x-api-key", "sk-backend"),
    Kind("azure_openai", AZURE, "api-key", "sk-backend", options={"api_version": "2026-10-01"}),
    Kind(
        "bedrock",
        "/converse",
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKIA/",
        "amazon.nova-lite-v1:0",
        options=AWS,
    ),
    Kind("vertex", ":generateContent", "authorization", "Bearer token-of-google", "gemini-2.5-flash", options=GOOGLE),
]


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.kind)
def test_each_kind_of_provider_is_asked_in_its_own_way(gateway: Gateway, provider: Double, case: Kind) -> None:
    gateway.use(routes=gateway.routes([_entry(provider, case)]))
    response = gateway.chat("cloud")
    assert response.status_code == 200, (response.text, [asked.path for asked in provider.asked])
    assert response.json()["choices"][0]["message"]["content"] == TEXT
    assert response.json()["model"] == "cloud"
    asked = provider.asked[-1]
    assert asked.path.endswith(case.path)
    assert asked.headers[case.header].startswith(case.value)


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.kind)
def test_what_a_kind_of_provider_refuses_is_told_without_litellm(
    gateway: Gateway, provider: Double, case: Kind
) -> None:
    gateway.use(routes=gateway.routes([_entry(provider, case)]))
    provider.mode = "400"
    response = gateway.chat("cloud")
    assert (response.status_code, error(response)["message"]) == (400, "told to say 400")


def _entry(provider: Double, case: Kind) -> dict[str, Any]:
    root = provider.url.removesuffix("/v1")
    url = provider.url if case.kind.startswith("openai") else root
    secret = _service_account(f"{root}/token") if case.kind == "vertex" else case.key
    parameters = provider_parameters(case.kind, model=case.model, url=url, key=secret, options=case.options)
    return deployment("cloud", provider.url, here=False) | {"litellm": parameters}


def _service_account(token_uri: str) -> str:
    """The key file of a service account of Google's that nobody knows."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": pem.decode()}
    return json.dumps(account | {"client_email": "x@example.invalid", "client_id": "1", "token_uri": token_uri})


@pytest.mark.parametrize("name", ["api_base", "api_key", "fallbacks", "mock_response", "litellm_params", "base_url"])
def test_no_caller_tells_litellm_where_to_go(served: Gateway, provider: Double, name: str) -> None:
    response = served.chat("cloud", **{name: "http://192.0.2.1"})
    assert (response.status_code, error(response)["param"]) == (400, name)
    assert not provider.asked


def test_a_model_serves_what_it_is_for(gateway: Gateway, engine: Double) -> None:
    gateway.use(routes=gateway.routes([deployment("embed", engine.url, native=ALL, task="embedding")]))
    assert gateway.ask("/v1/embeddings", model="embed", input="x").status_code == 200
    response = gateway.chat("embed")
    assert (response.status_code, error(response)["code"]) == (404, "unsupported_path")
    assert len(engine.asked) == 1


def test_the_official_client_talks_through_it(served: Gateway, gateway: Gateway, engine: Double) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEYS["open"], max_retries=0) as client:
        for model in ("tiny", "cloud"):
            stream = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "x"}], stream=True
            )
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == TEXT
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="none", messages=[{"role": "user", "content": "x"}])
        assert {model.id for model in client.models.list()} == {"tiny", "default", "cloud"}


# What is in use


def test_the_state_says_which_files_are_in_use_and_no_more(served: Gateway) -> None:
    state = served.client.get(served.url + "/slipway/state").json()
    assert set(state) == {"routes", "teams", "filters", "refused"}
    assert served.client.get(f"{served.url}/slipway/state?teams={state['teams']}").status_code == 200
    assert served.client.get(f"{served.url}/slipway/state?teams={'0' * 64}").status_code == 503


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": [{"name": "tiny"}]}', '{"aliases": {"a": "b"}}'])
def test_damaged_routes_leave_the_ones_before(served: Gateway, text: str) -> None:
    served.write("routes.json", text)
    assert served.chat("tiny").status_code == 200
    assert served.chat("cloud").status_code == 200
    response = served.client.get(served.url + "/slipway/state")
    assert response.status_code == 503
    assert response.json()["refused"]["routes"]


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"teams": [{"name": "x"}]}', '{"teams": [{"name": "x", "keys": [], "private": 1}]}']
)
def test_damaged_teams_neither_lock_out_nor_let_in(served: Gateway, text: str) -> None:
    served.write("teams.json", text)
    assert served.chat("tiny").status_code == 200
    assert served.client.get(served.url + "/slipway/state").json()["refused"]["teams"]
    served.keys(key("narrow"))
    assert served.chat("tiny", "narrow").status_code == 200
    assert served.chat("tiny").status_code == 401


def test_a_backend_that_litellm_does_not_know_is_told(gateway: Gateway, engine: Double) -> None:
    unknown = deployment("odd", engine.url, here=False) | {"litellm": {"model": "nonsense/odd"}}
    gateway.routes([deployment("tiny", engine.url, native=ALL), unknown])
    response = gateway.client.get(gateway.url + "/slipway/state")
    assert response.status_code == 503
    assert f"odd@{engine.port}" in response.json()["refused"]["routes"]
    assert gateway.chat("tiny").status_code == 200


def test_routes_change_without_failing_a_request(gateway: Gateway, make: Callable[..., Double]) -> None:
    """Under load on one model, which stays; others come and go, and streams on them are finished."""
    steady, other, cloud = make("steady"), make("other"), make("cloud")
    base = [deployment("steady", steady.url, native=ALL)]
    extra = [
        deployment("other", other.url, native=ALL),
        deployment("cloud", cloud.url, here=False),
        deployment("through", cloud.url, native=()),
    ]
    gateway.use(routes=gateway.routes(base + extra, timeout_s=60))
    over = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not over.is_set():
                body = {"model": "steady", "messages": HELLO, "stream": len(statuses) % 2 == 0}
                url, headers = gateway.url + "/v1/chat/completions", {"x-api-key": KEYS["open"]}
                statuses.append(client.post(url, json=body, headers=headers).status_code)

    assert gateway.process is not None
    other.go_on.clear()
    cloud.go_on.clear()
    with ThreadPoolExecutor(8) as pool:
        try:
            loads = [pool.submit(load) for _ in range(3)]
            streams = [pool.submit(gateway.chat, name, stream=True) for name in ("other", "cloud", "through")]
            until(lambda: bool(other.asked) and len(cloud.asked) == 2)
            for weight in range(1, 11):
                # Gone while streams on them run; then there again, and changed.
                gateway.use(routes=gateway.routes(base, timeout_s=60))
                gateway.use(routes=gateway.routes(base + [one | {"weight": weight} for one in extra], timeout_s=60))
            until(lambda: len(statuses) > 20)
            assert not any(stream.done() for stream in streams)
        finally:
            other.go_on.set()
            cloud.go_on.set()
            over.set()
        assert [words(stream.result()) for stream in streams] == [TEXT] * 3
        for one in loads:
            one.result()
    assert len(statuses) > 20
    assert set(statuses) == {200}
    assert gateway.process.poll() is None


def test_routes_are_taken_up_when_nobody_asks(gateway: Gateway, engine: Double) -> None:
    """The gateway looks by itself; the journal tells it."""
    digest = gateway.routes([deployment("tiny", engine.url, native=ALL)])
    until(lambda: f"routes.json is in use, SHA-256 {digest}" in gateway.journal)


# Failing over


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("native", [ALL, ()])
def test_a_killed_engine_is_answered_for_by_the_fall_back_and_comes_back(
    gateway: Gateway, engine: Double, provider: Double, native: tuple[str, ...], stream: bool
) -> None:
    models = [deployment("tiny", engine.url, native=native), deployment("cloud", provider.url, here=False)]
    gateway.use(routes=gateway.routes(models, {}, {"tiny": ["cloud"]}, cooldown_s=0.2))
    assert gateway.chat("tiny", stream=stream).headers["x-slipway-model"] == "tiny"
    engine.kill()
    response = gateway.chat("tiny", stream=stream)
    assert response.headers["x-slipway-model"] == "cloud"
    assert (words(response) if stream else response.json()["choices"][0]["message"]["content"]) == TEXT
    engine.start()
    time.sleep(0.3)
    assert gateway.chat("tiny", stream=stream).headers["x-slipway-model"] == "tiny"


def test_fall_backs_are_asked_in_order_from_here_to_a_provider_and_back(
    gateway: Gateway, make: Callable[..., Double]
) -> None:
    first, cloud, last = make("first"), make("cloud"), make("last")
    models = [
        deployment("first", first.url, native=ALL),
        deployment("last", last.url, native=ALL),
        deployment("cloud", cloud.url, here=False),
    ]
    gateway.use(routes=gateway.routes(models, {}, {"first": ["cloud", "last"]}))
    answered = []
    for gone in (first, cloud, last):
        answered.append(gateway.chat("first").headers["x-slipway-model"])
        gone.kill()
    assert answered == ["first", "cloud", "last"]
    response = gateway.chat("first")
    assert (response.status_code, error(response)["code"]) == (503, "backend_unavailable")


@pytest.mark.parametrize("mode", ["die", "headers", "error", "500", "503", "401", "404", "429"])
@pytest.mark.parametrize("native", [ALL, ()])
@pytest.mark.parametrize("path", ASKING)
def test_a_stream_that_fails_before_its_first_event_is_begun_elsewhere(
    gateway: Gateway, make: Callable[..., Double], mode: str, native: tuple[str, ...], path: str
) -> None:
    bad, good = make("bad", mode=mode), make("good")
    gateway.use(routes=gateway.routes(_first_and_spare(bad, good, native)))
    with ThreadPoolExecutor() as pool:
        # Another request is there, so none is known to be the one that took the engine down.
        held = _held(pool, gateway, bad) if mode in {"die", "headers"} else None
        bad.mode = mode
        response = gateway.ask(path, model="tiny", stream=True, **ASKING[path])
        bad.go_on.set()
        assert response.status_code == 200, response.text
        assert all(word in response.text for word in WORDS), response.text
        assert held is None or words(held.result()) == TEXT
    assert bad.asked
    assert good.asked


def _first_and_spare(first: Double, spare: Double, native: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        deployment("tiny", first.url, native=native, weight=100),
        deployment("tiny", spare.url, native=native, weight=0),
    ]


def _held(pool: ThreadPoolExecutor, gateway: Gateway, engine: Double) -> Future[httpx.Response]:
    """A stream that waits on the engine, which is to go on."""
    engine.mode = "well"
    engine.go_on.clear()
    held = pool.submit(gateway.chat, "tiny", stream=True)
    until(lambda: bool(engine.asked))
    return held


@pytest.mark.parametrize("way", [("die", False), ("die", True), ("headers", True), ("fall", True)], ids=str)
@pytest.mark.parametrize("native", [ALL, ()])
@pytest.mark.parametrize("path", ASKING)
def test_a_request_that_takes_its_engine_down_is_not_given_another(
    gateway: Gateway, make: Callable[..., Double], way: tuple[str, bool], native: tuple[str, ...], path: str
) -> None:
    mode, stream = way
    bad, good = make("bad"), make("good")
    gateway.use(routes=gateway.routes(_first_and_spare(bad, good, native)))
    # Its connection is kept, and may just be closed when the next request comes on it: that is to be told apart.
    assert gateway.ask(path, model="tiny", **ASKING[path]).is_success
    bad.mode = mode
    response = gateway.ask(path, model="tiny", stream=stream, **ASKING[path])
    assert response.status_code == 503, response.text
    said = "No backend of the model 'tiny' gives an answer. Try again later."
    if path == "/v1/messages":
        assert response.json()["error"] == {"type": "api_error", "message": said}
    else:
        assert (error(response)["code"], error(response)["message"]) == ("backend_unavailable", said)
    assert response.headers["retry-after"] == "1"
    assert not good.asked
    # The next one is answered: the engine is left alone for a while.
    assert gateway.chat("tiny").is_success
    assert good.asked


@pytest.mark.parametrize("native", [ALL, ()])
def test_an_engine_that_has_just_answered_others_is_not_lost_by_the_one_request_on_it(
    gateway: Gateway, make: Callable[..., Double], native: tuple[str, ...]
) -> None:
    """It was killed; that nobody else was on it at that moment tells nothing."""
    bad, good = make("bad"), make("good")
    gateway.use(routes=gateway.routes(_first_and_spare(bad, good, native)))
    assert gateway.chat("tiny", "narrow").is_success
    bad.mode = "die"
    assert gateway.chat("tiny").is_success
    assert good.asked


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_connection_that_is_closed_as_it_is_used_loses_nothing(
    gateway: Gateway, engine: Double, stream: bool
) -> None:
    gateway.use(routes=gateway.routes([deployment("tiny", engine.url, native=ALL)]))
    assert gateway.chat("tiny").is_success
    engine.resets_kept = True
    for _ in range(5):
        response = gateway.chat("tiny", stream=stream)
        assert response.status_code == 200, response.text
    assert len(engine.asked) == 6


def test_a_stream_without_an_event_is_no_answer(served: Gateway, engine: Double) -> None:
    engine.mode = "empty"
    response = served.chat("tiny", stream=True)
    assert (words(response), response.headers["x-slipway-model"]) == (TEXT, "cloud")


def test_a_stream_that_breaks_in_the_middle_says_so(served: Gateway, engine: Double) -> None:
    engine.mode = "middle"
    response = served.chat("tiny", stream=True)
    last = response.text.strip().splitlines()[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "backend_lost"
    response = served.ask("/v1/messages", model="tiny", stream=True, max_tokens=5, messages=HELLO)
    assert "event: error" in response.text
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEYS["open"], max_retries=0) as client:
        stream = client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x"}], stream=True)
        with pytest.raises(openai.APIError, match="lost in the middle"):
            list(stream)


@pytest.mark.parametrize("path", ASKING)
def test_a_translated_stream_that_breaks_says_so_as_any_other(served: Gateway, provider: Double, path: str) -> None:
    # With time between events: else those before the break are lost with the connection, when the machine is busy.
    provider.mode, provider.pace_s = "middle", 1.0
    response = served.ask(path, model="cloud", stream=True, **ASKING[path])
    told = json.loads(response.text.strip().splitlines()[-1].removeprefix("data: "))["error"]
    assert told["message"] == "The backend was lost in the middle of this answer."
    assert "litellm" not in response.text.lower()


def test_a_callers_mistake_is_told_and_asked_of_one_backend_only(
    served: Gateway, engine: Double, provider: Double
) -> None:
    engine.mode = "400"
    response = served.chat("tiny")
    assert (response.status_code, error(response)["message"]) == (400, "told to say 400")
    response = served.ask("/v1/messages", model="tiny", messages=HELLO)
    assert response.json() == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "told to say 400"},
    }
    assert not provider.asked


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [("401", 502, "backend_refused"), ("500", 502, "backend_failed"), ("503", 503, "overloaded")],
)
def test_what_a_backend_says_to_the_gateway_is_not_for_the_caller(
    gateway: Gateway, engine: Double, mode: str, status: int, code: str
) -> None:
    gateway.use(routes=gateway.routes([deployment("tiny", engine.url, native=ALL)]))
    engine.mode = mode
    response = gateway.chat("tiny")
    assert (response.status_code, error(response)["code"]) == (status, code)
    assert "told to say" not in response.text
    assert "127.0.0.1" not in response.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("path", ASKING)
def test_a_callers_mistake_is_told_in_the_backends_words_alone(
    gateway: Gateway, engine: Double, path: str, here: bool, stream: bool
) -> None:
    """Through LiteLLM, which puts its own words around them, with the provider and the name that the model has there."""
    gateway.use(routes=gateway.routes([deployment("tiny", engine.url, here=here)]))
    engine.mode, engine.said = "400", "tiny-inside: the prompt of tiny-inside is too {long}"
    response = gateway.ask(path, model="tiny", stream=stream, **ASKING[path])
    assert response.status_code == 400
    said = response.json()["error"]
    assert said["message"] == "tiny: the prompt of tiny is too {long}"
    if path != "/v1/messages":
        assert (said["type"], said["param"], said["code"]) == ("t", None, None)


def test_a_busy_provider_is_told_with_its_time_to_wait(gateway: Gateway, provider: Double) -> None:
    gateway.use(routes=gateway.routes([deployment("cloud", provider.url, here=False)]))
    provider.mode = "429"
    response = gateway.chat("cloud")
    assert (response.status_code, error(response)["code"]) == (429, "rate_limit_exceeded")


def test_an_answer_that_takes_too_long_ends(gateway: Gateway, engine: Double) -> None:
    gateway.use(routes=gateway.routes([deployment("tiny", engine.url, native=ALL)], timeout_s=1))
    engine.mode = "hang"
    response = gateway.chat("tiny")
    assert (response.status_code, error(response)["code"]) == (504, "timeout")
    engine.mode, engine.pace_s = "well", 0.4
    response = gateway.chat("tiny", stream=True)
    assert '"code": "timeout"' in response.text.strip().splitlines()[-1]


@pytest.mark.parametrize("model", ["tiny", "cloud"])
def test_who_leaves_ends_the_generation(served: Gateway, engine: Double, provider: Double, model: str) -> None:
    talking = engine if model == "tiny" else provider
    talking.pace_s = 1.0
    body = {"model": model, "messages": HELLO, "stream": True}
    headers = {"x-api-key": KEYS["open"]}
    with httpx.Client(timeout=30, trust_env=False) as client:
        url = served.url + "/v1/chat/completions"
        with client.stream("POST", url, json=body, headers=headers) as response:
            next(response.iter_bytes())
        assert talking.left.wait(20)


@pytest.mark.parametrize("model", ["tiny", "cloud"])
@pytest.mark.parametrize("path", ASKING)
def test_who_leaves_before_a_whole_answer_ends_the_generation(
    served: Gateway, engine: Double, provider: Double, path: str, model: str
) -> None:
    thinking = engine if model == "tiny" else provider
    thinking.mode = "think"
    with httpx.Client(timeout=1, trust_env=False) as client, pytest.raises(httpx.ReadTimeout):
        client.post(served.url + path, json={"model": model, **ASKING[path]}, headers={"x-api-key": KEYS["open"]})
    assert thinking.left.wait(10)
    assert len(engine.asked) + len(provider.asked) == 1  # and it is begun nowhere else


def test_requests_are_shared_by_weight_and_replicas_by_load(gateway: Gateway, make: Callable[..., Double]) -> None:
    heavy, light = make("heavy"), make("light")
    models = [
        deployment("tiny", heavy.url, native=ALL, weight=9),
        deployment("tiny", light.url, native=ALL, weight=1),
    ]
    gateway.use(routes=gateway.routes(models))
    for _ in range(100):
        gateway.chat("tiny")
    assert 1 <= len(light.asked) <= 30
    gateway.use(routes=gateway.routes([entry | {"weight": 1} for entry in models]))
    before = len(heavy.asked), len(light.asked)
    heavy.go_on.clear()
    light.go_on.clear()
    with ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(gateway.chat, "tiny", stream=True) for _ in range(8)]
        until(lambda: len(heavy.asked) + len(light.asked) == sum(before) + 8)
        heavy.go_on.set()
        light.go_on.set()
        assert [words(stream.result()) for stream in streams] == [TEXT] * 8
    assert (len(heavy.asked) - before[0], len(light.asked) - before[1]) == (4, 4)


# What stays here


@pytest.mark.parametrize("stream", [False, True])
def test_a_private_request_never_leaves_for_a_provider(
    served: Gateway, engine: Double, provider: Double, stream: bool
) -> None:
    assert served.chat("tiny", "private", stream=stream).status_code == 200
    engine.kill()
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses"):
        response = served.ask(path, "private", model="tiny", stream=stream, messages=HELLO, prompt="x", input="x")
        assert (response.status_code, error(response)["code"]) == (503, "no_private_backend")
    response = served.ask("/v1/messages", "private", model="tiny", stream=stream, messages=HELLO, max_tokens=5)
    assert (response.status_code, response.json()["error"]["type"]) == (503, "api_error")
    assert not provider.asked
    assert served.chat("tiny", stream=stream).status_code == 200  # of another team
    assert len(provider.asked) == 1


def test_a_private_request_takes_no_weighted_backend_that_is_a_provider(
    gateway: Gateway, engine: Double, provider: Double
) -> None:
    models = [
        deployment("tiny", engine.url, native=ALL, weight=1),
        deployment("tiny", provider.url, here=False, weight=1000),
    ]
    gateway.use(routes=gateway.routes(models))
    for _ in range(5):
        assert gateway.chat("tiny", "private").status_code == 200
    engine.mode = "500"
    assert error(gateway.chat("tiny", "private"))["code"] == "no_private_backend"
    assert not provider.asked


def test_a_private_team_cannot_name_a_providers_model(served: Gateway, provider: Double) -> None:
    described = served.client.get(served.url + "/v1/models/cloud", headers={"x-api-key": KEYS["private"]})
    for response in (described, served.chat("cloud", "private")):
        assert (response.status_code, error(response)["code"]) == (403, "model_not_allowed")
    assert not provider.asked


def test_a_private_request_is_translated_for_what_is_here(gateway: Gateway, engine: Double) -> None:
    gateway.use(routes=gateway.routes([deployment("tiny", engine.url, native=())]))
    assert gateway.chat("tiny", "private").json()["choices"][0]["message"]["content"] == TEXT


def test_litellms_streams_are_such_as_openais(served: Gateway) -> None:
    """Each choice is ended, and the usage comes without a choice."""
    response = served.chat("cloud", stream=True, n=2, stream_options={"include_usage": True})
    assert words(response) == "".join(word * 2 for word in WORDS)
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    ended = [
        (one["index"], one["finish_reason"]) for chunk in chunks for one in chunk["choices"] if one.get("finish_reason")
    ]
    assert sorted(ended) == [(0, "length"), (1, "length")]
    assert [chunk["choices"] for chunk in chunks if chunk.get("usage")] == [[]]
    assert chunks[-1]["usage"]["completion_tokens"] == 4
    assert len({chunk["id"] for chunk in chunks}) == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages"])
def test_a_stream_that_says_the_same_again_and_again_comes_whole(served: Gateway, provider: Double, path: str) -> None:
    """A table's empty cells, a row of zeros: LiteLLM by itself ends what says the same a hundred times."""
    provider.words = ("same ",) * 150
    response = served.ask(path, model="cloud", stream=True, **ASKING[path])
    assert response.status_code == 200, response.text
    assert response.text.count("same ") == 150, response.text[-1000:]
    assert "error" not in response.text


def test_a_stream_tells_its_usage_to_who_asks(served: Gateway) -> None:
    response = served.chat("tiny", stream=True, stream_options={"include_usage": True})
    assert '"total_tokens": 9' in response.text


def test_it_starts_without_its_files_and_finishes_what_it_began(
    tmp_path: Path, engine: Double, provider: Double
) -> None:
    """Nothing is served and nobody is let in until the files are there; a stop waits for answers in flight."""
    gateway = Gateway(tmp_path / "litellm")
    gateway.start()
    try:
        gateway.wait()
        assert gateway.chat("tiny").status_code == 401
        state = gateway.client.get(gateway.url + "/slipway/state")
        assert (state.status_code, state.json()["routes"]) == (503, None)
        gateway.keys(key("open"))
        models = [deployment("tiny", engine.url, native=ALL), deployment("cloud", provider.url, here=False)]
        gateway.use(routes=gateway.routes(models))
        engine.go_on.clear()
        provider.go_on.clear()
        with ThreadPoolExecutor() as pool:
            streams = [pool.submit(gateway.chat, name, stream=True) for name in ("tiny", "cloud")]
            until(lambda: bool(engine.asked and provider.asked))
            assert gateway.process is not None
            gateway.process.terminate()
            time.sleep(1)
            assert not any(stream.done() for stream in streams)
            engine.go_on.set()
            provider.go_on.set()
            assert [words(stream.result()) for stream in streams] == [TEXT, TEXT]
        gateway.process.wait(20)
    finally:
        gateway.stop()

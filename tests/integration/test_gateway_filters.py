"""Filters in the real gateway: what a team asks and is answered, on each path, whole and in streams."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.integration.backend_double import Double
from tests.integration.gateway import Gateway, deployment, key

MOBILE = "13800138000"
SPLIT = ("The number is 1", "38", "0013", "8000", ", and that is all")
MASKED = "The number is [chinese_mobile], and that is all"
ALL = ("chat", "completions", "embeddings", "rerank", "responses", "messages", "tokenize", "transcriptions")
ASKED = f"Please remember {MOBILE}."
MESSAGES = [{"role": "user", "content": ASKED}]
PATHS: Mapping[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": ASKED},
    "/v1/responses": {"input": ASKED},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 5},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("filters") / "litellm")
    gateway.start()
    try:
        gateway.wait()
        gateway.keys(key("open"))
        yield gateway
        assert MOBILE not in gateway.journal
        assert "Traceback" not in gateway.journal
    finally:
        gateway.stop()


@pytest.fixture
def engine(running: Gateway) -> Iterator[Double]:
    double = Double("engine", words=SPLIT)
    models = [deployment("tiny", double.url, native=ALL), deployment("cloud", double.url, here=False)]
    running.use(routes=running.routes(models))
    yield double
    double.kill()


@pytest.fixture
def filtering(running: Gateway) -> Callable[..., None]:
    """Has the gateway filter: a direction, and an action for each kind."""

    def use(**actions: Mapping[str, str]) -> None:
        directions = {direction.strip("_"): action for direction, action in actions.items()}
        digest = running.filters({"open": directions}, {"own": {"pattern": "that is \\w+"}})
        assert running.client.get(f"{running.url}/slipway/state?filters={digest}").json()["filters"] == digest

    return use


def said(response: httpx.Response) -> str:
    """What the deltas of a stream say, whatever the path."""
    text = ""
    for line in response.text.splitlines():
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            delta = event.get("delta")
            text += delta if isinstance(delta, str) else (delta or {}).get("text", "")
            for choice in event.get("choices", ()):
                text += (choice.get("delta") or choice).get("content") or choice.get("text") or ""
    return text


@pytest.mark.parametrize("model", ["tiny", "cloud"])
@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_number_that_is_split_over_deltas_is_masked(
    running: Gateway, engine: Double, filtering: Callable[..., None], path: str, model: str
) -> None:
    """From an engine as it is, and from a provider as LiteLLM translates it."""
    filtering(out={"chinese_mobile": "mask"})
    response = running.ask(path, model=model, stream=True, **PATHS[path])
    assert response.status_code == 200
    assert said(response) == MASKED
    assert MOBILE not in response.text
    assert "[chinese_mobile]" in running.ask(path, model=model, **PATHS[path]).text
    assert MOBILE in engine.asked[0].raw.decode()  # nothing was said of what is asked


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_blocked_answer_ends_with_an_error(
    running: Gateway, engine: Double, filtering: Callable[..., None], path: str
) -> None:
    filtering(out={"chinese_mobile": "block"})
    engine.pace_s = 0.05
    response = running.ask(path, model="tiny", stream=True, **PATHS[path])
    assert said(response) == "The number is "
    assert "138" not in response.text
    last = response.text.strip().splitlines()[-1]
    told = json.loads(last.removeprefix("data: "))["error"]
    whole = running.ask(path, model="tiny", **PATHS[path])
    assert whole.status_code == 400
    if path == "/v1/messages":
        assert told["type"] == whole.json()["error"]["type"] == "invalid_request_error"
        assert "event: error" in response.text
    else:
        assert told["code"] == whole.json()["error"]["code"] == "content_filtered"
    assert "chinese_mobile" in told["message"]


@pytest.mark.parametrize("model", ["tiny", "cloud"])
@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_request_is_masked_or_refused_before_a_backend_has_it(
    running: Gateway, engine: Double, filtering: Callable[..., None], path: str, model: str
) -> None:
    filtering(in_={"chinese_mobile": "mask"})
    assert running.ask(path, model=model, **PATHS[path]).status_code == 200
    assert "Please remember [chinese_mobile]." in engine.asked[0].raw.decode()
    assert MOBILE not in engine.asked[0].raw.decode()
    filtering(in_={"chinese_mobile": "block"})
    response = running.ask(path, model=model, **PATHS[path])
    assert response.status_code == 400
    assert response.json()["error"].get("code", "content_filtered") == "content_filtered"
    assert "chinese_mobile" in response.json()["error"]["message"]
    assert len(engine.asked) == 1


def test_embeddings_are_made_of_masked_texts(running: Gateway, engine: Double, filtering: Callable[..., None]) -> None:
    running.use(routes=running.routes([deployment("tiny", engine.url, native=ALL, task="embedding")]))
    filtering(in_={"chinese_mobile": "mask"}, out={"chinese_mobile": "mask"})
    response = running.ask("/v1/embeddings", model="tiny", input=["a", MOBILE], encoding_format="base64")
    assert response.json()["data"][0]["embedding"] == "AACAPwAAAEA="
    assert engine.asked[0].body["input"] == ["a", "[chinese_mobile]"]
    response = running.ask("/v1/embeddings", model="tiny", input=[[1, 2, 3]])
    assert (response.status_code, response.json()["error"]["code"]) == (400, "content_filtered")


def test_what_only_counts_is_in_the_journal_and_changes_nothing(
    running: Gateway, engine: Double, filtering: Callable[..., None]
) -> None:
    filtering(in_={"chinese_mobile": "log"}, out={"chinese_mobile": "log", "own": "log"})
    response = running.ask("/v1/chat/completions", model="tiny", stream=True, messages=MESSAGES)
    assert said(response) == "".join(SPLIT)
    assert engine.asked[0].body["messages"] == MESSAGES
    for line in ("in, chinese_mobile: 1, action log", "out, chinese_mobile: 1, action log", "out, own: 1, action log"):
        assert f"filter: team open, {line}" in running.journal


def test_other_teams_are_not_filtered_and_a_damaged_file_changes_nothing(
    running: Gateway, engine: Double, filtering: Callable[..., None]
) -> None:
    filtering(out={"chinese_mobile": "mask"})
    running.keys(key("open"), key("narrow"))
    assert MOBILE in running.ask("/v1/chat/completions", "narrow", model="tiny", messages=MESSAGES).text
    running.write("filters.json", "{")
    assert running.client.get(f"{running.url}/slipway/state").json()["refused"]["filters"]
    assert MOBILE not in running.ask("/v1/chat/completions", model="tiny", messages=MESSAGES).text
    filtering()


def test_a_pattern_that_runs_away_holds_nobody_up(running: Gateway, engine: Double) -> None:
    """A request that cannot be judged is refused, and others are answered meanwhile."""
    running.filters({"open": {"in": {"bad": "mask"}}}, {"bad": {"pattern": "(a+)+b"}})
    running.keys(key("open"), key("narrow"))
    body = [{"role": "user", "content": "a" * 50_000}]
    response = running.ask("/v1/chat/completions", model="tiny", messages=body)
    assert response.status_code == 400
    assert "in time" in response.json()["error"]["message"]
    assert running.ask("/v1/chat/completions", "narrow", model="tiny", messages=MESSAGES).status_code == 200
    assert "no time left at bad" in running.journal

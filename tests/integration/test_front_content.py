"""What the front keeps of requests and answers, for the teams that the site names, and what it does not."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.asking import CANARY, GENERATING, HELLO, TEXT, until
from tests.integration.backend_double import Double
from tests.integration.front import Front, backend, model, team
from tests.integration.gateway import KEYS

NATIVE = ("chat", "completions", "embeddings", "responses", "messages")
DAYS = 30
TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def engine() -> Iterator[Double]:
    double = Double("engine")
    yield double
    double.left.set()
    double.kill()


def serve(front: Front, engine: Double) -> None:
    models = {
        "tiny": model(backend("tiny", engine.url, native=NATIVE)),
        "vectors": model(backend("vectors", engine.url, native=NATIVE), task="embedding"),
    }
    front.serve(team("open", log_content=True), team("narrow", log_content=False), team("private"), models=models)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, engine: Double) -> Iterator[Front]:
    front = Front(tmp_path_factory.mktemp("front") / "nginx", variables={"nginx_content_days": DAYS})
    front.start()
    try:
        front.wait()
        serve(front, engine)
        yield front
        assert CANARY not in front.journal
        assert CANARY not in "".join(path.read_text() for path in folder(front, "usage").iterdir())
        assert "cannot be kept" not in front.journal
    finally:
        front.close()


def folder(front: Front, name: str = "content") -> Path:
    return front.folder / "state" / name


def lines(front: Front) -> list[dict[str, Any]]:
    return [json.loads(line) for path in folder(front).iterdir() for line in path.read_text().splitlines()]


@pytest.fixture
def kept(front: Front) -> Callable[[], dict[str, Any]]:
    """The only line that came since."""
    before = len(lines(front))

    def one() -> dict[str, Any]:
        until(lambda: len(lines(front)) > before)
        (line,) = lines(front)[before:]
        return line

    return one


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
def test_what_is_asked_and_answered_is_kept(
    front: Front, kept: Callable[[], dict[str, Any]], path: str, stream: bool
) -> None:
    body = {"model": "tiny", "stream": stream, **GENERATING[path]}
    response = front.ask(path, **body)
    assert response.status_code == 200
    line = kept()
    assert line["request"] == response.headers["x-request-id"]
    assert (line["team"], line["model"], line["path"], line["status"]) == ("open", "tiny", path, 200)
    assert json.loads(line["body"]) == body
    assert {"number": 0, "kind": "content", "text": TEXT} in line["answer"]
    assert not {"body_cut", "answer_cut"} & line.keys()


@pytest.mark.parametrize("as_", ["narrow", "private"])
def test_nothing_is_kept_of_other_teams(front: Front, kept: Callable[[], dict[str, Any]], as_: str) -> None:
    assert front.chat("tiny", as_).status_code == 200
    assert front.chat("tiny").status_code == 200
    # Lines come in the order of the requests' ends, so that of the other team would be here.
    assert kept()["team"] == "open"


def test_nothing_is_kept_of_who_has_no_key(front: Front, kept: Callable[[], dict[str, Any]]) -> None:
    url = front.url + "/v1/chat/completions"
    assert front.client.post(url, json={"model": "tiny", "messages": HELLO}).status_code == 401
    assert front.chat("tiny").status_code == 200
    assert kept()["status"] == 200


def test_a_refused_request_is_kept_with_its_reason(front: Front, kept: Callable[[], dict[str, Any]]) -> None:
    raw = b'{"model": "tiny", \n "api_base": "' + CANARY.encode() + b'"}'
    headers = {"authorization": f"Bearer {KEYS['open']}"}
    assert front.client.post(front.url + "/v1/chat/completions", content=raw, headers=headers).status_code == 400
    line = kept()
    assert (line["body"], line["error"], line["answer"]) == (raw.decode(), "unknown_parameter", [])


def test_vectors_are_not_kept(front: Front, kept: Callable[[], dict[str, Any]]) -> None:
    assert front.ask("/v1/embeddings", model="vectors", input=CANARY).status_code == 200
    assert kept()["answer"] == []


def test_much_is_cut(front: Front, engine: Double, kept: Callable[[], dict[str, Any]]) -> None:
    words = engine.words
    engine.words = ("x" * 700_000,) * 2
    try:
        response = front.chat("tiny", stream=True, user="y" * 1_100_000)
    finally:
        engine.words = words
    assert response.text.count("x") >= 1_400_000
    line = kept()
    assert line["body_cut"] is True
    assert line["answer_cut"] is True
    assert len(line["body"]) == 2**20
    assert line["answer"] == [{"number": 0, "kind": "content", "text": "x" * 2**20}]


def test_what_was_kept_goes_when_its_time_is_over(front: Front, engine: Double) -> None:
    def day(before: int) -> Path:
        return folder(front) / f"{TODAY - timedelta(days=before)}.jsonl"

    for before in (DAYS - 1, DAYS + 2, 10 * DAYS):
        day(before).write_text(CANARY)
    front.reload()
    until(lambda: not day(DAYS + 2).exists() and not day(10 * DAYS).exists())
    assert day(DAYS - 1).exists()
    # Without a retention nothing stays, and nothing comes.
    front.stop()
    front.variables = {}
    front.again()
    front.wait()
    until(lambda: not list(folder(front).iterdir()))
    used = folder(front, "usage")
    before = sum(path.stat().st_size for path in used.iterdir())
    assert front.chat("tiny").status_code == 200
    # The record of usage is written at the same moment.
    until(lambda: sum(path.stat().st_size for path in used.iterdir()) > before)
    assert not list(folder(front).iterdir())

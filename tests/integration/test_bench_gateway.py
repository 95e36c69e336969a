"""The compiled programs of the gateway's bench, against each other and against a stand-in that fails."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.gateway_programs import Engine, Load, Task, built
from tests.integration.backend_double import Double

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="they are built with Go")


@pytest.fixture(scope="module")
def programs() -> Path:
    return built()


@pytest.fixture
def engine(programs: Path, tmp_path: Path) -> Iterator[Engine]:
    with Engine(programs, tmp_path, rate=100, limit_s=60) as engine:
        yield engine


def asked(programs: Path, url: str, model: str = "paced", **more: Any) -> dict[str, Any]:
    given = {"connections": 2, "seconds": 0.5, "drain_s": 5, "warm_up_s": 10, "max_tokens": 10, **more}
    with Load(programs, Task(url=f"{url}/chat/completions", model=model, **given)) as load:
        return load.go()


def test_a_paced_stream_has_the_speed_that_was_asked_for(programs: Path, engine: Engine) -> None:
    found = asked(programs, engine.url, stream=True, max_tokens=30)
    assert (found["errors"], found["first_error"]) == (0, "")
    assert found["whole_tokens"] == 30 * found["whole_requests"]
    # Never faster: a busy machine may make it slower.
    assert 0 < found["tokens"] <= 2 * 100 * 0.5
    assert found["gap"]["p50_ms"] > 5
    assert found["ttft"]["p50_ms"] >= 10


def test_answers_that_are_not_streamed_are_counted_with_their_tokens(programs: Path, engine: Engine) -> None:
    found = asked(programs, engine.url, "burning", max_tokens=3)
    assert found["errors"] == 0
    assert found["tokens"] == 3 * found["requests"] > 0
    assert found["gap"] == {"count": 0, "p50_ms": None, "p90_ms": None, "p99_ms": None, "max_ms": None}


def test_streams_are_held_open(programs: Path, engine: Engine) -> None:
    found = asked(programs, engine.url, "idle", stream=True, hold=True, connections=20)
    assert (found["requests"], found["errors"]) == (20, 0)


@pytest.mark.parametrize(
    ("mode", "words"), [("well", ""), ("middle", "EOF"), ("error", "error"), ("empty", "[DONE]"), ("503", "status 503")]
)
def test_a_stream_that_fails_is_an_error(programs: Path, mode: str, words: str) -> None:
    double = Double("double", mode=mode)
    try:
        found = asked(programs, double.url, stream=True, max_tokens=4, seconds=0.1)
    finally:
        double.kill()
    assert (found["errors"] > 0) == bool(words)
    assert words in found["first_error"]
    assert bool(found["requests"]) == (not words)


@pytest.mark.parametrize("merges", [True, False])
def test_tokens_that_come_in_one_piece_are_counted_where_an_engine_may_merge_them(programs: Path, merges: bool) -> None:
    double = Double("double", words=("one two ", "three four"))
    try:
        found = asked(programs, double.url, stream=True, max_tokens=4, seconds=0.1, merges=merges)
    finally:
        double.kill()
    assert (found["errors"] == 0) == merges
    assert found["whole_tokens"] == (2 if merges else 1) * found["whole_pieces"] > 0


def test_an_engine_ends_with_whoever_started_it(programs: Path, tmp_path: Path) -> None:
    with Engine(programs, tmp_path, rate=100, limit_s=60):
        (before,) = [one for one in psutil.Process().children() if one.name() == "engine"]
    assert not before.is_running()

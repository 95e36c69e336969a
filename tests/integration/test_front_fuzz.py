"""Malformed requests, as many as a run of the tests has time for; `python -m bench.fuzz` sends 10,000."""

import random
from pathlib import Path

import pytest

from tests.integration.front import Front
from tests.integration.security import fuzz

COUNT = 1500


def test_malformed_requests_get_nothing_and_break_nothing(tmp_path: Path) -> None:
    front = Front(tmp_path / "nginx")
    front.start()
    try:
        front.wait()
        told = fuzz.run(front, COUNT)
    finally:
        front.close()
    print(told)
    assert told["requests"] >= COUNT
    assert told["without a key"].get(200, 0) == 0
    assert told["without a key"][401] > 100
    assert told["with a key"][400] > 100
    # Some are well-formed after all: an engine is there to be reached.
    assert told["with a key"][200] > 0


def test_the_fuzzers_requests_are_the_same_each_time() -> None:
    def some() -> list[bytes]:
        random_ = random.Random(1)  # noqa: S311
        return [fuzz.mutated(random_, fuzz.SEEDS[0]) for _ in range(50)]

    assert some() == some()
    assert len(set(some())) > 45


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (b"HTTP/1.1 500 x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 400 x\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", True),
        (b'HTTP/1.1 400 x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"detail":"x"}', True),
        (b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nok", False),
    ],
)
def test_what_the_fuzzer_would_find(answer: bytes, wrong: bool) -> None:
    if wrong:
        with pytest.raises(AssertionError):
            fuzz.judged(answer)
    else:
        assert fuzz.judged(answer) == {200: 1}

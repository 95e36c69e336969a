"""Callers who take their time, and bodies that are larger than they look."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import psutil
import pytest

from tests.integration.asking import until
from tests.integration.front import Front
from tests.integration.gateway import KEYS
from tests.integration.security.fuzz import Strict, workers
from tests.integration.security.rig import guarded
from tests.integration.security.wire import Answer, answers, connection, exchange, received

HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEYS['open']}\r\n".encode()
SILENCE_S = 2
CALLERS = 200


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, Strict]]:
    with guarded(tmp_path_factory.mktemp("slow"), variables={"nginx_body_timeout": SILENCE_S}) as both:
        yield both


@pytest.fixture
def front(rig: tuple[Front, Strict]) -> Front:
    return rig[0]


@pytest.fixture
def engine(rig: tuple[Front, Strict]) -> Strict:
    rig[1].asked.clear()
    return rig[1]


def in_time(found: Answer) -> None:
    assert found.status == 408
    assert found.error["code"] == "request_timeout"


@pytest.mark.parametrize("coding", [b"Content-Length: 500", b"Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_answered(front: Front, engine: Strict, coding: bytes) -> None:
    with connection(front.port, 8) as stream:
        stream.sendall(HEAD + coding + b'\r\n\r\n9\r\n{"model":')
        first = stream.recv(65536)
        # What comes later is neither the rest of it nor another request.
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        (found,) = answers(first + received(stream))
    in_time(found)
    assert not engine.asked


def test_a_body_byte_by_byte_ends_too(front: Front, engine: Strict) -> None:
    """It is never silent, and still gets no place for as long as it likes; others are answered meanwhile."""
    with connection(front.port, 0.1) as stream:
        stream.sendall(HEAD + b"Content-Length: 100000\r\n\r\n{")
        began, found = time.monotonic(), b""
        while not found:
            assert time.monotonic() - began < 30
            stream.sendall(b" ")
            found = received(stream)
            assert front.chat("tiny").is_success
    in_time(answers(found)[0])


def test_a_head_byte_by_byte_ends(front: Front, engine: Strict) -> None:
    """nginx closes without a word: there is no request yet that could be answered."""
    with connection(front.port, 0.2) as stream:
        began = time.monotonic()
        for byte in HEAD * 10:
            assert time.monotonic() - began < 40
            try:
                stream.sendall(bytes([byte]))
                if not stream.recv(1):
                    break
            except TimeoutError:
                assert front.client.get(front.url + "/healthz").is_success
            except OSError:
                break
        else:
            pytest.fail("it took all of a head that never ended")
    assert not engine.asked


@pytest.mark.parametrize("http2", [False, True])
def test_a_body_that_keeps_coming_has_its_time(front: Front, engine: Strict, http2: bool) -> None:
    sent = json.dumps({"model": "tiny", "messages": [], "user": "a" * 60_000}).encode()
    pieces = [sent[at : at + 6_000] for at in range(0, len(sent), 6_000)]

    def slowly() -> Iterator[bytes]:
        for piece in pieces:
            time.sleep(SILENCE_S * 1.5 / len(pieces))
            yield piece

    key = {"authorization": f"Bearer {KEYS['open']}"}
    with httpx.Client(verify=False, http2=http2, timeout=30) as client:  # noqa: S501
        found = client.post(front.url + "/v1/chat/completions", content=slowly(), headers=key)
    assert found.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert found.status_code == 200, found.text
    assert engine.asked[-1].body["user"] == "a" * 60_000


def test_slow_bodies_take_little_memory_and_hold_nobody_up(front: Front, engine: Strict) -> None:
    processes = [psutil.Process(int(pid)) for pid in workers(front)]
    before = [process.memory_info() for process in processes]
    with ExitStack() as held:
        for _ in range(CALLERS):
            stream = held.enter_context(connection(front.port))
            stream.sendall(HEAD + b'Transfer-Encoding: chunked\r\n\r\n9\r\n{"model":\r\n')
        with ThreadPoolExecutor(8) as pool:
            assert all(answer.is_success for answer in pool.map(lambda _: front.chat("tiny"), range(40)))
        after = [process.memory_info() for process in processes]
    resident, reserved = (
        sum(getattr(now, kind) - getattr(then, kind) for now, then in zip(after, before, strict=True)) / 2**20
        for kind in ("rss", "vms")
    )
    print(f"{CALLERS} slow chunked bodies: {resident:.0f} MiB resident, {reserved:.0f} MiB set aside")
    assert resident < CALLERS * 0.5
    assert reserved < CALLERS * 1.0


def test_many_small_chunks_pass_however_long_they_are_on_the_wire(front: Front, engine: Strict) -> None:
    """What is beyond the buffer goes to a file, which is in memory on a host, and is read from there; then it is gone."""
    sent = {"model": "tiny", "messages": [], "user": "a" * 300_000}
    pieces = [b"1;%s\r\n%c\r\n" % (b"x" * 10, byte) for byte in json.dumps(sent).encode()]
    request = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(pieces) + b"0\r\n\r\n"
    assert len(request) > 5_000_000
    (found,) = answers(exchange(front.port, request, 30))
    assert found.status == 200, found
    assert engine.asked[-1].body == {**sent, "model": "tiny-inside"}
    until(lambda: not list((front.folder / "state/body").iterdir()))


@pytest.mark.parametrize("coding", ["length", "chunks", "many chunks"])
def test_a_body_beyond_the_limit_is_refused(front: Front, engine: Strict, coding: str) -> None:
    size = 65 * 2**20
    if coding == "length":
        request = HEAD + b"Content-Length: %d\r\n\r\n{" % size
    elif coding == "chunks":
        request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n{" % size
    else:
        request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + b" " * 2**20 + b"\r\n") * 65
    (found,) = answers(exchange(front.port, request, 3))
    assert (found.status, found.error["code"]) == (413, "request_too_large")
    assert not engine.asked


def test_a_line_and_a_header_have_their_limits(front: Front) -> None:
    close = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    (found,) = answers(exchange(front.port, b"GET /" + b"a" * 20_000 + close + b"\r\n"))
    assert (found.status, found.error["code"]) == (414, "uri_too_long")
    (found,) = answers(exchange(front.port, b"GET /" + close + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n"))
    assert found.status == 400

"""Keys: what the time of a refusal tells, and what wrong ones do to others."""

import random
import re
import secrets
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from tests.integration.asking import until
from tests.integration.front import ROLE, Front, backend, hashed, model, team
from tests.integration.security.fuzz import FAMILIES, Strict
from tests.integration.security.rig import guarded
from tests.integration.security.wire import answers, connection

TRIES = 10_000
KEY = "sk-abcd1234-" + "s" * 32
WRONG = {
    "almost": KEY[:-1] + "x",
    "known id": "sk-abcd1234-" + "x" * 32,
    "unknown id": "sk-wxyz9876-" + "s" * 32,
    "of another form": "x" * len(KEY),
}
"""Wrong keys of one length, from the closest to the farthest."""


@pytest.fixture(scope="module", params=[{}])
def rig(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[tuple[Front, Strict]]:
    """With the variables of the role that a test asks for."""
    variables = request.param
    with guarded(tmp_path_factory.mktemp("keys"), workers=1, variables=variables) as (front, engine):
        models = {"tiny": model(backend("tiny", engine.url, native=FAMILIES))}
        front.serve(team("open"), team("created", keys=[hashed(KEY, id="abcd1234")]), models=models)
        yield front, engine


@pytest.fixture
def front(rig: tuple[Front, Strict]) -> Front:
    return rig[0]


@pytest.mark.parametrize("rig", [{"nginx_wrong_keys_per_minute": 10 * TRIES}], indirect=True)
def test_the_time_of_a_refusal_tells_nothing_of_the_key(front: Front) -> None:
    """10,000 tries in turn on one connection. How often one kind takes longer than another is a coin's throw.

    As the order is by chance, so is which kind a busy machine delays: with 2,500 tries of a kind chance alone goes beyond
    0.5 ± 0.05 once in 10^8 runs. A comparison that ends at the first wrong byte is found by the test after this one: its
    nanoseconds are beyond a measurement over TLS.
    """
    order = [name for name in WRONG for _ in range(TRIES // len(WRONG))]
    random.Random(secrets.randbits(32)).shuffle(order)  # noqa: S311
    requests = {
        name: f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        for name, key in WRONG.items()
    }
    times: dict[str, list[int]] = {name: [] for name in WRONG}
    remaining = 0
    # nginx ends a connection after 1,000 requests.
    while order:
        with connection(front.port) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for name in order[:900]:
                began = time.perf_counter_ns()
                stream.sendall(requests[name])
                raw = stream.recv(65536)
                times[name].append(time.perf_counter_ns() - began)
                (found,) = answers(raw)
                assert found.status in {401, 429}
                remaining += 1
        del order[:900]
    assert remaining == TRIES
    reference = np.sort(times["of another form"])
    for name, taken in times.items():
        median = statistics.median(taken) / 1000
        # The share of pairs in which the one of this kind took longer: U of Mann and Whitney, by n times m.
        below = np.searchsorted(reference, taken, side="left")
        above = np.searchsorted(reference, taken, side="right")
        share = float((below + above).mean()) / 2 / len(reference)
        print(f"{name}: median {median:.0f} µs, longer than one of another form in {share:.3f} of pairs")
        assert abs(share - 0.5) < 0.05, (name, share)


def test_keys_are_compared_in_constant_time() -> None:
    """By OpenSSL's own comparison of digests; nothing of a key is compared otherwise."""
    source = (ROLE / "files/slipway/keys.lua").read_text()
    code = re.sub(r"--.*", "", source)
    assert re.findall(r"C\.CRYPTO_memcmp\(digest, entry\.hash, 32\) == 0", code)
    # Neither the secret nor a digest is compared by == or looked up; an id, which is no secret, is.
    compared = re.findall(r"(?:digest|(?<!#entry)\.hash|\bkey)\s*[=~]=\s*(\S+)", code)
    assert set(compared) <= {'""'}, compared
    # The loop over candidates goes on after one that fits.
    (loops,) = re.findall(r"function M\.find.*?\nend", code, re.DOTALL)
    assert "break" not in loops
    assert "index.by_id[id] or NOBODY" in loops


def test_an_address_that_a_caller_names_is_not_believed(front: Front) -> None:
    """Wrong keys count for the address that they come from, whatever the request says."""
    names = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP")

    def status(number: int) -> int:
        value = f"198.51.100.{number % 250}"
        headers = {name: f"for={value}" if name == "Forwarded" else value for name in names}
        headers["authorization"] = f"Bearer wrong-{number}"
        return front.client.get(front.url + "/v1/models", headers=headers).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(status, range(300)))
    # The minute may end once meanwhile.
    assert statuses.count(401) <= 2 * 120
    assert statuses.count(429) >= 60
    assert "198.51.100." not in front.journal
    headers = {"X-Forwarded-For": "127.0.0.1", "authorization": f"Bearer {KEY}"}
    assert front.client.get(front.url + "/v1/models", headers=headers).is_success


def test_wrong_keys_of_an_address_leave_its_good_ones_their_place(front: Front) -> None:
    """32 connections of wrong keys beside good requests: all of these are answered. The ratio of speeds is printed."""
    over = Event()
    wrong = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-wrong\r\n\r\n"

    refused: Counter[int] = Counter()

    def bother() -> None:
        with connection(front.port) as stream:
            while not over.is_set():
                stream.sendall(wrong)
                refused[answers(stream.recv(65536))[0].status] += 1

    def good(seconds: float = 2) -> float:
        ends, count = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            assert front.chat("tiny").status_code == 200
            count += 1
        return count / seconds

    alone = good()
    with ThreadPoolExecutor(32) as pool:
        bothers = [pool.submit(bother) for _ in range(32)]
        try:
            until(lambda: refused[429] > 32)
            began, before = time.monotonic(), refused.total()
            beside = good()
            wrongs = (refused.total() - before) / (time.monotonic() - began)
        finally:
            over.set()
        for one in bothers:
            one.result()
    print(f"good requests/s beside 32 connections with a wrong key: {beside / alone:.2f} of those alone")
    # The first of a minute are told 401, and which minute it is the tests before may know.
    assert refused[429] > 32
    assert set(refused) <= {401, 429}
    # Each waits a tenth of a second for its answer; the clock's minute may begin meanwhile, with 120 at once.
    assert wrongs < 32 * 10 + 120
    assert beside > 0

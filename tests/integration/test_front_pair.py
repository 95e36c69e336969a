"""Two fronts that share their counters, each the real nginx, with the real Redis."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from slipway.usage.money import billionths
from tests.integration.asking import CANARY, HELLO, TEXT, until, words
from tests.integration.backend_double import Double
from tests.integration.counters import PASSWORD, Counters
from tests.integration.front import Front, backend, model, team
from tests.integration.test_front import ALL

TOKENS, MONEY = "tokens_per_month", "money_per_month"
PRICE = {"input": 1_500_000, "output": 6_000_000}
"""EUR 1.50 and EUR 6 for a million tokens, as routes.json has it."""
TAKES = {TOKENS: 9, MONEY: (5 * 1_500_000 + 4 * 6_000_000) // 1000}
"""One answer of the stand-in: tokens, and billionths."""
SHORT: dict[str, Any] = {"max_tokens": 4}


def monthly(limit: str, amount: int) -> dict[str, Any]:
    """A limit of a month, as teams.json has it."""
    return {limit: amount if limit == TOKENS else {"amount": amount, "currency": "EUR"}}


@dataclass
class Pair:
    """Two fronts, their counters, and the engine behind both."""

    fronts: tuple[Front, Front]
    counters: Counters
    engine: Double

    def serve(self, *teams: dict[str, Any]) -> None:
        models = {"tiny": model(backend("tiny", self.engine.url, native=ALL), price=PRICE)}
        for front in self.fronts:
            front.serve(*teams, models=models)
            until(lambda front=front: front.state()["shared_limits"] == "well")

    def ask(self, number: int, who: str, **more: Any) -> httpx.Response:
        return self.fronts[number % 2].chat("tiny", who, **more)

    def statuses(self, who: str, count: int, **more: Any) -> list[int]:
        """One request after the other, to each front in turn."""
        return [self.ask(number, who, **more).status_code for number in range(count)]

    def may_take(self, limit: str) -> int:
        """How much a short answer may take of a limit of a month, by what is said to who has next to nothing left of it."""
        self.serve(team("asks", **monthly(limit, 1)))
        words = self.ask(0, "asks", **SHORT).json()["error"]["message"].partition(" this request may ")[2].split()
        return int(words[1]) if limit == TOKENS else billionths(Decimal(words[1]))

    def used(self, who: str) -> list[dict[str, Any]]:
        return [record for front in self.fronts for record in front.usage if record["team"] == who]

    def follow(self) -> None:
        """Wait until each front has told what it counted, and heard what the other did."""
        time.sleep(1)

    def are(self, state: str) -> None:
        for front in self.fronts:
            until(lambda front=front: front.state()["shared_limits"] == state)

    def lose_counters(self) -> None:
        self.counters.kill()
        self.are("away")

    def find_counters(self) -> None:
        self.counters.start()
        self.are("well")


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        engine = Double("engine")
        stack.callback(engine.kill)
        counters = Counters(folder / "counters")
        stack.callback(counters.close)
        counters.start()
        fronts = (counters.front(folder, "one"), counters.front(folder, "two"))
        for front in fronts:
            front.start()
            stack.callback(front.close)
        for front in fronts:
            front.wait()
        yield Pair(fronts, counters, engine)
        engine.go_on.set()
        for front in fronts:
            assert CANARY not in front.journal
            assert PASSWORD not in front.journal
            # A script that fails is taken for counters that are away.
            assert "ERR " not in front.journal
            said = [line for line in front.journal.splitlines() if "[error]" in line or "[alert]" in line]
            # As a server is killed.
            assert [line for line in said if "failed (104" not in line] == []


def early(seconds: float) -> None:
    """Minutes are the clock's: have so much of one left."""
    if time.time() % 60 > 59.5 - seconds:
        time.sleep(60 - time.time() % 60 + 0.05)


def in_one_minute(seconds: float, attempt: Callable[[int], None]) -> None:
    """Make an attempt that counts on a minute's limits; where the minute ended under it, it says nothing, and there is another.

    `attempt` gets its number, for teams of its own.
    """
    for number in range(3):
        early(seconds)
        began = int(time.time() / 60)
        try:
            attempt(number)
        except AssertionError:
            if int(time.time() / 60) == began or number == 2:
                raise
        else:
            return


def test_fifty_teams_get_what_they_may_and_no_more(pair: Pair) -> None:
    teams = [team(f"team-{number}", requests_per_minute=20) for number in range(50)]
    pair.serve(*teams)
    # Twenty clients of each team ask both fronts, all of them at their limit at once; two teams stay below theirs.
    asked = [(name, 0 if name in {0, 1} and client >= 9 else 2) for client in range(20) for name in range(50)]
    early(40)
    began = int(time.time() / 60)
    with ThreadPoolExecutor(40) as pool:
        answers = list(
            pool.map(
                lambda one: (one[0], pair.ask(one[1], f"team-{one[0]}").status_code),
                [(name, number) for name, count in asked for number in range(count)],
            )
        )
    assert int(time.time() / 60) == began, "took longer than a minute: nothing can be said"
    passed = Counter(name for name, status in answers if status == 200)
    assert {status for _, status in answers} == {200, 429}
    assert passed == {name: 18 if name < 2 else 20 for name in range(50)}


def test_tokens_are_reserved_and_settled_over_both(pair: Pair) -> None:
    def attempt(number: int) -> None:
        pair.serve(team(f"tokens-{number}", tokens_per_minute=900))
        statuses = pair.statuses(f"tokens-{number}", 150, max_tokens=4)
        # Each takes 9 by what the engine says; the reservation is larger and is given back just after the answer.
        assert 92 <= statuses.count(200) <= 100
        assert statuses[:88] == [200] * 88
        assert statuses[-2:] == [429, 429]

    in_one_minute(30, attempt)


@pytest.mark.parametrize(
    ("tokens", "ago", "owed"), [(45, 5, 0), (55, 5, 5), (75, 5, 25), (25, 1, 15), (9999, 59, 20), (9999, 61, 0)]
)
def test_a_debt_is_worked_off_over_both(pair: Pair, tokens: int, ago: int, owed: int) -> None:
    """As if the team had taken so many tokens so many minutes ago, and had not been heard of since: each minute pays ten."""
    early(5)
    minute = int(time.time() / 60)
    pair.counters.ask("SET", f"slipway|t|owes|{minute - ago}", str(tokens))
    pair.counters.ask("SET", "slipway|d|owes", str(minute - ago))
    pair.serve(team("owes", tokens_per_minute=10))
    this = f"slipway|t|owes|{minute}"
    until(lambda: pair.counters.ask("EXISTS", this) == ":1")
    assert pair.counters.value("GET", this) == str(owed)
    response = pair.ask(0, "owes", **SHORT)
    assert response.status_code == (429 if owed else 200)


def test_what_a_long_answer_did_not_take_is_owed_by_no_minute(pair: Pair) -> None:
    pair.serve(team("long", tokens_per_minute=10))
    time.sleep(max(0.0, 56 - time.time() % 60))
    pair.engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(pair.ask, 0, "long", stream=True, max_tokens=1000)
        until(lambda: len(pair.engine.asked) == 1)
        mark = int(time.time() / 60)
        assert pair.counters.value("GET", "slipway|d|long") == str(mark)
        assert int(pair.counters.ask("TTL", f"slipway|t|long|{mark}").lstrip(":")) > 3600
        time.sleep(60 - time.time() % 60 + 0.1)
        assert pair.ask(1, "long").status_code == 429
        pair.engine.go_on.set()
        assert words(held.result()) == TEXT
    until(lambda: pair.ask(1, "long").status_code == 200)


def test_clients_are_told_what_is_left_of_both(pair: Pair) -> None:
    def attempt(number: int) -> None:
        name = f"told-{number}"
        pair.serve(team(name, requests_per_minute=10))
        left = [pair.ask(asked, name).headers["x-ratelimit-remaining-requests"] for asked in range(10)]
        assert left == [str(9 - asked) for asked in range(10)]
        refused = pair.ask(0, name)
        assert refused.status_code == 429
        assert refused.json()["error"]["message"].startswith(f"The team {name} has used its 10 requests per minute")
        assert 1 <= int(refused.headers["retry-after"]) <= 60

    in_one_minute(20, attempt)


def test_requests_at_once_are_counted_over_both(pair: Pair) -> None:
    pair.serve(team("few", parallel_requests=2))
    pair.engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = [pool.submit(pair.ask, number, "few", stream=True) for number in range(2)]
        until(lambda: len(pair.engine.asked) == 2)
        assert pair.statuses("few", 2) == [429, 429]
        # A reload does not forget what an old worker still has, however long it takes.
        for front in pair.fronts:
            front.reload()
        time.sleep(17)
        assert pair.statuses("few", 2) == [429, 429]
        pair.engine.go_on.set()
        assert [words(stream.result()) for stream in held] == [TEXT] * 2
    until(lambda: pair.statuses("few", 2) == [200, 200])


def test_what_a_lost_front_held_is_given_back(pair: Pair) -> None:
    pair.serve(team("few", parallel_requests=1))
    pair.engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(pair.ask, 0, "few", stream=True)
        until(lambda: len(pair.engine.asked) == 1)
        assert pair.ask(1, "few").status_code == 429
        pair.fronts[0].stop(signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            held.result()
        pair.engine.go_on.set()
        until(lambda: pair.ask(1, "few").status_code == 200, timeout_s=40)


@pytest.mark.parametrize("limit", [TOKENS, MONEY])
def test_a_month_ends_for_both_and_outlives_the_counters(pair: Pair, limit: str) -> None:
    may_take = pair.may_take(limit)
    # For the last answer there is just what has to be set aside.
    pair.serve(team("month", **monthly(limit, 4 * TAKES[limit] + may_take)))
    statuses = []
    for number in range(7):
        statuses.append(pair.ask(number, "month", **SHORT).status_code)
        time.sleep(0.1)
    assert statuses == [200] * 5 + [429] * 2
    assert pair.ask(0, "month", **SHORT).json()["error"]["code"] == "insufficient_quota"
    # What was lost with them is known from what each front counted itself; after its restart, from its records.
    month = f"{datetime.now(tz=UTC):%Y-%m}"
    counted = f"slipway|m|month|{month}" if limit == TOKENS else f"slipway|c|month|{month}|EUR"
    assert pair.counters.ask("FLUSHALL") == "+OK"
    until(lambda: pair.counters.ask("HLEN", counted) == ":2")
    assert pair.statuses("month", 2, **SHORT) == [429, 429]
    for front in pair.fronts:
        front.stop()
    assert pair.counters.ask("FLUSHALL") == "+OK"
    for front in pair.fronts:
        front.again()
        front.wait()
    until(lambda: pair.counters.ask("HLEN", counted) == ":2")
    assert pair.statuses("month", 2, **SHORT) == [429, 429]


@pytest.mark.parametrize("limit", [TOKENS, MONEY])
def test_many_at_once_do_not_overdraw_a_month(pair: Pair, limit: str) -> None:
    may_take = pair.may_take(limit)
    whole = 40 * TAKES[limit]
    pair.serve(team("crowd", **monthly(limit, whole)))
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(pair.ask, number, "crowd", stream=number % 4 > 1, **SHORT) for number in range(120)]
        answers = [each.result() for each in asked]
    until(lambda: len(pair.used("crowd")) == 120)
    good = sum(answer.status_code == 200 for answer in answers)
    assert 1 <= good <= 40
    assert {answer.status_code for answer in answers} == {200, 429}
    # Nothing stays set aside: what is left can be used up to the last answer that is sure to fit.
    asides = "slipway|a|crowd"
    until(lambda: {pair.counters.value("HGET", asides, what) for what in ("tokens", "money")} == {"0"})
    while pair.ask(good, "crowd", **SHORT).status_code == 200:
        good += 1
        until(lambda: {pair.counters.value("HGET", asides, what) for what in ("tokens", "money")} == {"0"})
    assert whole - may_take < good * TAKES[limit] <= whole


@pytest.mark.parametrize("limit", [TOKENS, MONEY])
def test_what_a_lost_front_had_set_aside_is_given_back(pair: Pair, limit: str) -> None:
    may_take = pair.may_take(limit)
    pair.serve(team("kept", **monthly(limit, 2 * may_take - 1)))
    pair.engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(pair.ask, 0, "kept", stream=True, **SHORT)
        until(lambda: len(pair.engine.asked) == 1)
        # Longer than what is set aside counts without being said again.
        time.sleep(17)
        refused = pair.ask(1, "kept", **SHORT)
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert "is set aside for requests that run" in refused.json()["error"]["message"]
        pair.fronts[0].stop(signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            held.result()
        pair.engine.go_on.set()
        until(lambda: pair.ask(1, "kept", **SHORT).status_code == 200, timeout_s=40)


@pytest.mark.parametrize("limit", [TOKENS, MONEY])
def test_without_the_counters_each_front_has_its_share_of_a_month(pair: Pair, limit: str) -> None:
    may_take = pair.may_take(limit)
    whole = 2 * (6 * TAKES[limit] + may_take)
    pair.serve(team("share", **monthly(limit, whole)))
    assert pair.statuses("share", 6, **SHORT) == [200] * 6
    pair.follow()
    pair.lose_counters()
    statuses: list[int] = []
    while statuses[-2:] != [429, 429]:
        statuses.append(pair.ask(len(statuses), "share", **SHORT).status_code)
        until(lambda: len(pair.used("share")) == 6 + len(statuses))
    # Of each front's half, as much as fits with what a last one may take.
    assert statuses.count(200) == 8
    pair.find_counters()
    pair.follow()
    # What is left is for either now.
    while pair.ask(0, "share", **SHORT).status_code == 200:
        statuses.append(200)
        pair.follow()
    assert whole - may_take < (6 + statuses.count(200)) * TAKES[limit] <= whole


def test_a_limit_that_comes_later_knows_what_both_used(pair: Pair) -> None:
    pair.serve(team("later"))
    assert pair.statuses("later", 4, **SHORT) == [200] * 4
    until(lambda: len(pair.used("later")) == 4)
    pair.serve(team("later", **monthly(MONEY, 4 * TAKES[MONEY])))
    pair.follow()
    assert pair.statuses("later", 2, **SHORT) == [429, 429]


def test_without_the_counters_each_front_has_its_share_of_what_is_left(pair: Pair) -> None:
    def attempt(number: int) -> None:
        if pair.fronts[0].state()["shared_limits"] != "well":
            pair.find_counters()
        name = f"share-{number}"
        pair.serve(team(name, requests_per_minute=40), team("one", parallel_requests=1))
        assert pair.statuses(name, 20) == [200] * 20
        pair.lose_counters()
        assert pair.statuses(name, 24) == [200] * 20 + [429] * 4
        assert pair.ask(0, name).json()["error"]["message"].startswith(f"The team {name} has used its 40 requests")
        assert pair.statuses("one", 2) == [200, 200]
        # They come back with what they knew, and learn the rest.
        pair.find_counters()
        said = [front.journal for front in pair.fronts]
        assert pair.statuses(name, 2) == [429, 429], (time.time() % 60, said)
        minute = int(time.time() / 60)
        assert pair.counters.ask("GET", f"slipway|r|{name}|{minute}") == "$2"
        until(lambda: all(front.journal.count("the counters are back") == number + 1 for front in pair.fronts))
        assert {front.journal.count("the counters are away") for front in pair.fronts} == {number + 1}

    in_one_minute(40, attempt)


def test_a_minute_without_the_counters_is_shared_out(pair: Pair) -> None:
    pair.serve(*(team(f"half-{number}", requests_per_minute=21) for number in range(3)))
    pair.lose_counters()

    def attempt(number: int) -> None:
        assert pair.statuses(f"half-{number}", 30) == [200] * 20 + [429] * 10

    in_one_minute(55, attempt)


def test_limits_hold_while_the_counters_are_killed_and_started_again(pair: Pair) -> None:
    teams = [team(f"team-{number}", requests_per_minute=100) for number in range(8)]
    pair.serve(*teams)
    passed: list[tuple[int, float]] = []
    early(50)
    began = int(time.time() / 60)

    def client(number: int) -> list[tuple[int, int, float]]:
        found = []
        for turn in range(30):
            status = pair.ask(turn, f"team-{number % 8}").status_code
            found.append((number % 8, status, time.time()))
            time.sleep(0.05)
        return found

    with ThreadPoolExecutor(40) as pool:
        clients = [pool.submit(client, number) for number in range(40)]
        until(lambda: sum(len(front.usage) for front in pair.fronts) > 250)
        killed = time.time()
        pair.counters.kill()
        until(lambda: sum(len(front.usage) for front in pair.fronts) > 1100)
        pair.counters.start()
        for one in clients:
            for name, status, at in one.result():
                assert status in {200, 429}
                if status == 200:
                    passed.append((name, at))
    assert int(time.time() / 60) == began, "took longer than a minute: nothing can be said"
    counts = Counter(name for name, _ in passed)
    # What the other front admitted in the half second before is what a front may not have seen; a busy machine's is longer.
    unseen = Counter(name for name, at in passed if abs(at - killed) < 1)
    print(f"of 100 requests of each of 8 teams, which asked for 150, passed {sorted(counts.values())}")
    assert sorted(counts) == list(range(8))
    # Of what a front has not seen it gives out half once more. Were there no shares, each team would have had all of its 140 by
    # the time that the counters are back.
    most = {name: 100 + unseen[name] // 2 + 1 for name in counts}
    assert all(90 <= count <= min(most[name], 115) for name, count in counts.items()), (counts, most)
    pair.are("well")


def test_a_wrong_password_leaves_the_shares(pair: Pair) -> None:
    pair.serve(*(team(f"half-{number}", requests_per_minute=20) for number in range(3)))
    assert pair.counters.ask("CONFIG", "SET", "requirepass", "another") == "+OK"
    for front in pair.fronts:
        assert front.counters is not None
        front.use(counters=front.write("counters.json", front.counters.replace(PASSWORD, "wrong")))
    pair.are("away")

    def attempt(number: int) -> None:
        assert pair.statuses(f"half-{number}", 24) == [200] * 20 + [429] * 4

    in_one_minute(55, attempt)


def test_requests_need_the_counters_for_what_is_limited_alone(pair: Pair) -> None:
    pair.serve(team("free"))
    assert pair.statuses("free", 4) == [200] * 4
    assert pair.counters.ask("DBSIZE") == ":0"
    assert pair.fronts[0].ask("/v1/chat/completions", "free", model="tiny", messages=HELLO).is_success
    metrics = pair.fronts[0].client.get(pair.fronts[0].url + "/metrics").text
    assert "slipway_counters_up 1" in metrics

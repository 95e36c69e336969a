"""What tokens cost at the front: on the bill, against a team's limit, in the figures; the real nginx, stand-in engines."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from slipway.deployment.teams import teams
from slipway.fronts.nginx.routes import routes
from slipway.settings.types import MOST_MONEY
from slipway.usage.money import billionths
from slipway.usage.records import sums
from tests.integration.asking import TEXT, until, words
from tests.integration.backend_double import USAGE, Double
from tests.integration.front import Front, backend, model, peer, team
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import good, with_changes

PRICE = {"input": 1_500_000, "output": 6_000_000}
"""EUR 1.50 and EUR 6 for a million tokens, as routes.json has it."""
COST = (5 * 1_500_000 + 4 * 6_000_000) // 1000
"""Of one answer of the stand-in, in billionths."""
NATIVE = ("chat", "completions", "embeddings", "rerank", "tokenize")
ASKED = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "stream": False}
"""Always as many bytes, or one less: a prompt is weighed before it is counted."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    front = Front(tmp_path_factory.mktemp("money") / "nginx")
    front.start()
    try:
        front.wait()
        yield front
        assert [line for line in front.journal.splitlines() if "lua entry thread aborted" in line] == []
    finally:
        front.close()


@pytest.fixture
def engine(make: Callable[..., Double]) -> Double:
    return make("engine")


def per_month(amount: int, currency: str = "EUR") -> dict[str, Any]:
    """A limit, in billionths."""
    return {"money_per_month": {"amount": amount, "currency": currency}}


def models(engine: Double, **more: Any) -> dict[str, Any]:
    return {"tiny": model(backend("tiny", engine.url, native=NATIVE), price=PRICE, **more)}


def ask(front: Front, as_: str, **more: Any) -> httpx.Response:
    """A small question; its record is there when this returns."""
    before = len(front.usage)
    response = front.ask("/v1/chat/completions", as_, **{"model": "tiny", **ASKED, **more})
    front.used(before + 1)
    return response


def spent(front: Front, team: str) -> int:
    return sum(record.get("money", 0) for record in front.usage if record["team"] == team)


def most(front: Front, as_: str, **more: Any) -> int:
    """What the small question may cost at most, by the front's own reckoning: it is refused with just less."""
    message = ask(front, as_, **more).json()["error"]["message"]
    return billionths_of(message.partition("may cost ")[2].partition(" ")[0])


def workers(front: Front) -> set[int]:
    assert front.process is not None
    pid = front.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def billionths_of(text: str) -> int:

    return billionths(Decimal(text))


@pytest.mark.parametrize("fast", [True, False])
def test_every_answer_has_its_cost_on_both_paths(
    running: Front, engine: Double, make: Callable[..., Double], fast: bool
) -> None:
    gateway = make("gateway")
    gateways = [peer("127.0.0.1", gateway.port)]
    name = f"payer-{fast}".lower()
    running.serve(
        team(name),
        models={**models(engine), "vectors": {**models(engine)["tiny"], "task": "embedding"}},
        fast_path=fast,
        through={"open": gateways, "private": gateways},
        aliases={"t": "tiny"},
    )
    assert ask(running, name).status_code == 200
    # Only the real gateway says whose alias it is.
    assert words(ask(running, name, model="t" if fast else "tiny", stream=True)) == TEXT
    running.ask("/v1/embeddings", name, model="vectors", input="x")
    assert len(engine.asked if fast else gateway.asked) == 3
    until(lambda: len([record for record in running.usage if record["team"] == name]) == 3)
    records = [record for record in running.usage if record["team"] == name]
    assert [(record.get("money"), record.get("currency")) for record in records] == [
        (COST, "EUR"),
        (COST, "EUR"),
        (3 * 1_500_000 // 1000, "EUR"),
    ]
    assert {row.model: str(row.money) for row in sums(records, "month")} == {
        "tiny": "0.000063000",
        "vectors": "0.000004500",
    }
    figure = f'slipway_money_total{{team="{name}",model="tiny",currency="EUR"}} 6.3e-05'
    # Another worker may tell its part a moment later.
    until(lambda: figure in running.client.get(running.url + "/metrics").text)


def test_what_has_no_price_has_no_cost(running: Front, engine: Double) -> None:
    free = {**models(engine)["tiny"], "price": {"input": 0, "output": 0}}
    running.serve(team("without"), models={"tiny": {**free, "price": None}, "free": free})
    ask(running, "without")
    ask(running, "without", model="free")
    records = {record["model"]: record for record in running.usage if record["team"] == "without"}
    assert "money" not in records["tiny"]
    assert (records["free"]["money"], records["free"]["currency"]) == (0, "EUR")
    assert 'slipway_money_total{team="without",model="tiny"' not in running.client.get(running.url + "/metrics").text


def test_a_fall_back_costs_what_it_costs_itself(running: Front, engine: Double, make: Callable[..., Double]) -> None:
    broken = make("broken", mode="500")
    other = {"input": 3_000_000, "output": 12_000_000}
    served = {"tiny": model(backend("tiny", broken.url, native=NATIVE), price=PRICE, fallbacks=["other"])}
    served["other"] = model(backend("other", engine.url, native=NATIVE), price=other)
    running.serve(team("falls"), models=served)
    assert ask(running, "falls").status_code == 200
    assert running.usage[-1]["money"] == 2 * COST


def test_tokenizing_costs_nothing(running: Front, engine: Double) -> None:
    running.serve(team("counts", **per_month(1)), models=models(engine))
    for _ in range(2):
        assert running.ask("/tokenize", "counts", model="tiny", prompt="x" * 4000).status_code == 200
    until(lambda: len([record for record in running.usage if record["team"] == "counts"]) == 2)
    assert spent(running, "counts") == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_months_money_is_never_overdrawn(running: Front, engine: Double, stream: bool) -> None:
    name = f"saver-{stream}".lower()
    running.serve(team(name, **per_month(1)), models=models(engine))
    aside = most(running, name)
    assert aside > COST
    # Ten answers, and for the last of them just what has to be set aside.
    running.serve(team(name, **per_month(9 * COST + aside)), models=models(engine))
    answers = [ask(running, name, stream=stream) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    error = answers[-1].json()["error"]
    assert (error["code"], error["type"]) == ("insufficient_quota", "insufficient_quota")
    assert "EUR" in error["message"]
    assert "retry-after" not in answers[-1].headers
    assert spent(running, name) == 10 * COST


def test_each_answer_is_set_aside(running: Front, engine: Double) -> None:
    running.serve(team("many", **per_month(1)), models=models(engine))
    more = most(running, "many", n=100) - most(running, "many")
    # 99 answers of four tokens, and the few bytes that ask for them.
    assert 99 * 4 * 6000 < more <= 99 * 4 * 6000 + 3 * 1500
    # What fills the context as a prompt leaves answers as dear as they may become.
    full = most(running, "many", user=" " * 40_000)
    assert full == 4096 * 1500 + 4 * 6000


def test_many_at_once_do_not_overdraw_it(running: Front, engine: Double) -> None:
    limit = 40 * COST
    running.serve(team("crowd", **per_month(limit)), models=models(engine))
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(running.chat, "tiny", "crowd", max_tokens=4, stream=n % 2 == 0) for n in range(120)]
        answers = [each.result() for each in asked]
    until(lambda: len([record for record in running.usage if record["team"] == "crowd"]) == 120)
    good = sum(answer.status_code == 200 for answer in answers)
    assert spent(running, "crowd") == good * COST <= limit
    codes = {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200}
    assert codes <= {"insufficient_quota", "rate_limit_exceeded"}
    # Nothing stays set aside: what is left can be used up to the last answer that is sure to fit.
    while ask(running, "crowd").status_code == 200:
        pass
    assert limit - spent(running, "crowd") < 2 * COST + most(running, "crowd")


def test_what_runs_holds_what_it_may_cost(running: Front, engine: Double) -> None:
    running.serve(team("waits", **per_month(1)), models=models(engine))
    running.serve(team("waits", **per_month(most(running, "waits") + COST)), models=models(engine))
    engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(running.ask, "/v1/chat/completions", "waits", **{"model": "tiny", **ASKED, "stream": True})
        until(lambda: len(engine.asked) == 1)
        response = ask(running, "waits")
        assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert response.headers["retry-after"] == "1"
        engine.go_on.set()
        assert words(held.result()) == TEXT
    until(lambda: spent(running, "waits") == COST)
    assert ask(running, "waits").status_code == 200


def test_who_leaves_before_an_answer_uses_the_limit_and_is_not_billed(running: Front, engine: Double) -> None:
    running.serve(team("leaves", **per_month(1)), models=models(engine))
    running.serve(team("leaves", **per_month(most(running, "leaves") + COST)), models=models(engine))
    engine.mode = "hang"
    key = {"authorization": "Bearer sk-key-of-leaves-0123456789"}
    before = len(running.usage)
    with pytest.raises(httpx.ReadTimeout):
        running.client.post(
            running.url + "/v1/chat/completions", json={"model": "tiny", **ASKED}, headers=key, timeout=0.5
        )
    record = running.used(before + 1)[-1]
    assert "money" not in record
    assert record["aside"] > COST
    engine.left.set()
    engine.mode = "well"
    assert ask(running, "leaves").status_code == 429


def test_the_limit_outlives_a_restart_and_a_kill(tmp_path_factory: pytest.TempPathFactory, engine: Double) -> None:
    front = Front(tmp_path_factory.mktemp("again") / "nginx")
    front.start()
    try:
        front.wait()
        front.serve(team("stays", **per_month(1)), models=models(engine))
        limit = per_month(8 * COST + most(front, "stays"))
        front.serve(team("stays", **limit), models=models(engine))
        statuses = []
        for step in (signal.SIGTERM, signal.SIGKILL, None):
            statuses += [ask(front, "stays", stream=n % 2 == 0).status_code for n in range(4)]
            if step is not None:
                front.stop(step)
                front.again()
                front.wait()
        assert statuses == [200] * 9 + [429] * 3
        assert spent(front, "stays") == 9 * COST
        # In another currency nothing is spent yet.
        dollars = per_month(most(front, "stays"), "USD")
        front.serve(team("stays", **dollars), models=models(engine), currency="USD")
        assert ask(front, "stays").status_code == 200
    finally:
        front.close()


def test_a_limit_that_comes_later_knows_what_the_month_has_cost(running: Front, engine: Double) -> None:
    running.serve(team("later"), models=models(engine))
    for _ in range(3):
        assert ask(running, "later").status_code == 200
    running.serve(team("later", **per_month(3 * COST)), models=models(engine))
    assert ask(running, "later").status_code == 429


def test_the_highest_price_and_limit_can_be_counted(running: Front, engine: Double) -> None:
    whole = billionths_of(str(MOST_MONEY))
    dear = {"input": 10**12, "output": 0}
    running.serve(team("rich", **per_month(whole)), models={"tiny": {**models(engine)["tiny"], "price": dear}})
    assert ask(running, "rich").status_code == 200
    assert running.usage[-1]["money"] == USAGE["prompt_tokens"] * 10**9


def test_what_a_killed_worker_had_set_aside_is_given_back(running: Front, engine: Double) -> None:
    running.serve(team("kept", **per_month(1)), models=models(engine))
    running.serve(team("kept", **per_month(most(running, "kept"))), models=models(engine))
    engine.go_on.clear()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(running.ask, "/v1/chat/completions", "kept", **{"model": "tiny", **ASKED, "stream": True})
        until(lambda: len(engine.asked) == 1)
        assert ask(running, "kept").status_code == 429
        killed = workers(running)
        for child in killed:
            os.kill(child, signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            held.result()
        engine.go_on.set()
    until(lambda: len(workers(running) - killed) == running.workers)
    until(lambda: running.ask("/v1/chat/completions", "kept", model="tiny", **ASKED).status_code == 200)


def test_what_a_stack_says_is_what_the_front_counts(running: Front, engine: Double) -> None:
    of = deployment(
        with_changes(
            good(),
            ("models.m.price", {"input": 1.5, "output": 6}),
            ("gateway.usage", {"currency": "CHF"}),
            ("gateway.teams.a.money_per_month", 0.001),
        )
    )
    told, limit = routes(of, of.front.machine), teams(of)["teams"][0]["money_per_month"]
    served = {"tiny": {**models(engine)["tiny"], "price": told["models"]["m"]["price"]}}
    running.serve(team("told", money_per_month=limit), models=served, currency=told["currency"])
    while ask(running, "told").status_code == 200:
        pass
    records = [record for record in running.usage if record["team"] == "told"]
    (row,) = sums(records, "month")
    assert (row.currency, row.refused) == ("CHF", 1)
    assert row.money == Decimal("0.0000315") * (row.requests - 1)
    assert Decimal("0.0008") < row.money <= Decimal("0.001")


def test_a_price_or_limit_without_its_parts_is_refused(running: Front, engine: Double) -> None:
    running.serve(team("open"), models=models(engine))
    running.write("teams.json", '{"teams": [{"name": "x", "private": false, "money_per_month": 5}]}')
    until(lambda: "money_per_month of team x" in (running.state()["teams"]["refused"] or ""))
    running.serve(team("open"), models=models(engine))
    assert running.client.get(running.url + "/slipway/state").status_code == 200

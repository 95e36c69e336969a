"""Which backend the gateway asks, what it counts, and what it makes of errors."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.roles.gateway_part import part

answers, backends, balance, bodies = part("answers"), part("backends"), part("balance"), part("bodies")
failures, routes, serving, teams = part("failures"), part("routes"), part("serving"), part("teams")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def deployment(id_: str, name: str = "tiny", **more: Any) -> Any:
    fields = {"litellm": {"model": "p/m"}, "task": "chat", "native": frozenset({"chat"}), "private": True} | more
    return routes.Deployment(id=id_, name=name, url="http://192.0.2.1/v1", **fields)


# Which one


def test_the_weights_share_the_requests_out() -> None:
    chosen = balance.Balance(dice=random.Random(1))  # noqa: S311
    ones = [deployment("heavy", weight=9), deployment("light", weight=1), deployment("spare", weight=0)]
    counted = Counter(chosen.choose(ones, ()).id for _ in range(1000))
    assert 60 < counted["light"] < 140
    assert counted["spare"] == 0


def test_among_replicas_the_idle_one_is_asked() -> None:
    chosen = balance.Balance()
    ones = [deployment("a"), deployment("b")]
    chosen.begin(ones[0])
    assert {chosen.choose(ones, ()).id for _ in range(20)} == {"b"}
    chosen.end(ones[0])
    assert {chosen.choose(ones, ()).id for _ in range(50)} == {"a", "b"}


def test_one_that_failed_is_left_alone_as_far_as_there_are_others() -> None:
    clock = Clock()
    chosen = balance.Balance(clock)
    ones = [deployment("a"), deployment("b")]
    chosen.failed(ones[0], 15)
    assert {chosen.choose(ones, ()).id for _ in range(20)} == {"b"}
    assert chosen.choose(ones, {"b"}).id == "a"
    assert chosen.choose(ones, {"a", "b"}) is None
    clock.now = 15
    assert {chosen.choose(ones, ()).id for _ in range(50)} == {"a", "b"}
    chosen.failed(ones[0], 15)
    chosen.answered(ones[0])
    assert {chosen.choose(ones, ()).id for _ in range(50)} == {"a", "b"}


def test_who_was_there_alone_when_a_backend_was_lost() -> None:
    clock = Clock()
    known = balance.Balance(clock)
    engine = deployment("a")
    known.begin(engine)
    assert known.lost(engine, "one")
    clock.now = 4.9
    assert not known.lost(engine, "one")  # as another that was lost just now
    clock.now = 10
    known.begin(engine)
    assert not known.lost(engine, "one")  # another is there
    known.end(engine)
    clock.now = 20
    known.heard(engine, "one")
    assert known.lost(engine, "one")
    clock.now = 30
    known.heard(engine, "other")
    assert not known.lost(engine, "one")  # another was there
    clock.now = 40
    for caller in ("other", "one"):
        known.heard(engine, caller)
    assert not known.lost(engine, "one")
    clock.now = 50
    known.heard(engine, "other")
    clock.now = 51
    assert known.lost(engine, "one")


# What stays here


class Way:
    """Asks nobody: it notes whom it was to ask, and fails for those in `broken`."""

    def __init__(self, broken: frozenset[str], *, suspect: bool = False) -> None:
        self.broken = broken
        self.suspect = suspect
        self.asked: list[Any] = []

    def can(self, *_: object) -> bool:
        return True

    @asynccontextmanager
    async def ask(self, chosen: Any, _: object) -> AsyncIterator[Any]:
        self.asked.append(chosen)
        if chosen.id in self.broken:
            raise backends.Lost("gone", suspect=self.suspect)

        async def chunks() -> AsyncIterator[bytes]:
            yield b"{}"

        yield backends.Reply(200, {"content-type": "application/json"}, chunks())


def ask(
    found: Any,
    *,
    private: bool = False,
    broken: frozenset[str] = frozenset(),
    suspect: bool = False,
    busy: Collection[Any] = (),
) -> tuple[list[Any], int]:
    """Whom a request to "a" was sent to, and the status of its answer; others are on the backends in `busy`."""
    way, sent = Way(broken, suspect=suspect), []
    known = balance.Balance()
    for one in busy:
        known.begin(one)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    team = teams.Team(name="t", private=private)
    body = bodies.Json(b"{}", {"model": "a"})
    call = backends.Call(path="/v1/x", family="chat", body=body, headers={}, team=team)
    served = serving.Serving(way, way, known)
    caller = serving.Caller(send, anthropic=False)
    try:
        asyncio.run(served.answer(call, found, "a", caller))
    except answers.Refusal as refusal:
        assert not sent
        return way.asked, refusal.status
    return way.asked, sent[0]["status"]


NAMES = ("a", "b", "c")


@st.composite
def anything_served(draw: st.DrawFn) -> Any:
    models = {
        name: tuple(
            deployment(
                f"{name}{number}",
                name,
                private=draw(st.booleans()),
                weight=draw(st.integers(0, 3)),
                native=draw(st.sampled_from([frozenset({"chat"}), frozenset()])),
            )
            for number in range(draw(st.integers(1, 4)))
        )
        for name in NAMES
    }
    fallbacks = {name: tuple(draw(st.lists(st.sampled_from(NAMES), unique=True))) for name in NAMES}
    return routes.Routes(models=models, fallbacks=fallbacks)


@given(anything_served(), st.data(), st.booleans())
def test_no_private_request_reaches_a_provider_whatever_fails(found: Any, data: st.DataObject, private: bool) -> None:
    ids = sorted(one.id for one in found.deployments())
    broken = data.draw(st.sets(st.sampled_from(ids)))
    asked, status = ask(found, private=private, broken=frozenset(broken))
    assert not private or all(one.private for one in asked)
    assert len({one.id for one in asked}) == len(asked)
    # Names in the order of the fall-backs; each at most three times.
    order = [one.name for one in asked]
    assert list(dict.fromkeys(order)) == [name for name in found.chain("a") if name in order]
    assert max(Counter(order).values(), default=0) <= 3
    answered = bool(asked) and asked[-1].id not in broken
    assert status == (200 if answered else 503 if asked else 403)


@pytest.mark.parametrize(
    ("suspect", "busy", "asked", "status"),
    [
        (False, False, 3, 200),  # nobody listened there
        (True, False, 1, 503),
        (True, True, 2, 503),
    ],
)
def test_a_request_takes_down_one_engine_and_at_most_one_more(
    suspect: bool, busy: bool, asked: int, status: int
) -> None:
    engines = [deployment(id_, "a") for id_ in ("1", "2", "3")]
    found = routes.Routes(models={"a": tuple(engines), "b": (deployment("4", "b"),)}, fallbacks={"a": ("b",)})
    ids = frozenset(one.id for one in engines)
    told, came = ask(found, broken=ids, suspect=suspect, busy=engines if busy else ())
    assert (len([one for one in told if one.name == "a"]), came) == (asked, status)
    assert [one.name for one in told].count("b") == (status == 200)


def test_a_provider_answers_for_engines_that_were_lost_with_others_on_them() -> None:
    engines = [deployment(id_, "a") for id_ in ("1", "2", "3")]
    provider = deployment("4", "b", private=False)
    found = routes.Routes(models={"a": tuple(engines), "b": (provider,)}, fallbacks={"a": ("b",)})
    told, status = ask(found, broken=frozenset({"1", "2", "3"}), suspect=True, busy=engines)
    assert ([one.name for one in told], status) == (["a", "a", "b"], 200)


def test_a_provider_is_no_engine_that_a_request_takes_down() -> None:
    found = routes.Routes(models={"a": tuple(deployment(id_, "a", private=False) for id_ in ("1", "2"))})
    assert ask(found, broken=frozenset({"1", "2"}), suspect=True)[1] == 503
    assert len(ask(found, broken=frozenset({"1", "2"}), suspect=True)[0]) == 2


def test_a_model_that_only_a_provider_serves_is_not_for_a_private_team() -> None:
    found = routes.Routes(models={"a": (deployment("a", "a", private=False),)})
    assert ask(found, private=True) == ([], 403)
    assert ask(found, private=False)[1] == 200


# What LiteLLM is told


class Router:
    """Takes every backend but those of the provider "nonsense"."""

    def set_model_list(self, entries: list[dict[str, Any]]) -> None:
        self.ids = [one["model_info"]["id"] for one in entries if one["litellm_params"]["model"] != "nonsense/m"]

    def has_model_id(self, id_: str) -> bool:
        return id_ in self.ids


def test_litellm_knows_each_backend_by_its_id_and_one_that_is_gone_for_one_change_more() -> None:
    def served(*ones: Any) -> Any:
        return routes.Routes(models={"tiny": ones})

    router, translated = Router(), part("translated").Translated(None)
    a, b, c = (deployment(id_, litellm={"model": "p/m"}) for id_ in "abc")
    assert translated.take(router, served(a, b)) == []
    assert router.ids == ["a", "b"]
    assert translated.can(a, "chat")
    assert not translated.can(a, "tokenize")
    assert not translated.can(c, "chat")
    translated.take(router, served(b, c))
    assert router.ids == ["b", "c", "a"]
    assert translated.can(a, "chat")  # for who had chosen it
    translated.take(router, served(c))
    assert router.ids == ["c", "b"]
    assert not translated.can(a, "chat")


def test_a_backend_that_litellm_refuses_is_told_and_not_asked() -> None:
    translated = part("translated").Translated(None)
    odd = deployment("odd", litellm={"model": "nonsense/m"})
    assert translated.take(Router(), routes.Routes(models={"tiny": (odd, deployment("a"))})) == ["odd"]
    assert not translated.can(odd, "chat")


# What errors say

QUOTED = b'{"error": {"message": "m"}}'


@pytest.mark.parametrize(
    ("body", "message", "kind", "code"),
    [
        (b'{"error": {"message": "m", "type": "t", "param": null, "code": "c"}}', "m", "t", "c"),
        (b'{"error": {"message": "m", "type": "BadRequestError", "code": 400}}', "m", "BadRequestError", None),
        (b'{"type": "error", "error": {"type": "t", "message": "m"}}', "m", "t", None),
        (b'{"object": "error", "message": "m", "code": "400"}', "m", "invalid_request_error", None),
        (b'{"error": "m"}', "m", "invalid_request_error", None),
        (b'{"detail": "m"}', "m", "invalid_request_error", None),
        (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]', "invalid_request_error", None),
        (b"<html>", "The backend refused the request and did not say why.", "invalid_request_error", None),
        (b'{"error": {"message": "m Received Model Group=x"}}', "m", "invalid_request_error", None),
        (b'{"error": {"message": "ValueError: m - n"}}', "ValueError: m - n", "invalid_request_error", None),
        (
            b'{"error": {"message": "litellm.BadRequestError: AzureException BadRequestError - m. n", "code": "400"}}',
            "m. n",
            "invalid_request_error",
            None,
        ),
        (
            b'{"error": {"message": "litellm.BadRequestError: litellm.ContextWindowExceededError: '
            b"litellm.BadRequestError: ContextWindowExceededError: Hosted_vllmException - Error code: 400 - "
            b"{'error': {'message': 'm', 'type': 't', 'param': None, 'code': 'c'}}\", \"type\": null}}",
            "m",
            "t",
            "c",
        ),
        (
            json.dumps({"error": {"message": f"litellm.BadRequestError: VertexAIException - {QUOTED!r}"}}).encode(),
            "m",
            "invalid_request_error",
            None,
        ),
        (b'{"error": {"message": "litellm.X: YException - {m"}}', "{m", "invalid_request_error", None),
        (
            b'{"error": {"message": "m\\n\\nLiteLLM: model group x", "type": "None"}}',
            "m",
            "invalid_request_error",
            None,
        ),
    ],
)
def test_an_engines_error_is_passed_on_in_the_form_of_openai(
    body: bytes, message: str, kind: str, code: str | None
) -> None:
    error = answers.backend_refusal(400, body).data(anthropic=False)["error"]
    assert error == {"message": message, "type": kind, "param": None, "code": code}
    assert answers.backend_refusal(400, body).data(anthropic=True) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": message},
    }


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"error": {"message": "m"}}, True),
        ({"type": "error", "error": {"message": "m"}}, True),
        ({"type": "response.failed", "response": {"object": "response", "error": {"code": "server_error"}}}, True),
        ({"object": "response", "error": {"code": "server_error"}}, False),
        ({"object": "response", "error": None}, False),
        ({"choices": [{"text": '"error"'}]}, False),
        (['"error"'], False),
    ],
)
def test_an_error_is_told_from_an_answer(data: Any, found: bool) -> None:
    body = json.dumps(data).encode()
    assert bool(failures.error_in(body)) is found
    assert bool(failures.error_in_event(b"event: x\ndata: " + body + b"\n\n")) is found


def test_a_body_is_passed_byte_for_byte_unless_the_name_differs() -> None:
    raw = b'{ "model":"tiny", "n": 1.0 }'
    body = asyncio.run(bodies.read(raw, "application/json"))
    assert body.asking("tiny") == (raw, "application/json")
    assert json.loads(body.asking("inside")[0]) == {"model": "inside", "n": 1.0}

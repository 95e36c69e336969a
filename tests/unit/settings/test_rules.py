"""The rules that span sections, each by stacks that break it: one line for each mistake, with its place and the mend."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.settings.errors import SettingsError
from slipway.settings.load import parse
from tests.unit.settings.documents import (
    GOOD_KEY,
    OTHER_KEY,
    REMOVED,
    THIRD_KEY,
    able,
    changed,
    good,
    many,
    pair,
    with_changes,
)

FOURTH_KEY = "2468ace013579bdf2468ace013579bdf"

PRICE = {"input": 1, "output": 2}
HERE = {"source": {"host_path": "/srv/models/x"}}
GGUF = {"source": {"host_path": "/srv/models/x.gguf"}}
CLOUD = ("providers.openai", {"key": "sk-canary"})
GPT = ("models.gpt", {"provider": "openai"})


def models(**others: Any) -> dict[str, Any]:
    """A good document with these models beside `m`, and the provider openai with `gpt` where one is called so."""
    document = with_changes(good(), *((("models", name.replace("__", ".")), model) for name, model in others.items()))
    return changed(document, *CLOUD) if "gpt" in others else document


def euros(*changes: tuple[Any, Any]) -> dict[str, Any]:
    """A good document whose prices are in euros."""
    return with_changes(changed(good(), "gateway.usage", {"currency": "EUR"}), *changes)


def no_price(model: str) -> str:
    return (
        f"gateway.teams.a.money_per_month: {model}, which may answer the team, has no price; what it costs could not be "
        f"counted: set models.{model}.price, or leave it out of the team's models"
    )


FAIL: dict[str, tuple[dict[str, Any], list[str]]] = {
    "what a team says is kept that there is not": (
        changed(
            good(),
            "gateway.content_log",
            {"teams": ["a", "b"], "retention_days": 30, "reason": "complaints, decision 2026-14"},
        ),
        [
            "gateway.content_log.teams[1]: there is no team 'b'; nothing of anybody would be kept: name one of a",
        ],
    ),
    "a host's name twice": (
        changed(good(), "pools.other", {"hosts": {"gpu-1": {"address": "10.0.0.12", "user": "u"}}}),
        [
            "pools.other.hosts.gpu-1: the pool main has a host of this name too; resources would collide: rename one host",
        ],
    ),
    "an address twice": (
        changed(pair(), "pools.main.hosts.gpu-2.address", "10.0.0.11"),
        [
            "pools.main.hosts.gpu-2: 10.0.0.11 port 22 is that of gpu-1 too; one machine would be set up as two: "
            "remove one of the two hosts",
        ],
    ),
    "unknown pools": (
        with_changes(good(), ("models.m.pool", "gpu"), ("gateway.pool", "g"), ("front.pool", "f")),
        [
            "models.m.pool: there is no pool 'gpu'; nothing could run there: use one of main",
            "gateway.pool: there is no pool 'g'; nothing could run there: use one of main",
            "front.pool: there is no pool 'f'; nothing could run there: use one of main",
        ],
    ),
    "an alias that is a model": (
        models(b={**HERE, "aliases": ["m"]}),
        ["models.b.aliases: 'm' is a name of m too; requests could not be told apart: rename one"],
    ),
    "an alias twice": (
        with_changes(models(b={**HERE, "aliases": ["x"]}), ("models.m.aliases", ["x"])),
        ["models.b.aliases: 'x' is a name of m too; requests could not be told apart: rename one"],
    ),
    "an alias twice of one model": (
        changed(good(), "models.m.aliases", ["x", "x"]),
        ["models.m.aliases: 'x' is a name of m too; requests could not be told apart: rename one"],
    ),
    "a task that the engine does not serve": (
        models(b={**GGUF, "task": "transcription", "engine": "llama_cpp"}),
        [
            "models.b.task: llama_cpp serves no transcription model; the engine would not start: use another engine "
            "(it serves chat, completion, embedding, rerank)",
        ],
    ),
    "GGUF with an engine that cannot read it": (
        models(b=GGUF),
        [
            "models.b.source: x.gguf is a GGUF file, and vllm reads huggingface only; the engine would not start: "
            f"use engine: {able('gguf', 'chat')}",
        ],
    ),
    "GGUF for a task of which not every engine is that reads it": (
        models(b={**GGUF, "task": "rerank"}),
        [
            "models.b.source: x.gguf is a GGUF file, and vllm reads huggingface only; the engine would not start: "
            f"use engine: {able('gguf', 'rerank')}",
        ],
    ),
    "GGUF for a task that no engine has which reads it": (
        models(b={**GGUF, "task": "transcription"}),
        [
            "models.b.source: x.gguf is a GGUF file, and vllm reads huggingface only; the engine would not start: "
            "give the model in another format",
        ],
    ),
    "a folder with an engine that reads GGUF only": (
        models(b={**HERE, "engine": "llama_cpp"}),
        [
            "models.b.source: the source names no GGUF file, and llama_cpp reads gguf only; the engine would not start: "
            f"name one, or use engine: {able('huggingface', 'chat')}",
        ],
    ),
    "an unknown provider": (
        models(b={"provider": "openai"}),
        ["models.b.provider: there is no provider 'openai'; nothing could answer: add it to providers (there: none)"],
    ),
    "an unknown provider beside others": (
        models(b={"provider": "open-ai"}, gpt={"provider": "openai"}),
        [
            "models.b.provider: there is no provider 'open-ai'; nothing could answer: add it to providers (there: openai)"
        ],
    ),
    "an unknown fall-back": (
        changed(good(), "models.m.fallbacks", ["n"]),
        ["models.m.fallbacks: there is no model 'n'; nothing could answer: use one of m"],
    ),
    "an unknown target": (
        models(b={"targets": {"m": 1, "n": 1}}),
        ["models.b.targets: there is no model 'n'; nothing could answer: use one of m, b"],
    ),
    "an alias as a fall-back": (
        models(b={**HERE, "fallbacks": ["big"]}, big__1={**HERE, "aliases": ["big"]}),
        ["models.b.fallbacks: 'big' is another name of big.1; write big.1"],
    ),
    "a target that is shared out itself": (
        models(b={"targets": {"m": 1}}, c={"targets": {"b": 1}}),
        ["models.c.targets: b is shared out itself; weights would be of weights: name the models that answer"],
    ),
    "a model that falls back to itself": (
        changed(good(), "models.m.fallbacks", ["m"]),
        [
            "models.m.fallbacks: m -> m goes in a circle; where all fail a request would never end: leave one of them out",
        ],
    ),
    "a circle of two": (
        changed(models(b={**HERE, "fallbacks": ["m"]}), "models.m.fallbacks", ["b"]),
        [
            "models.b.fallbacks: b -> m -> b goes in a circle; where all fail a request would never end: "
            "leave one of them out",
        ],
    ),
    "a circle of three": (
        models(c__1={**HERE, "fallbacks": ["b"]}, b={**HERE, "fallbacks": ["a"]}, a={**HERE, "fallbacks": ["c.1"]}),
        [
            "models.a.fallbacks: a -> c.1 -> b -> a goes in a circle; where all fail a request would never end: "
            "leave one of them out",
        ],
    ),
    "two circles": (
        models(
            a={**HERE, "fallbacks": ["b"]},
            b={**HERE, "fallbacks": ["a"]},
            c={**HERE, "fallbacks": ["a", "d"]},
            d={**HERE, "fallbacks": ["c"]},
        ),
        [
            "models.a.fallbacks: a -> b -> a goes in a circle; where all fail a request would never end: "
            "leave one of them out",
            "models.c.fallbacks: c -> d -> c goes in a circle; where all fail a request would never end: "
            "leave one of them out",
        ],
    ),
    "a private model that falls back to a provider": (
        with_changes(good(), CLOUD, GPT, ("models.m.private", True), ("models.m.fallbacks", ["gpt"])),
        [
            "models.m.fallbacks: m is private, and gpt is served by the provider openai; its requests would leave: "
            "remove the fall-back, or private",
        ],
    ),
    "a private model that falls back to a mix with a provider": (
        with_changes(
            models(b=HERE, gpt={"provider": "openai"}, mix={"targets": {"b": 1, "gpt": 1}}),
            ("models.m.private", True),
            ("models.m.fallbacks", ["mix"]),
        ),
        [
            "models.m.fallbacks: m is private, and gpt is served by the provider openai; its requests would leave: "
            "remove the fall-back, or private",
        ],
    ),
    "a private model that falls back to one that falls back to a provider": (
        with_changes(
            models(b={**HERE, "fallbacks": ["gpt"]}, gpt={"provider": "openai"}),
            ("models.m.private", True),
            ("models.m.fallbacks", ["b"]),
        ),
        [
            "models.m.fallbacks: m is private, and gpt, to which b falls back, is served by the provider openai; its "
            "requests would leave: remove the fall-back, or private",
        ],
    ),
    "a private model shared out with a provider's": (
        changed(models(gpt={"provider": "openai"}, mix={"targets": {"m": 1, "gpt": 1}}), "models.m.private", True),
        [
            "models.mix.targets: gpt is served by the provider openai, and another target is private; requests for a "
            "private model would leave: remove one of them",
        ],
    ),
    "a shared-out private model that falls back to a provider": (
        changed(
            models(gpt={"provider": "openai"}, mix={"targets": {"m": 1}, "fallbacks": ["gpt"]}),
            "models.m.private",
            True,
        ),
        [
            "models.mix.fallbacks: mix is private, and gpt is served by the provider openai; its requests would leave: "
            "remove the fall-back, or private",
        ],
    ),
    "an embedding model as a chat fall-back": (
        models(b={**HERE, "fallbacks": ["e"]}, e={**HERE, "task": "embedding"}),
        [
            "models.b.fallbacks: b is a model for chat, and a fall-back is one for embedding; it could not answer: "
            "name a model for chat",
        ],
    ),
    "targets of two tasks": (
        models(b={"targets": {"m": 1, "e": 1}}, e={**HERE, "task": "embedding"}),
        [
            "models.b.targets: the targets are for chat and embedding; some requests could not be answered: "
            "name models of one task",
        ],
    ),
    "teams with names of Slipway's own": (
        with_changes(
            good(),
            ("gateway.teams.slipway-acceptance", {"key": THIRD_KEY}),
            ("gateway.teams.slipway-x", {"key": OTHER_KEY}),
            ("gateway.teams.slipway", {"key": FOURTH_KEY}),
        ),
        [
            f"gateway.teams.{team}: names that begin with slipway- are those of Slipway's own teams, as which acceptance asks; "
            "requests and limits could not be told apart: name the team otherwise"
            for team in ("slipway-acceptance", "slipway-x")
        ],
    ),
    "one key of two teams": (
        changed(good(), "gateway.teams.b", {"key": GOOD_KEY}),
        [
            "gateway.teams.b.key: the team 'a' has the same key; requests could not be told apart: give each its own",
        ],
    ),
    "a team with a model that does not exist": (
        with_changes(good(), ("models.m.aliases", ["x"]), ("gateway.teams.a.models", ["m", "n"])),
        ["gateway.teams.a.models: there is no model 'n'; the team would ask in vain: use one of m, x"],
    ),
    "a private team with nothing served here": (
        with_changes(
            good(),
            CLOUD,
            GPT,
            ("models.gpt.aliases", ["best"]),
            ("gateway.teams.b", {"key": THIRD_KEY, "private": True, "models": ["best"]}),
        ),
        [
            "gateway.teams.b.private: none of the team's models is served here; every request of a private team would be "
            "refused: give it a model that is, or remove private",
        ],
    ),
    "an engine's port that is the gateway's": (
        changed(good(), "models.m.engine.port", 4000),
        [
            "gateway.port: gateway.port and models.m.engine.port are both 4000 on gpu-1; one would not start: "
            "choose another port",
        ],
    ),
    "an engine's port that is the front's": (
        models(llama__1={**HERE, "engine": {"port": 443}}),
        [
            'front.port: front.port and models["llama.1"].engine.port are both 443 on gpu-1; one would not start: '
            "choose another port",
        ],
    ),
    "two engines' ports": (
        changed(models(b={**HERE, "engine": {"port": 8200}}), "models.m.engine.port", 8200),
        [
            "models.m.engine.port: models.m.engine.port and models.b.engine.port are both 8200 on gpu-1; one would not "
            "start: choose another port",
        ],
    ),
    "the front's port that is SSH's": (
        with_changes(good(), ("front.port", 2222), ("pools.main.hosts.gpu-1.port", 2222)),
        ["front.port: front.port and its SSH port are both 2222 on gpu-1; one would not start: choose another port"],
    ),
    "the second gateway's port": (
        changed(many(), "gateway.private_port", 4000),
        [
            "gateway.port: gateway.port and gateway.private_port are both 4000 on edge-1; one would not start: "
            "choose another port",
        ],
    ),
    "an engine without a private address": (
        changed(pair(), "pools.main.hosts.gpu-2.address", "8.8.4.4"),
        [
            "pools.main.hosts.gpu-2.private_address: gpu-2 is called by other hosts, but 8.8.4.4 is no private address; "
            "its service would face the internet: set its private_address",
        ],
    ),
    "a gateway apart from its front without a private address": (
        with_changes(
            good(),
            ("pools.main.hosts.gpu-1.address", "gpu.example.com"),
            ("pools.outside", {"hosts": {"front-1": {"address": "10.0.0.12", "user": "u"}}}),
            ("front.pool", "outside"),
        ),
        [
            "pools.main.hosts.gpu-1.private_address: gpu-1 is called by other hosts, but gpu.example.com is no private "
            "address; its service would face the internet: set its private_address",
            "gateway.engine_key: missing, while the gateway on gpu-1 is called by a front on another host; anyone in the "
            "private network who has a team's key could use it past the front's limits: set it, for example to {env: "
            "SLIPWAY_ENGINE_KEY}",
        ],
    ),
    "no engine key": (
        changed(pair(), "gateway.engine_key", REMOVED),
        [
            "gateway.engine_key: missing, while gpu-2 and the gateway are different hosts; anyone in the private network "
            "could use the engines: set it, for example to {env: SLIPWAY_ENGINE_KEY}",
        ],
    ),
    "several mistakes at once": (
        with_changes(
            models(b={**HERE, "fallbacks": ["m"]}, e={**HERE, "task": "embedding", "fallbacks": ["m"]}),
            ("models.m.fallbacks", ["b"]),
            ("gateway.port", 443),
            ("gateway.teams.a.models", ["n"]),
        ),
        [
            "models.b.fallbacks: b -> m -> b goes in a circle; where all fail a request would never end: "
            "leave one of them out",
            "models.e.fallbacks: e is a model for embedding, and a fall-back is one for chat; it could not answer: "
            "name a model for embedding",
            "gateway.teams.a.models: there is no model 'n'; the team would ask in vain: use one of m, b, e",
            "gateway.port: gateway.port and front.port are both 443 on gpu-1; one would not start: choose another port",
        ],
    ),
}
FAIL |= {
    "a price in no currency": (
        changed(good(), "models.m.price", PRICE),
        [
            "gateway.usage.currency: missing, while models.m has a price; nobody could say of what: set it, for example to EUR"
        ],
    ),
    "a price of half of what is used": (
        euros(("models.m.price", {"input": 1})),
        [
            "models.m.price.output: missing; what the model generates would cost nothing: set it, to 0 where that is meant",
        ],
    ),
    "a price of what tells no tokens": (
        euros(("models.m.task", "transcription"), ("models.m.price", {"input": 1})),
        [
            "models.m.price: its answers do not tell tokens, as of every transcription; it would never be charged: remove "
            "the price",
        ],
    ),
    "a limit of money without a price": (
        euros(("models.gpt", {"provider": "openai"}), CLOUD, ("gateway.teams.a.money_per_month", 5)),
        [no_price("gpt"), no_price("m")],
    ),
    "a limit of money without the price of a fall-back": (
        euros(
            ("models.m", {**HERE, "price": PRICE, "fallbacks": ["b"]}),
            ("models.b", {**HERE, "price": PRICE, "fallbacks": ["c"]}),
            ("models.c", HERE),
            ("gateway.teams.a.models", ["m"]),
            ("gateway.teams.a.money_per_month", 5),
        ),
        [no_price("c")],
    ),
    "a limit of money for a name whose targets cost differently": (
        euros(
            ("models.m.price", PRICE),
            ("models.b", {**HERE, "price": {"input": 1, "output": 3}}),
            ("models.both", {"targets": {"m": 1, "b": 1}}),
            ("gateway.teams.a.money_per_month", 5),
        ),
        [no_price("both")],
    ),
    "a limit of money with a transcription": (
        euros(("models.m.task", "transcription"), ("gateway.teams.a.money_per_month", 5)),
        [
            "gateway.teams.a.money_per_month: m, which may answer the team, is for transcription and tells no tokens; what it "
            "costs could not be counted: leave it out of the team's models",
        ],
    ),
}


def problems(document: object) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        parse(document, "s")
    return list(refused.value.problems)


@pytest.mark.parametrize("case", FAIL)
def test_what_does_not_go_together_is_refused(case: str) -> None:
    document, messages = FAIL[case]
    assert problems(document) == [f"slipway:platform.{message}" for message in messages]


def test_the_documents_above_are_good_but_for_their_mistake() -> None:
    for document in (good(), pair(), many(), models(b=HERE, gpt={"provider": "openai"})):
        parse(document, "s")


def test_limits_of_money_ask_for_no_price_that_is_not_needed() -> None:
    limited = ("gateway.teams.a.money_per_month", 5)
    both = ("models.both", {"targets": {"m": 1, "b": 1}})
    free = ("models.b", {**HERE, "price": {"input": 0, "output": 0}})
    alone = ("gateway.teams.a.models", ["both"])
    for document in (
        euros(("models.m.price", PRICE), ("models.b", {**HERE, "price": PRICE}), both, limited),
        euros(free, ("models.both", {**both[1], "price": PRICE}), alone, limited),
        # Not asked, or never a private team's answer.
        euros(("models.m.price", PRICE), ("models.b", HERE), ("gateway.teams.a.models", ["m"]), limited),
        euros(("models.m.price", PRICE), CLOUD, GPT, ("gateway.teams.a.private", True), limited),
    ):
        parse(document, "s")


def test_many_fall_backs_are_looked_at_quickly() -> None:
    """In a web without a circle there are more paths than anyone can walk."""
    names = [f"x{number}" for number in range(40)]
    web = {name: {**HERE, "fallbacks": names[at + 1 : at + 4]} for at, name in enumerate(names)}
    started = time.perf_counter()
    parse(models(**web), "s")
    assert time.perf_counter() - started < 5


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12, unique=True))
def test_circles_are_found_and_nothing_else(edges: list[tuple[int, int]]) -> None:
    """Of any web: refused if and only if something leads back to itself."""
    names = [f"x{number}" for number in range(6)]
    web = {
        name: {**HERE, "fallbacks": [names[end] for start, end in edges if start == at]}
        for at, name in enumerate(names)
    }
    reached = set(edges)
    for _ in names:
        reached |= {(start, end) for start, middle in reached for again, end in reached if middle == again}
    if any(start == end for start, end in reached):
        found = problems(models(**web))
        assert all("goes in a circle" in line for line in found)
        for line in found:
            path = line.split(": ")[1].split(" goes ")[0].split(" -> ")
            steps = [(names.index(start), names.index(end)) for start, end in zip(path, path[1:], strict=False)]
            assert path[0] == path[-1]
            assert set(steps) <= set(edges)
    else:
        parse(models(**web), "s")

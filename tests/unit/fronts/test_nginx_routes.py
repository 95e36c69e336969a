"""What the front is told of models: which engines it asks itself, and what is the gateway's to answer."""

from typing import Any

import pytest

from slipway.deployment.references import LOOPBACK
from slipway.deployment.types import Deployment
from slipway.fronts.nginx.routes import routes
from slipway.settings.types import Secret
from tests.unit.deployment.stacks import deployment, seen
from tests.unit.settings.documents import OTHER_KEY, changed, good, many, with_changes


def told(of: Deployment) -> dict[str, Any]:
    """routes.json as it is written, with secrets opened and addresses put in."""
    found: dict[str, Any] = seen(of, routes(of, of.front.machine))
    return found


def test_an_engine_that_the_front_asks() -> None:
    of = deployment(many())
    model = told(of)["models"]["embedder"]
    port = of.of("embedder")[0].port
    assert (model["task"], model["provided"], model["fallbacks"]) == ("embedding", False, [])
    assert model["backends"][0] == {
        "id": "embedder@cpu-1/embedder",
        "group": "embedder",
        "address": "10.0.0.21",
        "port": port,
        "model": "embedder",
        "key": OTHER_KEY,
        "native": sorted(of.served["embedder"].adapter.native),
        "weight": 1,
        "health": "/health",
        "probe": {"path": "/v1/embeddings", "body": {"model": "embedder", "input": "Hello"}},
        "progress": {"path": "/metrics", "counter": "vllm:iteration_tokens_total_count"},
        "most": None,
        "places": 256 + 4096,
    }


def test_the_front_counts_for_an_engine_that_refuses_nothing() -> None:
    options = {"name": "llama_cpp", "parallel": 3, "queue": 5}
    for engine, most in (("llama_cpp", 20), (options, 8)):
        changes = ("models.m", {"source": {"host_path": "/srv/b.gguf"}, "engine": engine})
        (backend,) = told(deployment(with_changes(good(), changes)))["models"]["m"]["backends"]
        assert (backend["most"], backend["places"]) == (most, None)


def test_keys_stay_secrets() -> None:
    of = deployment(many())
    assert isinstance(routes(of, of.front.machine)["models"]["embedder"]["backends"][0]["key"], Secret)
    assert OTHER_KEY not in repr(routes(of, of.front.machine))


def test_weights_are_those_of_the_gateway() -> None:
    found = told(deployment(many()))["models"]["chat"]
    # A tenth of it is a provider's: all of it passes the gateway, which knows both.
    assert found["provided"]
    assert [backend["weight"] for backend in found["backends"]] == [9, 9, 9]


def test_names_that_only_providers_serve_have_no_backend() -> None:
    found = told(deployment(many()))["models"]
    assert {name for name, model in found.items() if not model["backends"]} == {"gpt-5", "desktop"}
    assert all(found[name]["provided"] for name in ("gpt-5", "desktop"))


def test_an_engine_on_another_machines_loopback_is_not_asked() -> None:
    of = deployment(
        with_changes(
            good(),
            ("pools.edge", {"hosts": {"edge-1": {"address": "203.0.113.9", "user": "u"}}}),
            ("front.pool", "edge"),
            ("gateway.pool", "main"),
            ("gateway.engine_key", OTHER_KEY),
        )
    )
    (instance,) = of.instances
    assert instance.address == LOOPBACK
    (backend,) = told(of)["models"]["m"]["backends"]
    assert backend["native"] == []
    (beside,) = told(deployment(good()))["models"]["m"]["backends"]
    assert "chat" in beside["native"]


@pytest.mark.parametrize(
    ("document", "private"),
    [
        (good(), 4000),
        (many(), 4001),
        (changed(many(), "gateway.teams.legal.private", False), None),
    ],
)
def test_a_private_team_has_a_gateway_that_knows_no_provider_or_none(
    document: dict[str, Any], private: int | None
) -> None:
    peers = told(deployment(document))["through"]
    assert [each["port"] for each in peers["open"]] == [4000]
    assert (peers["private"] and peers["private"][0]["port"]) == private
    # On the same machine a team's own key is passed on.
    assert [each["key"] for each in peers["open"]] == [None]


def test_prices_are_whole_numbers_of_the_stacks_currency() -> None:
    of = deployment(
        with_changes(
            many(),
            ("gateway.usage", {"currency": "CNY"}),
            ("models.embedder.price", {"input": 0.1}),
            (("models", "llama-3.3-70b", "price"), {"input": 0.7, "output": 1.100001}),
            (("models", "gpt-5", "price"), {"input": 0.7, "output": 1.100001}),
            (("models", "chat", "targets"), {"llama-3.3-70b": 9, "gpt-5": 1}),
        )
    )
    found = told(of)
    assert found["currency"] == "CNY"
    assert found["models"]["embedder"]["price"] == {"input": 100_000, "output": 0}
    assert found["models"]["llama-3.3-70b"]["price"] == {"input": 700_000, "output": 1_100_001}
    assert found["models"]["chat"]["price"] == found["models"]["gpt-5"]["price"]
    assert found["models"]["desktop"]["price"] is None

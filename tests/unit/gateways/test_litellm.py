"""What the gateway is told: who answers for each name with what weight, which teams may ask, what never leaves."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slipway.deployment.acceptance import ACCEPTANCE, PRIVATE_ACCEPTANCE
from slipway.deployment.references import LOOPBACK, private
from slipway.deployment.routes import asked_by
from slipway.deployment.teams import key_hash, teams
from slipway.deployment.types import Deployment
from slipway.gateways import adapter
from slipway.gateways.litellm.config import KINDS
from slipway.gateways.litellm.routes import routes
from slipway.settings.providers import KINDS as SETTINGS_KINDS
from slipway.settings.types import Secret
from tests.unit.deployment.stacks import deployment, ready, roles, seen
from tests.unit.roles.gateway_part import part
from tests.unit.roles.loading import PLAYBOOKS, load
from tests.unit.settings.documents import (
    GOOD_KEY,
    OTHER_KEY,
    REMOVED,
    THIRD_KEY,
    changed,
    good,
    many,
    pair,
    with_changes,
)

model_answer = load("library/model_answer.py")

FOLDER = {"source": {"host_path": "/srv/models/x"}}


def told(of: Deployment, gateway: int = 0) -> dict[str, Any]:
    """routes.json as it is written, with secrets opened and addresses put in."""
    found: dict[str, Any] = seen(of, routes(of, of.gateways[gateway]))
    return found


def weights(of: Deployment, name: str, gateway: int = 0) -> dict[str, int]:
    return {entry["id"]: entry["weight"] for entry in told(of, gateway)["models"] if entry["name"] == name}


def test_an_engine_as_a_backend() -> None:
    of = deployment(many())
    backend = next(entry for entry in told(of)["models"] if entry["id"] == "embedder@cpu-1/embedder")
    port = of.of("embedder")[0].port
    assert backend == {
        "id": "embedder@cpu-1/embedder",
        "name": "embedder",
        "task": "embedding",
        "weight": 1,
        "litellm": {
            "model": "hosted_vllm/embedder",
            "api_base": f"http://10.0.0.21:{port}/v1",
            "api_key": OTHER_KEY,
        },
        "native": [
            "chat", "completions", "embeddings", "messages", "rerank", "responses", "tokenize", "transcriptions",
        ],
        "url": f"http://10.0.0.21:{port}/v1",
        "private": True,
        "context_window": 4096,
        "max_output_tokens": 1024,
    }  # fmt: skip


def test_a_provider_as_a_backend() -> None:
    found = {entry["id"]: entry for entry in told(deployment(many()))["models"]}
    assert found["gpt-5@openai/gpt-5"] == {
        "id": "gpt-5@openai/gpt-5",
        "name": "gpt-5",
        "task": "chat",
        "weight": 1,
        "litellm": {"model": "openai/gpt-5", "api_key": "sk-openai-canary"},
        "native": [],
        "url": None,
        "private": False,
        "context_window": 128000,
        "max_output_tokens": 16384,
    }
    assert found["desktop@lm-studio/desktop"]["litellm"] == {
        "model": "openai/qwen3-8b",
        "api_base": "http://10.9.9.9:1234/v1",
        "api_key": "none",
        "use_chat_completions_api": True,
    }


def test_an_engine_without_a_key_is_called_with_none() -> None:
    (entry,) = told(deployment(good()))["models"]
    assert entry["litellm"]["api_key"] == "none"
    assert entry["litellm"]["api_base"].startswith(f"http://{LOOPBACK}:")
    assert {entry["litellm"]["api_key"] for entry in told(deployment(pair()))["models"]} == {OTHER_KEY}


def test_secrets_stay_secrets_until_the_edge() -> None:
    of = deployment(many())
    found = {entry["id"]: entry["litellm"]["api_key"] for entry in routes(of, of.gateways[0])["models"]}
    assert isinstance(found["gpt-5@openai/gpt-5"], Secret)
    assert isinstance(found["embedder@cpu-1/embedder"], Secret)
    launch = adapter("litellm").launch(of, of.gateways[0])
    shown = repr(launch)
    for secret in (GOOD_KEY, OTHER_KEY, THIRD_KEY, "sk-openai-canary"):
        assert secret not in shown


def test_replicas_share_out_a_names_requests() -> None:
    of = deployment(many())
    assert weights(of, "llama-3.3-70b") == {
        "llama-3.3-70b@gpu-1/llama-3-3-70b": 1,
        "llama-3.3-70b@gpu-2/llama-3-3-70b": 1,
        "llama-3.3-70b@gpu-1/llama-3-3-70b-2": 1,
    }
    # 9 to 1 over three replicas and one provider.
    assert weights(of, "chat") == {
        "chat@gpu-1/llama-3-3-70b": 9,
        "chat@gpu-2/llama-3-3-70b": 9,
        "chat@gpu-1/llama-3-3-70b-2": 9,
        "chat@lm-studio/desktop": 3,
    }


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "gpt"]), st.integers(1, 99), min_size=1), st.data())
def test_weights_keep_their_proportion_over_any_replicas(parts: dict[str, int], data: st.DataObject) -> None:
    replicas = {name: data.draw(st.integers(1, 9)) for name in "abc"}
    of = deployment(
        with_changes(
            good(),
            ("providers.openai", {"key": "k"}),
            ("models.gpt", {"provider": "openai"}),
            *((f"models.{name}", {**FOLDER, "replicas": count}) for name, count in replicas.items()),
            ("models.mix", {"targets": parts}),
        )
    )
    found = weights(of, "mix")
    assert all(isinstance(weight, int) and weight > 0 for weight in found.values())
    sums = dict.fromkeys(parts, 0)
    for backend, weight in found.items():
        sums[backend.rpartition("/")[2].partition("-")[0]] += weight
    for name, share in parts.items():
        assert sums[name] * sum(parts.values()) == share * sum(found.values())


def test_ids_are_unique() -> None:
    ids = [entry["id"] for entry in told(deployment(many()))["models"]]
    assert len(ids) == len(set(ids)) == 12


def test_names_beside_those_of_backends() -> None:
    found = told(deployment(many()))
    assert found["aliases"] == {"llama": "llama-3.3-70b", "default": "llama-3.3-70b", "desk": "desktop"}
    assert found["fallbacks"] == {"llama-3.3-70b": ["gpt-5"], "desktop": ["qwen-1.5b"]}
    assert found["timeout_s"] == 450


def test_fall_backs_keep_their_order() -> None:
    order = ["c", "a", "b"]
    models = {name: {**FOLDER, "gpus": 0} for name in "abc"} | {"m": {**FOLDER, "gpus": 0, "fallbacks": order}}
    assert told(deployment(changed(good(), "models", models)))["fallbacks"] == {"m": order}


# What never leaves.

PRIVATE_ONLY = {
    "a second gateway beside the one for all": (many(), 1),
    "all teams are private": (
        with_changes(many(), ("gateway.teams.assistant", REMOVED)),
        0,
    ),
    "no providers": (pair(), 0),
}


@pytest.mark.parametrize("case", PRIVATE_ONLY)
def test_a_private_gateway_holds_nothing_of_any_provider(case: str) -> None:
    document, which = PRIVATE_ONLY[case]
    of = deployment(document)
    gateway = of.gateways[which]
    assert gateway.private_only
    service = roles(of)[f"{gateway.machine.name}/{gateway.name}"]
    text = json.dumps(service)
    for canary in (
        "sk-openai-canary",
        "10.9.9.9",
        "lm-studio",
        "gpt-5",
        "qwen3-8b",
        "openai/",
        '"private": false, "cont',
    ):
        assert canary not in text.replace("openai_compatible", "")
    content = service["service_files"]["routes.json"]["content"]
    assert content["models"]
    names = {entry["name"] for entry in content["models"]}
    assert all(entry["url"] and entry["private"] for entry in content["models"])
    # As the gateway checks it: every name that is spoken of is one that it has.
    assert set(content["aliases"].values()) <= names
    assert content["fallbacks"].keys() <= names
    assert all(set(others) <= names for others in content["fallbacks"].values())
    pairs = [(pair["address"], port) for pair in service["service_egress"] for port in pair["ports"]]
    assert sorted(pairs) == sorted((seen(of, each.address), each.port) for each in of.instances)
    assert len({pair["address"] for pair in service["service_egress"]}) == len(service["service_egress"])
    assert service["service_ingress"] == []


def test_engines_beside_a_private_gateway_are_open_by_their_ports_alone() -> None:
    """So what else listens on the loopback there is not: the gateway for all, which has providers."""
    of = deployment(with_changes(many(), ("gateway.pool", "gpu"), ("front.pool", "gpu")))
    first, private_one = of.gateways
    assert {each.address for each in of.gateways} == {LOOPBACK}
    open_ = {pair["address"]: pair["ports"] for pair in roles(of)["gpu-1/litellm-private"]["service_egress"]}
    assert open_[LOOPBACK] == sorted(each.port for each in of.instances if each.machine.name == "gpu-1")
    assert len(open_[LOOPBACK]) == 2
    assert not {first.port, private_one.port, of.front.port, 53} & set(open_[LOOPBACK])
    assert open_.keys() == {LOOPBACK, "10.0.0.12", "10.0.0.21"}


@pytest.mark.parametrize(
    ("changes", "callers"),
    [
        ([], []),
        # The front's machine calls, and the gateway's own probes it where it listens.
        ([("front.pool", "cpu")], ["10.0.0.21", "10.0.0.31"]),
        ([("front.pool", "gpu")], ["10.0.0.11", "10.0.0.31"]),
        # From which address such a front calls isn't known, so the unit can't tell it from others.
        (
            [
                ("pools.front", {"hosts": {"front-1": {"address": "front.example.com", "user": "u"}}}),
                ("front.pool", "front"),
            ],
            None,
        ),
    ],
)
def test_who_may_call_a_private_gateway(changes: list[tuple[str, Any]], callers: list[str] | None) -> None:
    found = roles(deployment(with_changes(many(), *changes)))
    assert found["edge-1/litellm-private"].get("service_ingress") == callers
    assert "service_ingress" not in found["edge-1/litellm"]


def test_a_name_that_is_shared_out_keeps_what_is_served_here() -> None:
    of = deployment(many())
    assert weights(of, "chat", 1) == {
        "chat@gpu-1/llama-3-3-70b": 9,
        "chat@gpu-2/llama-3-3-70b": 9,
        "chat@gpu-1/llama-3-3-70b-2": 9,
    }
    assert weights(of, "gpt-5", 1) == {}


@pytest.mark.parametrize(
    ("document", "names", "private_only"),
    [
        (good(), ["litellm"], [True]),
        (changed(good(), "gateway.teams.a.private", True), ["litellm"], [True]),
        (changed(many(), "gateway.teams.legal.private", False), ["litellm"], [False]),
        (many(), ["litellm", "litellm-private"], [False, True]),
        (with_changes(many(), ("gateway.teams.assistant", REMOVED)), ["litellm"], [True]),
    ],
)
def test_which_gateways_there_are(document: dict[str, Any], names: list[str], private_only: list[bool]) -> None:
    of = deployment(document)
    assert [each.name for each in of.gateways] == names
    assert [each.private_only for each in of.gateways] == private_only
    limited = {key for key, variables in roles(of).items() if "service_egress" in variables}
    assert limited == {f"{each.machine.name}/{each.name}" for each in of.gateways if each.private_only}
    front = next(variables for key, variables in roles(of).items() if key.endswith("/nginx"))
    peers = front["nginx_routes"]["through"]
    assert [each["port"] for each in peers["open"]] == [of.gateways[0].port]
    # A private team has one that knows no provider, or there is none that it may be sent to.
    there = [each.port for each in of.gateways if each.private_only]
    assert [each["port"] for each in peers["private"] or ()] == there


# As the gateway itself reads both files.


def test_the_gateway_takes_the_files_of_every_stack(root: Path) -> None:
    read_routes, read_teams = part("routes").parse, part("teams").parse
    for name, of in ready(root).items():
        for gateway in of.gateways:
            service = roles(of)[f"{gateway.machine.name}/{gateway.name}"]
            files = {file: json.dumps(each["content"]) for file, each in service["service_files"].items()}
            found = read_routes(files["routes.json"])
            served = set(of.served) | {route.name for route in of.routes.values() if of.served.keys() & route.targets}
            assert found.models.keys() == (served if gateway.private_only else of.routes.keys()), name
            teams = read_teams(files["teams.json"])
            own = [ACCEPTANCE, PRIVATE_ACCEPTANCE] if of.settings.has_private_gateway else [ACCEPTANCE]
            assert [team.name for team in teams] == [*of.settings.gateway.teams, *own]


@pytest.mark.parametrize("which", [0, 1])
def test_what_a_private_team_is_answered_by(which: int) -> None:
    """Whatever it asks, and whatever fails: the backends that the gateway takes for it are all served here."""
    of = deployment(many())
    found = part("routes").parse(json.dumps(told(of, which)))
    for name in found.models:
        backends = [each for asked in found.chain(name) for each in found.models[asked]]
        private = [each for each in backends if each.private]
        assert all(each.url and each.url.startswith("http://10.0.0.") for each in private)
        if which:
            assert private == backends
    # What is served here answers private teams, also where the model itself is not private.
    assert all(each.private for name in of.served for each in found.models[name])


def test_a_private_models_chain_never_reaches_a_provider() -> None:
    of = deployment(many())
    found = part("routes").parse(json.dumps(told(of)))
    for name, route in of.routes.items():
        if route.private:
            assert all(each.private for asked in found.chain(name) for each in found.models[asked])


# Teams.


def told_teams(of: Deployment) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in teams(of)["teams"]}


def opens(entry: dict[str, Any], key: str) -> bool:
    return any(key_hash(one["salt"], key) == one["hash"] for one in entry["keys"])


NO_LIMIT = {
    "filtered": False,
    "log_content": False,
    **dict.fromkeys(("requests_per_minute", "tokens_per_minute", "parallel_requests", "not_after")),
    **dict.fromkeys(("tokens_per_month", "money_per_month")),
}


def test_teams_are_known_by_hashes_of_their_keys() -> None:
    of = deployment(many())
    assistant, legal, *own = teams(of)["teams"]
    assert {**assistant, "keys": None} == {
        "name": "assistant",
        "models": None,
        **NO_LIMIT,
        "requests_per_minute": 3000,
        "tokens_per_minute": 90000,
        "private": False,
        "keys": None,
    }
    assert {**legal, "keys": None} == {
        "name": "legal",
        "models": ["llama-3.3-70b", "llama", "default", "embedder"],
        **NO_LIMIT,
        "private": True,
        "keys": None,
    }
    assert opens(assistant, GOOD_KEY)
    assert opens(legal, THIRD_KEY)
    assert not opens(legal, GOOD_KEY)
    # Two teams' salts differ, and the same stack has the same ones.
    assert assistant["keys"][0]["salt"] != legal["keys"][0]["salt"]
    assert teams(deployment(many())) == teams(of)
    assert [team["name"] for team in own] == [ACCEPTANCE, PRIVATE_ACCEPTANCE]
    for gateway in ("litellm", "litellm-private"):
        assert roles(of)[f"edge-1/{gateway}"]["service_files"]["teams.json"]["content"] == teams(of)
    assert roles(of)["edge-1/nginx"]["nginx_teams"] == teams(of)


def test_further_keys_and_ends_of_a_team() -> None:
    further = {"id": "abcd1234", "salt": "0" * 32, "hash": "a" * 64, "not_after": "2027-01-01T00:00:00Z"}
    of = deployment(
        with_changes(
            many(),
            ("gateway.teams.legal.keys", [further]),
            ("gateway.teams.legal.expires", "2027-02-01T00:00:00+01:00"),
            ("gateway.teams.legal.parallel_requests", 4),
            ("gateway.teams.legal.tokens_per_month", 9),
        )
    )
    legal = told_teams(of)["legal"]
    assert legal["keys"][1] == {**further, "not_after": 1798761600}
    assert (legal["not_after"], legal["parallel_requests"], legal["tokens_per_month"]) == (1801436400, 4, 9)
    assert opens(legal, THIRD_KEY)


def test_acceptance_has_a_key_of_its_own_and_a_limit() -> None:
    of = deployment(many())
    told = roles(of)["edge-1/acceptance"]
    key, private_key = told["acceptance_key"], told["acceptance_private_key"]
    own, private_own = told_teams(of)[ACCEPTANCE], told_teams(of)[PRIVATE_ACCEPTANCE]
    assert {**own, "keys": None} == {
        "name": ACCEPTANCE,
        "models": [model["name"] for model in roles(of)["edge-1/acceptance"]["acceptance_models"]],
        **NO_LIMIT,
        "requests_per_minute": 24,
        "private": False,
        "keys": None,
    }
    assert {**private_own, "keys": None} == {
        **own,
        "name": PRIVATE_ACCEPTANCE,
        "requests_per_minute": 12,
        "private": True,
        "keys": None,
    }
    assert opens(own, key)
    assert opens(private_own, private_key)
    assert private_key != key
    assert key not in {GOOD_KEY, OTHER_KEY, THIRD_KEY}
    assert GOOD_KEY not in key
    assert len(key) == 64
    assert set(own["models"]) < set(of.routes)
    for secret in ("gateway.teams.assistant.key", "gateway.teams.legal.key", "gateway.engine_key"):
        # Whoever lacks one of them can't make it.
        other = deployment(changed(many(), secret, "f0e1d2c3b4a5968778695a4b3c2d1e0f"))
        assert other.acceptance[0].key.get_secret_value() != key
    assert deployment(many()).acceptance[0].key.get_secret_value() == key


def requests_of_a_run(of: Deployment, key: str) -> int:
    """Of role acceptance through the front with a key: what its module asks of each model, each time that the role calls it."""
    tasks = yaml.safe_load((PLAYBOOKS / "roles/acceptance/tasks/model.yml").read_text())
    asks = [task["model_answer"] for task in tasks if "model_answer" in task]
    through = [ask for ask in asks if re.search(rf"\b{key}\b", ask["key"])]
    assert len(through) == 1
    assert len(asks) == 3
    return sum(int(ask.get("asks", model_answer.ASKS)) for ask in through) * len(of.served)


def test_acceptance_has_room_for_two_runs_in_a_row_each_tried_again(root: Path) -> None:
    """Through each front, and nobody who makes its key has more."""
    for of in ready(root).values():
        for own in of.acceptance:
            of_a_run = requests_of_a_run(of, "acceptance_private_key" if own.private else "acceptance_key")
            assert told_teams(of)[own.name]["requests_per_minute"] == 2 * 2 * of_a_run * len(of.front.machines)


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (None, ["llama-3.3-70b", "qwen-1.5b", "embedder", "gpt-5", "desktop", "chat"]),
        (["embedder", "llama-3.3-70b"], ["llama-3.3-70b", "embedder"]),
        (["desk"], ["desktop"]),
        (["default", "llama"], ["llama-3.3-70b"]),
    ],
)
def test_what_a_team_may_ask(models: list[str] | None, names: list[str]) -> None:
    of = deployment(changed(many(), "gateway.teams.assistant.models", models))
    assert [route.name for route in asked_by(of.settings.gateway.teams["assistant"], of.routes)] == names


# Providers, as LiteLLM knows them.

PROVIDERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "openai": ({"key": "k", "organization": "org"}, {"model": "openai/x", "api_key": "k", "organization": "org"}),
    "openai_compatible": (
        {"url": "http://10.9.9.9:1234/v1/", "key": "k"},
        {
            "model": "openai/x",
            "api_base": "http://10.9.9.9:1234/v1",
            "api_key": "k",
            "use_chat_completions_api": True,
        },
    ),
    "anthropic": ({"key": "k"}, {"model": "anthropic/x", "api_key": "k"}),
    "azure_openai": (
        {"url": "https://n.openai.azure.com", "api_version": "2025-04-01-preview", "key": "k"},
        {
            "model": "azure/x",
            "api_base": "https://n.openai.azure.com",
            "api_key": "k",
            "api_version": "2025-04-01-preview",
        },
    ),
    "bedrock": (
        {"region": "eu-central-1", "access_key_id": "AK", "key": "k"},
        {
            "model": "bedrock/x",
            "aws_region_name": "eu-central-1",
            "aws_access_key_id": "AK",
            "aws_secret_access_key": "k",
        },
    ),
    "vertex": (
        {"project": "p", "location": "global", "key": "{}"},
        {"model": "vertex_ai/x", "vertex_project": "p", "vertex_location": "global", "vertex_credentials": "{}"},
    ),
}


@pytest.mark.parametrize("kind", PROVIDERS)
def test_every_kind_of_provider_becomes_litellms_parameters(kind: str) -> None:
    section, parameters = PROVIDERS[kind]
    of = deployment(
        with_changes(
            good(),
            ("providers.p", {"kind": kind, **section}),
            ("models.y", {"provider": "p", "model": "x"}),
        )
    )
    (backend,) = [entry for entry in told(of)["models"] if entry["name"] == "y"]
    assert backend["litellm"] == parameters
    assert isinstance(
        next(
            entry["litellm"][KINDS[kind].key_parameter]
            for entry in routes(of, of.gateways[0])["models"]
            if entry["name"] == "y"
        ),
        Secret,
    )


def test_the_kinds_of_the_settings_are_those_of_the_gateway() -> None:
    assert set(SETTINGS_KINDS) == set(KINDS) == set(PROVIDERS)


def test_bedrock_by_the_machines_own_role() -> None:
    """Options that are not given are not handed on as null."""
    section = {"kind": "bedrock", "region": "eu-central-1"}
    of = deployment(with_changes(good(), ("providers.p", section), ("models.y", {"provider": "p"})))
    (backend,) = [entry for entry in told(of)["models"] if entry["name"] == "y"]
    assert backend["litellm"] == {"model": "bedrock/y", "aws_region_name": "eu-central-1"}


def test_the_configuration_names_no_model_and_no_secret() -> None:
    of = deployment(many())
    launch = adapter("litellm").launch(of, of.gateways[0])
    static = yaml.safe_load(launch.files["config.yaml"].content)
    assert static["litellm_settings"]["request_timeout"] == 450
    assert "model_list" not in static
    assert launch.files["routes.json"].reload
    assert launch.files["routes.json"].secret
    assert launch.files["teams.json"].reload
    assert {name for name, file in launch.files.items() if file.reload} == {"routes.json", "teams.json", "filters.json"}


def test_models_and_teams_change_what_is_read_again_and_nothing_else() -> None:
    """So that the gateway is not restarted for them."""
    before = roles(deployment(good()))["gpu-1/litellm"]
    for document in (
        changed(good(), "models.other", FOLDER),
        changed(good(), "gateway.teams.b", {"key": THIRD_KEY}),
        with_changes(good(), ("models.m.aliases", ["x"]), ("models.m.max_output_tokens", 5)),
    ):
        after = roles(deployment(document))["gpu-1/litellm"]
        assert after != before
        for variables in (before, after):
            for name in ("routes.json", "teams.json"):
                variables["service_files"][name]["content"] = None
            # Taken up while it runs too; other addresses would be another unit.
            (pair,) = variables["service_egress"]
            pair["ports"] = None
        assert after == before
        before = roles(deployment(good()))["gpu-1/litellm"]


def test_where_each_gateway_listens() -> None:
    of = deployment(with_changes(many(), ("front.pool", "cpu")))
    assert {each.address for each in of.gateways} == {private("edge-1")}
    front = roles(of)["cpu-1/nginx"]
    found = front["nginx_routes"]["through"]
    assert {kind: [(each["address"], each["port"]) for each in peers] for kind, peers in found.items()} == {
        "open": [("10.0.0.31", 4000)],
        "private": [("10.0.0.31", 4001)],
    }
    # Who has a team's key alone is not let in past the front's limits.
    (key,) = {each["key"] for peers in found.values() for each in peers}
    for name in ("litellm", "litellm-private"):
        assert roles(of)[f"edge-1/{name}"]["service_secrets"]["SLIPWAY_FRONT_KEY"] == key

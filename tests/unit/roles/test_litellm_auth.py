"""Where LiteLLM meets the gateway's door, with stand-ins for what it takes from LiteLLM, which is not installed here."""

import asyncio
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from slipway.deployment.teams import key_hash
from tests.integration.gateway import deployment
from tests.unit.roles.gateway_part import FILES, part


@dataclass
class ProxyException(Exception):  # noqa: N818 -- its name in LiteLLM
    message: str
    type: str
    param: str | None
    code: int
    openai_code: str


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The file as LiteLLM loads it: in its event loop, without registering it as a module."""
    names = (
        *("aiohttp", "fastapi", "litellm", "litellm.integrations", "litellm.integrations.custom_logger"),
        *("litellm.proxy", "litellm.proxy.proxy_server", "litellm.proxy._types"),
    )
    modules = {name: ModuleType(name) for name in names}
    vars(modules["aiohttp"]).update(ClientSession=None, ClientResponse=None)
    vars(modules["litellm"]).update(callbacks=[])
    vars(modules["litellm.integrations.custom_logger"]).update(CustomLogger=object)
    vars(modules["fastapi"]).update(Request=SimpleNamespace)
    vars(modules["litellm.proxy.proxy_server"]).update(
        app=SimpleNamespace(middleware_stack="LiteLLM's"), llm_router=None
    )
    vars(modules["litellm.proxy"]).update(proxy_server=modules["litellm.proxy.proxy_server"])
    vars(modules["litellm.proxy._types"]).update(
        UserAPIKeyAuth=SimpleNamespace,
        LitellmUserRoles=SimpleNamespace(INTERNAL_USER="internal_user"),
        ProxyException=ProxyException,
    )
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("SLIPWAY_FOLDER", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(FILES), *sys.path])
    for name in ("losses", "native"):
        monkeypatch.delitem(sys.modules, f"slipway_gateway.{name}", raising=False)
    specification = importlib.util.spec_from_file_location("custom_auth", FILES.parent / "custom_auth.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)

    async def load() -> None:
        specification.loader.exec_module(module)  # type: ignore[union-attr]
        module._watching.cancel()

    asyncio.run(load())
    for name in ("losses", "native"):
        monkeypatch.delitem(sys.modules, f"slipway_gateway.{name}")
    return module


def call(auth: ModuleType, scope: dict[str, Any], key: str = "") -> Any:
    return asyncio.run(auth.user_api_key_auth(SimpleNamespace(scope=scope), key))


def test_the_door_stands_around_litellm(auth: ModuleType) -> None:
    stack = sys.modules["litellm.proxy.proxy_server"].app.middleware_stack
    assert type(stack).__name__ == "Door"


def test_who_came_through_the_door_is_known_and_administers_nothing(auth: ModuleType) -> None:
    found = call(auth, {"slipway.team": part("teams").Team(name="research")})
    assert (found.api_key, found.team_id, found.user_role) == ("research", "research", "internal_user")
    # Limits are counted once, and not here.
    assert not {"rpm_limit", "tpm_limit"} & set(vars(found))


@pytest.mark.parametrize("scope", [{}, {"slipway.team": "research"}, {"slipway.team": None}])
def test_anything_else_is_refused(auth: ModuleType, scope: dict[str, Any]) -> None:
    with pytest.raises(ProxyException) as refused:
        call(auth, scope, "sk-any")
    assert refused.value.code == 401


# A gateway that fronts on other machines ask


FRONT_KEY = "f" * 64


@pytest.fixture
def for_fronts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One model, and two teams of which `research` may use it; their keys are `key-NAME`."""
    monkeypatch.setenv("SLIPWAY_FRONT_KEY", FRONT_KEY)
    salt = "5a" * 16
    teams = [
        {"name": name, "models": models, "keys": [{"id": None, "salt": salt, "hash": key_hash(salt, f"key-{name}")}]}
        for name, models in (("research", ["tiny"]), ("sales", []))
    ]
    teams.append({**teams[0], "name": "ended", "not_after": 1})
    (tmp_path / "teams.json").write_text(json.dumps({"teams": teams}))
    here = deployment("tiny", "http://127.0.0.1:9/v1", native=["chat"])
    (tmp_path / "routes.json").write_text(
        json.dumps({"models": [here], "aliases": {}, "fallbacks": {}, "timeout_s": 20})
    )
    request.getfixturevalue("auth")


@pytest.mark.usefixtures("for_fronts")
@pytest.mark.parametrize(
    ("key", "team", "status", "models"),
    [
        (FRONT_KEY, "research", 200, ["tiny"]),
        (FRONT_KEY, "sales", 200, []),
        (FRONT_KEY, "nobody", 401, []),
        (FRONT_KEY, "ended", 401, []),
        (FRONT_KEY, None, 401, []),
        # Past the front's limits.
        ("key-research", "research", 401, []),
        ("key-research", None, 401, []),
        ("", "research", 401, []),
        (FRONT_KEY[1:], "research", 401, []),
        (FRONT_KEY + "\xff", "research", 401, []),
    ],
)
def test_who_does_not_show_the_fronts_key_gets_nothing(
    key: str, team: str | None, status: int, models: list[str]
) -> None:
    headers = [(b"authorization", f"Bearer {key}".encode("latin-1"))]
    headers += [] if team is None else [(b"x-slipway-team", team.encode())]
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    door = sys.modules["litellm.proxy.proxy_server"].app.middleware_stack
    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": headers, "query_string": b""}
    asyncio.run(door(scope, None, send))
    body = json.loads(b"".join(message.get("body", b"") for message in sent))
    assert (sent[0]["status"], [entry["id"] for entry in body.get("data", ())]) == (status, models)

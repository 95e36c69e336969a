"""The gateway's key check, with stand-ins for the three types it takes from LiteLLM, which is not installed here."""

import asyncio
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.loading import load

RESEARCH, SLOW = "sk-research-0123456789", "sk-slow-0123456789"


@dataclass
class ProxyException(Exception):  # noqa: N818 -- its name in LiteLLM
    message: str
    type: str
    param: str | None
    code: int
    openai_code: str


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    fastapi, types, failover = (ModuleType(name) for name in ("fastapi", "litellm.proxy._types", "failover"))
    vars(failover).update(carry_on=lambda: None)
    vars(fastapi).update(Request=SimpleNamespace)
    vars(types).update(
        UserAPIKeyAuth=SimpleNamespace,
        LitellmUserRoles=SimpleNamespace(INTERNAL_USER="internal_user"),
        ProxyException=ProxyException,
    )
    for name, module in {
        "fastapi": fastapi,
        "failover": failover,
        "litellm": ModuleType("litellm"),
        "litellm.proxy": ModuleType("litellm.proxy"),
        "litellm.proxy._types": types,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("SLIPWAY_KEYS", str(tmp_path / "keys.json"))
    write(tmp_path / "keys.json", {"research": RESEARCH, "slow": SLOW})
    return load("roles/litellm/files/custom_auth.py")


def write(path: Path, keys: dict[str, str]) -> None:
    """As the role does: the new file takes the old one's place at once."""
    entries: list[dict[str, Any]] = [
        {"team": team, "sha256": hashlib.sha256(key.encode()).hexdigest(), "requests_per_minute": None}
        for team, key in keys.items()
    ]
    entries[-1]["requests_per_minute"] = 3
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(entries))
    temporary.replace(path)


def call(auth: ModuleType, key: str, path: str = "/v1/chat/completions") -> Any:
    request = SimpleNamespace(url=SimpleNamespace(path=path))
    return asyncio.run(auth.user_api_key_auth(request, key))


def test_a_key_says_whose_it_is_and_what_its_limits_are(auth: ModuleType) -> None:
    found = call(auth, SLOW)
    assert (found.api_key, found.team_id, found.rpm_limit, found.tpm_limit) == ("slow", "slow", 3, None)
    assert call(auth, f"Bearer {RESEARCH}").rpm_limit is None


def test_a_caller_administers_nothing(auth: ModuleType) -> None:
    assert call(auth, RESEARCH).user_role == "internal_user"


@pytest.mark.parametrize("key", ["", "wrong", RESEARCH[:-1], RESEARCH + "x", RESEARCH.upper(), "Bearer ", "\u00fc"])
def test_any_other_key_is_refused_in_the_form_of_openai(auth: ModuleType, key: str) -> None:
    with pytest.raises(ProxyException) as refused:
        call(auth, key)
    assert refused.value.code == 401
    assert refused.value.type == "invalid_request_error"
    assert len(key) < 10 or key not in refused.value.message


def test_a_digest_from_the_file_is_no_key(auth: ModuleType) -> None:
    with pytest.raises(ProxyException):
        call(auth, hashlib.sha256(RESEARCH.encode()).hexdigest())


@pytest.mark.parametrize(
    "path",
    ["/key/generate", "/v1/model/info", "/model/info", "/", "/v1", "/health", "/v1/modelsx/a", "/v1/keys/models"],
)
def test_a_good_key_opens_nothing_but_the_api(auth: ModuleType, path: str) -> None:
    with pytest.raises(ProxyException) as refused:
        call(auth, RESEARCH, path)
    assert refused.value.code == 404


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/models", "/v1/models/tiny"])
def test_a_good_key_opens_the_api(auth: ModuleType, path: str) -> None:
    assert call(auth, RESEARCH, path).team_id == "research"


def test_changed_keys_hold_at_once_without_a_restart(auth: ModuleType, tmp_path: Path) -> None:
    call(auth, SLOW)
    write(tmp_path / "keys.json", {"research": RESEARCH, "fresh": "sk-fresh-0123456789"})
    assert call(auth, "sk-fresh-0123456789").team_id == "fresh"
    with pytest.raises(ProxyException):
        call(auth, SLOW)


def test_an_unchanged_file_is_not_read_again(auth: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(auth, RESEARCH)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("read again"))
    call(auth, RESEARCH)


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"team": "x"}]', '{"a": 1}', "null"])
def test_a_damaged_file_neither_locks_out_nor_lets_in(auth: ModuleType, tmp_path: Path, content: str) -> None:
    call(auth, RESEARCH)
    (tmp_path / "keys.json").write_text(content)
    assert call(auth, RESEARCH).team_id == "research"
    with pytest.raises(ProxyException):
        call(auth, "x")
    write(tmp_path / "keys.json", {"fresh": "sk-fresh-0123456789"})
    assert call(auth, "sk-fresh-0123456789").team_id == "fresh"


def test_a_missing_file_lets_nobody_in(auth: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "keys.json").unlink()
    with pytest.raises(ProxyException):
        call(auth, RESEARCH)


def test_every_digest_is_compared_and_in_constant_time(auth: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(auth.hmac, "compare_digest", lambda a, b: compared.append(a) or a == b)
    assert call(auth, RESEARCH).team_id == "research"
    assert len(compared) == 2


def test_it_loads_as_litellm_loads_it(auth: ModuleType, tmp_path: Path) -> None:
    """LiteLLM executes the file without registering it as a module, which dataclasses cannot stand."""
    import importlib.util

    specification = importlib.util.spec_from_file_location("custom_auth", auth.__file__)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert call(module, RESEARCH).team_id == "research"
    assert os.environ["SLIPWAY_KEYS"] == str(tmp_path / "keys.json")

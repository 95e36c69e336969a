"""What the gateway takes from teams.json and routes.json, and what it leaves."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.gateway_part import part

teams, routes, watched = part("teams"), part("routes"), part("watched")

KEY = {"id": None, "salt": "5a" * 32, "hash": "a" * 64, "not_after": None}
TEAM = {"name": "research", "keys": [KEY]}
MODEL = {
    "name": "tiny",
    "id": "tiny-1",
    "litellm": {"model": "hosted_vllm/org/tiny", "api_key": "sk-secret"},
    "task": "chat",
    "private": True,
    "url": "http://192.0.2.1:8000/v1",
    "native": ["chat"],
}


def keys_file(**more: Any) -> str:
    return json.dumps({"teams": [TEAM | more]})


def hashed(key: str, **more: Any) -> Any:
    salt = b"salt"
    return teams.Key(salt=salt, digest=hmac.new(salt, key.encode(), hashlib.sha256).hexdigest(), **more)


def routes_file(model: dict[str, Any] | None = None, **more: Any) -> str:
    return json.dumps({"models": [MODEL | (model or {})], **more})


def test_a_team_has_what_its_entry_says() -> None:
    (team,) = teams.parse(keys_file(models=["tiny"], private=True, requests_per_minute=3))
    assert (team.name, team.private) == ("research", True)
    assert team.may_use("tiny")
    assert team.may_use("alias", "tiny")
    assert not team.may_use("other")


def test_a_team_without_a_list_may_use_all_and_with_an_empty_one_nothing() -> None:
    (every,) = teams.parse(keys_file(models=None))
    (none,) = teams.parse(keys_file(models=[]))
    assert every.may_use("anything")
    assert not none.may_use("anything")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "{}", "[1]", "[null]", '["research"]'),
        json.dumps([TEAM]),
        json.dumps({"teams": [{"keys": [KEY]}]}),
        json.dumps({"teams": [1]}),
        keys_file(keys=None),
        keys_file(keys=[1]),
        keys_file(keys=[KEY | {"hash": "a"}]),
        keys_file(keys=[KEY | {"hash": None}]),
        keys_file(keys=[KEY | {"salt": "aaaaa"}]),
        keys_file(keys=[KEY | {"id": 1}]),
        keys_file(keys=[KEY | {"not_after": "aaaa"}]),
        keys_file(not_after=True),
        keys_file(models="tiny"),
        keys_file(models=[1]),
        keys_file(private="yes"),
        keys_file(private=None),
    ],
)
def test_other_keys_files_are_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refused:
        teams.parse(text)
    assert "aaaa" not in str(refused.value)


def test_a_key_is_found_by_its_digest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    known = tuple(
        teams.Team(name=name, keys=(hashed(key),))
        for name, key in {"research": "sk-research", "slow": "sk-slow"}.items()
    )
    assert teams.find(known, "sk-slow").name == "slow"
    for wrong in ("", "sk-slo", "SK-SLOW", "sk-slow ", known[1].keys[0].digest, "\udcfc"):
        assert teams.find(known, wrong) is None
    compared: list[str] = []
    monkeypatch.setattr(teams.hmac, "compare_digest", lambda a, b: compared.append(a) or a == b)
    assert teams.find(known, "sk-research").name == "research"
    # The two, and the one that stands for an id which is not there.
    assert len(compared) == 3


CREATED = "sk-abcd1234-" + "x" * 32


def test_a_created_key_is_found_by_its_id_with_as_much_work_as_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = (
        teams.Team(name="own", keys=(hashed("sk-own"),)),
        teams.Team(
            name="made", keys=(hashed("sk-other123-" + "y" * 32, id="other123"), hashed(CREATED, id="abcd1234"))
        ),
    )
    work: list[bytes] = []
    real = hmac.new
    monkeypatch.setattr(teams.hmac, "new", lambda *given: work.append(given[0]) or real(*given))
    done = []
    for key, team in ((CREATED, "made"), ("sk-own", "own"), ("sk-abcd1234-" + "z" * 32, None), ("wrong", None)):
        found = teams.find(known, key)
        assert (found and found.name) == team
        done.append(len(work))
        work.clear()
    assert done == [2, 2, 2, 2]


@pytest.mark.parametrize("where", ["key", "team"])
def test_what_has_ended_opens_nothing(where: str) -> None:
    key = hashed(CREATED, id="abcd1234", not_after=100 if where == "key" else None)
    known = (teams.Team(name="made", keys=(key,), not_after=100 if where == "team" else None),)
    assert teams.find(known, CREATED, now=99.9) is not None
    assert teams.find(known, CREATED, now=100.0) is None


def test_a_route_says_what_it_reaches() -> None:
    found = routes.parse(routes_file(aliases={"default": "tiny"}, fallbacks={}, timeout_s=30, cooldown_s=2))
    (deployment,) = found.deployments()
    assert deployment.model == "org/tiny"
    assert deployment.weight == 1
    assert deployment.passes("chat")
    assert not deployment.passes("messages")
    assert deployment.serves("messages")
    assert not deployment.serves("embeddings")
    assert (found.timeout_s, found.cooldown_s, dict(found.aliases)) == (30, 2, {"default": "tiny"})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Expecting value"),
        ("[]", "the file is no map"),
        ('{"models": {}}', "models is no list"),
        ('{"models": [1]}', "no list"),
        (routes_file({"name": ""}), "name of an entry of models"),
        (routes_file({"id": None}), "id of model tiny"),
        (routes_file({"litellm": "sk-secret"}), "litellm of model tiny is no map"),
        (routes_file({"litellm": {"model": "sk-secret"}}), "names no provider"),
        (routes_file({"task": "sk-secret"}), "task of model tiny is none of"),
        (routes_file({"native": ["sk-secret"]}), "native of model tiny"),
        (routes_file({"url": "http://192.0.2.1:8000"}), "does not end with /v1"),
        (routes_file({"private": None}), "private of model tiny"),
        (routes_file({"private": "true"}), "private of model tiny"),
        (routes_file({"weight": -1}), "weight of model tiny"),
        (routes_file({"weight": True}), "weight of model tiny"),
        (routes_file({"context_window": "4k"}), "context_window of model tiny"),
        (json.dumps({"models": [MODEL, MODEL]}), "two entries of models have the id tiny-1"),
        (routes_file(aliases={"a": "b"}), "alias a"),
        (routes_file(aliases={"tiny": "tiny"}), "alias tiny"),
        (routes_file(fallbacks={"tiny": ["other"]}), "other is no model"),
        (routes_file(fallbacks={"other": ["tiny"]}), "other is no model"),
        (routes_file(timeout_s=0), "timeout_s"),
        (routes_file(cooldown_s="1"), "cooldown_s"),
    ],
)
def test_other_routes_files_are_refused_and_not_quoted(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as refused:
        routes.parse(text)
    assert "sk-secret" not in str(refused.value)


def test_fall_backs_go_on_with_their_own_and_never_in_a_circle() -> None:
    found = routes.Routes(fallbacks={"a": ("b", "c"), "b": ("d", "a"), "d": ("b",)})
    assert found.chain("a") == ["a", "b", "c", "d"]
    assert found.chain("d") == ["d", "b", "a", "c"]
    assert found.chain("c") == ["c"]


def test_a_file_is_read_when_it_changes_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("1")
    found = watched.Watched(file, int, 0)
    assert (found.content, found.digest) == (0, None)
    assert found.refresh()
    assert (found.content, found.digest, found.refused) == (1, hashlib.sha256(b"1").hexdigest(), None)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read again"))
    assert not found.refresh()
    monkeypatch.undo()
    new = tmp_path / "new"
    new.write_text("2")
    new.replace(file)
    assert found.refresh()
    assert found.content == 2


@pytest.mark.parametrize("damage", ["x", "", None])
def test_a_damaged_file_changes_nothing(tmp_path: Path, damage: str | None) -> None:
    file = tmp_path / "file"
    file.write_text("1")
    found = watched.Watched(file, int, 0)
    found.refresh()
    if damage is None:
        file.unlink()
    else:
        file.write_text(damage)
    assert not found.refresh()
    assert (found.content, found.digest) == (1, hashlib.sha256(b"1").hexdigest())
    assert found.refused
    file.write_text("3")
    assert found.refresh()
    assert (found.content, found.refused) == (3, None)

"""The teams of teams.json: keys by their keyed hashes, and what a team may use.

The file is ``{"teams": [{"name", "models", "private", "not_after", "keys": [{"id", "salt", "hash", "not_after"}]}]}``, with more
that is not read here: how much a team may use is counted by the front, which every request passes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_CREATED = re.compile(r"sk-([a-z0-9]{8})-[A-Za-z0-9]{32,}")
_HEX = re.compile(r"([0-9a-f]{2})+")
_DUMMY = bytes(32)
"""The salt where no entry has a key's id, so that an unknown id takes as long as a known one."""


@dataclass(frozen=True)
class Key:
    """What is kept of a key.

    Attributes:
        salt: the key of the hash.
        digest: HMAC-SHA256 of the whole bearer key, in hex.
        id: the part of a created key by which it is found; None for a key that the site keeps itself.
        not_after: until when it is valid, in seconds since 1970; None is no end.
    """

    salt: bytes
    digest: str
    id: str | None = None
    not_after: int | None = None


@dataclass(frozen=True)
class Team:
    """Whose key it is.

    Attributes:
        name: the team; its limits are counted under this name, also where it has several keys.
        keys: any of them opens.
        models: names and aliases that it may ask for; None is all.
        not_after: the team's end, in seconds since 1970; None is none.
        private: its requests go to private backends only.
    """

    name: str
    keys: tuple[Key, ...] = ()
    models: frozenset[str] | None = None
    not_after: int | None = None
    private: bool = False

    def may_use(self, *names: str) -> bool:
        """Whether one of the names of a model is among what the team may use."""
        return self.models is None or not self.models.isdisjoint(names)


def named(teams: Iterable[Team], name: str | None) -> Team | None:
    """The team of this name; None too where it has ended."""
    return next((team for team in teams if team.name == name and _valid(team.not_after, time.time())), None)


def find(teams: Iterable[Team], key: str, now: float | None = None) -> Team | None:
    """The team that has this key; None too where the key or the team has ended by `now` (seconds since 1970).

    Every hash that comes into question is made and compared in constant time: how long it takes says nothing about any key.
    """
    now = time.time() if now is None else now
    teams = tuple(teams)
    message = key.encode("utf-8", "surrogateescape")
    form = _CREATED.fullmatch(key)
    by_id = () if form is None else tuple((team, each) for team in teams for each in team.keys if each.id == form[1])
    # One hash is made for the id, whether an entry has it or not.
    created = by_id[:1] or ((None, Key(_DUMMY, "")),)
    plain = tuple((team, each) for team in teams for each in team.keys if each.id is None)
    found = None
    # The plain ones are tried whatever the first says: a site's own key may look like a created one.
    for team, each in (*created, *plain):
        same = hmac.compare_digest(each.digest, hmac.new(each.salt, message, hashlib.sha256).hexdigest())
        if same and team is not None and _valid(each.not_after, now) and _valid(team.not_after, now):
            found = team
    return found


def _valid(not_after: int | None, now: float) -> bool:
    return not_after is None or now < not_after


def parse(text: str) -> tuple[Team, ...]:
    """The teams of a teams.json.

    Raises:
        ValueError: it is something else; the message quotes nothing of it but the position of an entry.
    """
    document = json.loads(text)
    entries = document.get("teams") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it has no list of teams")  # noqa: TRY004 -- what the file's reader expects
    return tuple(_team(entry, f"entry {number}") for number, entry in enumerate(entries, 1))


def _team(entry: Any, where: str) -> Team:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no map")  # noqa: TRY004
    name, keys, models = entry.get("name"), entry.get("keys"), entry.get("models")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where} has no name")
    if not isinstance(keys, list):
        raise ValueError(f"{where} has no list of keys")  # noqa: TRY004
    if models is not None and not (isinstance(models, list) and all(isinstance(model, str) for model in models)):
        raise ValueError(f"models of {where} is neither null nor a list of names")
    # Whether a team is private is never guessed.
    if not isinstance(entry.get("private", False), bool):
        raise ValueError(f"private of {where} is neither true nor false")  # noqa: TRY004
    return Team(
        name=name,
        keys=tuple(_key(key, f"key {number} of {where}") for number, key in enumerate(keys, 1)),
        models=None if models is None else frozenset(models),
        private=entry.get("private", False),
        not_after=_number(entry, "not_after", where),
    )


def _key(entry: Any, where: str) -> Key:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no map")  # noqa: TRY004
    id_, salt, digest = entry.get("id"), entry.get("salt"), entry.get("hash")
    if id_ is not None and not isinstance(id_, str):
        raise ValueError(f"{where} has no id of letters and digits")
    if not isinstance(salt, str) or not _HEX.fullmatch(salt):
        raise ValueError(f"{where} has no salt in hex")
    if not isinstance(digest, str) or len(digest) != 64 or not _HEX.fullmatch(digest):
        raise ValueError(f"{where} has no hash of 64 digits")
    return Key(salt=bytes.fromhex(salt), digest=digest, id=id_, not_after=_number(entry, "not_after", where))


def _number(entry: dict[str, Any], name: str, where: str) -> int | None:
    value = entry.get(name)
    if value is None or type(value) is int:
        return value
    raise ValueError(f"{name} of {where} is no whole number")

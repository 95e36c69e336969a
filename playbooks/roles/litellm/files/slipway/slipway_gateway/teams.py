"""The teams of teams.json: hashes of keys, and what a team may use. How much of it, the front counts."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Key:
    """One key, by HMAC-SHA256 of it with its salt.

    Attributes:
        salt: the HMAC's key.
        hash: what it makes of the key.
        not_after: when it ends, in seconds since 1970; None is never.
    """

    salt: bytes
    hash: bytes
    not_after: float | None = None


@dataclass(frozen=True)
class Team:
    """Whose key it is.

    Attributes:
        name: the team.
        keys: each of which opens it.
        models: names and aliases that it may ask for; None is all.
        private: its requests go to private backends only.
        not_after: when all its keys end, in seconds since 1970; None is never.
    """

    name: str
    keys: tuple[Key, ...] = ()
    models: frozenset[str] | None = None
    private: bool = False
    not_after: float | None = None

    def may_use(self, *names: str) -> bool:
        """Whether one of the names of a model is among what the team may use."""
        return self.models is None or not self.models.isdisjoint(names)


def find(teams: Iterable[Team], key: str, now: float | None = None) -> Team | None:
    """The team that has this key, which has not ended.

    Every hash is compared, and each in constant time: how long it takes says nothing about any key.
    """
    given = key.encode("utf-8", "surrogateescape")
    now = time.time() if now is None else now
    found = None
    for team in teams:
        for one in team.keys:
            if hmac.compare_digest(hmac.digest(one.salt, given, hashlib.sha256), one.hash):
                ends = [end for end in (one.not_after, team.not_after) if end is not None]
                found = team if all(now < end for end in ends) else None
    return found


def parse(text: str) -> tuple[Team, ...]:
    """The teams of a teams.json.

    Raises:
        ValueError: it is something else; the message quotes nothing of it but the position of an entry.
    """
    data = json.loads(text)
    entries = data.get("teams") if isinstance(data, dict) else None
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
        raise ValueError(f"{where} has no keys")  # noqa: TRY004
    if models is not None and not (isinstance(models, list) and all(isinstance(model, str) for model in models)):
        raise ValueError(f"models of {where} is neither null nor a list of names")
    # Whether a team is private is never guessed.
    if not isinstance(entry.get("private"), bool):
        raise ValueError(f"private of {where} is neither true nor false")  # noqa: TRY004
    return Team(
        name=name,
        keys=tuple(_key(key, where) for key in keys),
        models=None if models is None else frozenset(models),
        private=entry["private"],
        not_after=_time(entry.get("not_after"), where),
    )


def _key(entry: Any, where: str) -> Key:
    try:
        salt, digest = bytes.fromhex(entry["salt"]), bytes.fromhex(entry["hash"])
    except (KeyError, TypeError, ValueError):
        salt, digest = b"", b""
    if not salt or len(digest) != hashlib.sha256().digest_size:
        raise ValueError(f"a key of {where} has no salt, or no hash of 64 digits")
    return Key(salt, digest, _time(entry.get("not_after"), where))


def _time(value: Any, where: str) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"not_after of {where} is no number of seconds")
    return value

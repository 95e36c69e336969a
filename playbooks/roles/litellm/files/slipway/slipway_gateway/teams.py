"""The teams of keys.json: keys by their digests, what a team may use, and how much of it in a minute."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Team:
    """Whose key it is.

    Attributes:
        name: the team; its limits are counted under this name, also where it has several keys.
        digest: SHA-256 of the key, in hex.
        models: names and aliases that it may ask for; None is all.
        requests_per_minute: None is no limit.
        tokens_per_minute: None is no limit.
        private: its requests go to private backends only.
    """

    name: str
    digest: str
    models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    private: bool = False

    def may_use(self, *names: str) -> bool:
        """Whether one of the names of a model is among what the team may use."""
        return self.models is None or not self.models.isdisjoint(names)


def find(teams: Iterable[Team], key: str) -> Team | None:
    """The team that has this key.

    Every digest is compared, and each in constant time: how long it takes says nothing about any key.
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    found = None
    for team in teams:
        if hmac.compare_digest(team.digest, digest):
            found = team
    return found


def parse(text: str) -> tuple[Team, ...]:
    """The teams of a keys.json.

    Raises:
        ValueError: it is something else; the message quotes nothing of it but the position of an entry.
    """
    entries = json.loads(text)
    if not isinstance(entries, list):
        raise ValueError("it is no list")  # noqa: TRY004 -- what the file's reader expects
    return tuple(_team(entry, f"entry {number}") for number, entry in enumerate(entries, 1))


def _team(entry: Any, where: str) -> Team:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no map")  # noqa: TRY004
    name, digest, models = entry.get("team"), entry.get("sha256"), entry.get("models")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where} has no team")
    if not isinstance(digest, str) or len(digest) != 64:
        raise ValueError(f"{where} has no sha256 of 64 digits")
    if models is not None and not (isinstance(models, list) and all(isinstance(model, str) for model in models)):
        raise ValueError(f"models of {where} is neither null nor a list of names")
    # Whether a team is private is never guessed.
    if not isinstance(entry.get("private", False), bool):
        raise ValueError(f"private of {where} is neither true nor false")  # noqa: TRY004
    limits = {}
    for limit in ("requests_per_minute", "tokens_per_minute"):
        limits[limit] = entry.get(limit)
        if limits[limit] is not None and type(limits[limit]) is not int:
            raise ValueError(f"{limit} of {where} is no whole number")
    return Team(
        name=name,
        digest=digest,
        models=None if models is None else frozenset(models),
        private=entry.get("private", False),
        **limits,
    )

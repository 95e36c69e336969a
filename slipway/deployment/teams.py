"""Who may ask, and for how much: the contents of teams.json, which the front and the gateway read again as they change.

The form::

    {"teams": [{"name", "models": [NAME] or null, "private": BOOL, "filtered": BOOL, "requests_per_minute", "tokens_per_minute",
                "parallel_requests", "tokens_per_month", "not_after",
                "keys": [{"id" or null, "salt": HEX, "hash": HEX, "not_after"}]}]}

Limits are whole numbers or null, times are seconds since 1970 or null. A key is known by HMAC-SHA256 of it, with the bytes of
its salt as the HMAC's key. Names in ``models`` are those of models and of their aliases. A
team that is ``filtered`` is answered through the gateway alone, which filters.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from slipway.deployment.routes import asked_by
from slipway.deployment.types import Deployment
from slipway.settings.gateway import Team

_SALT_BYTES = 16


def teams(deployment: Deployment) -> dict[str, Any]:
    """The contents of teams.json: hashes, no keys. The same stack gives the same ones, so nothing changes by itself."""
    of_site = [_team(deployment, name, team) for name, team in deployment.settings.gateway.teams.items()]
    of_acceptance = [
        _entry(
            team.name,
            models=list(team.models),
            private=team.private,
            requests_per_minute=team.requests_per_minute,
            keys=[plain(team.name, team.key.get_secret_value())],
        )
        for team in deployment.acceptance
    ]
    return {"teams": [*of_site, *of_acceptance]}


def hashed(salt: str, key: str) -> str:
    """How `key` is known, in hexadecimal, with a salt in hexadecimal."""
    return hmac.new(bytes.fromhex(salt), key.encode(), hashlib.sha256).hexdigest()


def plain(team: str, key: str) -> dict[str, Any]:
    """The entry of a key that the stack holds as a secret.

    Its salt follows from the key itself, so that it is the same at each `up`; to try a guess, both have to be computed anew.
    """
    salt = hmac.new(key.encode(), team.encode(), hashlib.sha256).digest()[:_SALT_BYTES].hex()
    return {"id": None, "salt": salt, "hash": hashed(salt, key), "not_after": None}


def _team(deployment: Deployment, name: str, team: Team) -> dict[str, Any]:
    models = None
    if team.models is not None:
        models = [called for route in asked_by(team, deployment.routes) for called in (route.name, *route.aliases)]
    further = [
        {"id": key.id, "salt": key.salt, "hash": key.hash, "not_after": _seconds(key.not_after)} for key in team.keys
    ]
    return _entry(
        name,
        models=models,
        private=team.private,
        requests_per_minute=team.requests_per_minute,
        tokens_per_minute=team.tokens_per_minute,
        parallel_requests=team.parallel_requests,
        tokens_per_month=team.tokens_per_month,
        not_after=_seconds(team.expires),
        filtered=any(team.filters.values()),
        keys=[plain(name, team.key.get_secret_value()), *further],
    )


def _entry(name: str, *, models: Iterable[str] | None, keys: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    limits = ("requests_per_minute", "tokens_per_minute", "parallel_requests", "tokens_per_month", "not_after")
    return {
        "name": name,
        "models": None if models is None else list(models),
        "filtered": False,
        **dict.fromkeys(limits),
        **more,
        "keys": keys,
    }


def _seconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp())

"""The teams as the gateway and the front read them: the contents of teams.json.

Keys are in it by their keyed hashes only. It knows nothing of how a request is checked; that is where the file is read.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from slipway.deployment.routes import asked_by
from slipway.deployment.types import Deployment
from slipway.settings.gateway import Key, Team
from slipway.settings.types import Secret, epoch
from slipway.usage.money import billionths


def teams(deployment: Deployment) -> dict[str, Any]:
    """Every team with its names of models, its limits and its keys, acceptance's own teams last.

    Times are seconds since 1970, amounts of money billionths of their currency, hashes and salts hexadecimal; None is no
    limit, no end, all models. A key of a team that the site keeps itself has no id.
    """
    stack = deployment.source
    given = [_team(deployment, name, team) for name, team in deployment.settings.gateway.teams.items()]
    own = [
        {
            "name": team.name,
            "models": list(team.models),
            "private": team.private,
            "requests_per_minute": team.requests_per_minute,
            "tokens_per_minute": None,
            "parallel_requests": None,
            "tokens_per_month": None,
            "money_per_month": None,
            "not_after": None,
            "filtered": False,
            "log_content": False,
            "keys": [_plain(stack, team.name, team.key)],
        }
        for team in deployment.acceptance
    ]
    return {"teams": [*given, *own]}


def key_hash(salt: str, key: str) -> str:
    """HMAC-SHA256 of a whole bearer key, keyed with the bytes of the salt; both in hexadecimal."""
    return hmac.new(bytes.fromhex(salt), key.encode(), hashlib.sha256).hexdigest()


def _team(deployment: Deployment, name: str, team: Team) -> dict[str, Any]:
    models, log = None, deployment.settings.gateway.content_log
    if team.models is not None:
        models = [called for route in asked_by(team, deployment.routes) for called in (route.name, *route.aliases)]
    return {
        "name": name,
        "models": models,
        "private": team.private,
        "requests_per_minute": team.requests_per_minute,
        "tokens_per_minute": team.tokens_per_minute,
        "parallel_requests": team.parallel_requests,
        "tokens_per_month": team.tokens_per_month,
        "money_per_month": None
        if team.money_per_month is None
        else {"amount": billionths(team.money_per_month), "currency": deployment.settings.gateway.usage.currency},
        "not_after": None if team.expires is None else epoch(team.expires),
        # What is filtered passes the gateway, which alone does that.
        "filtered": any(team.filters.values()),
        "log_content": log is not None and name in log.teams,
        "keys": [
            *([] if team.key is None else [_plain(deployment.source, name, team.key)]),
            *(_created(key) for key in team.keys),
        ],
    }


def _plain(stack: str, team: str, key: Secret) -> dict[str, Any]:
    # The same salt each time, so that an `up` without a change changes nothing. It keeps equal keys of two teams or stacks
    # from having equal hashes; guessing is kept off by the key's own strength.
    salt = hmac.new(stack.encode(), team.encode(), hashlib.sha256).hexdigest()
    return {"id": None, "salt": salt, "hash": key_hash(salt, key.get_secret_value()), "not_after": None}


def _created(key: Key) -> dict[str, Any]:
    not_after = None if key.not_after is None else epoch(key.not_after)
    return {"id": key.id, "salt": key.salt, "hash": key.hash, "not_after": not_after}

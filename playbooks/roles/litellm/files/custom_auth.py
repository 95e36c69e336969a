"""LiteLLM's key check for Slipway: keys by their digests, teams with their limits, no database.

LiteLLM loads this file from beside its configuration and calls `user_api_key_auth` for every request. The keys lie
beside it in keys.json as SHA-256 digests; the file is read again when it changes, so that changing keys needs no restart
and drops no request. The limits are only handed on: LiteLLM's own limiter counts, and answers 429.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from failover import carry_on
from fastapi import Request
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

carry_on()

KEYS = Path(os.environ.get("SLIPWAY_KEYS", Path(__file__).parent / "keys.json"))

PATHS = frozenset(f"/v1/{name}" for name in ("chat/completions", "completions", "embeddings", "models", "rerank"))
"""What a key opens. LiteLLM has hundreds of other routes, some of which tell addresses or change settings."""

log = logging.getLogger("slipway.keys")


# Not a dataclass: LiteLLM executes this file without registering it as a module, which those need.
class Team(NamedTuple):
    """Whose key it is, and what that team may use in a minute; None is no limit."""

    name: str
    digest: str
    requests_per_minute: int | None
    tokens_per_minute: int | None


class Keys:
    """The keys of a file, read anew whenever the file is another one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._teams: tuple[Team, ...] = ()

    def find(self, key: str) -> Team | None:
        """The team that has this key.

        Every digest is compared, and each in constant time: how long it takes says nothing about any key.
        """
        self._refresh()
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = None
        for team in self._teams:
            if hmac.compare_digest(team.digest, digest):
                found = team
        return found

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if version == self._version:
                return
            self._teams = tuple(_teams(json.loads(self._path.read_text(encoding="utf-8"))))
            self._version = version
            log.warning("%d keys read from %s", len(self._teams), self._path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # The keys known so far stay good: a damaged file must neither lock everybody out nor let anybody in.
            log.error("%s cannot be read (%s); the keys read before stay valid", self._path, error)  # noqa: TRY400


def _teams(entries: list[dict[str, str | int]]) -> Iterator[Team]:
    for entry in entries:
        requests, tokens = entry.get("requests_per_minute"), entry.get("tokens_per_minute")
        yield Team(
            name=str(entry["team"]),
            digest=str(entry["sha256"]),
            requests_per_minute=None if requests is None else int(requests),
            tokens_per_minute=None if tokens is None else int(tokens),
        )


_keys = Keys(KEYS)


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    """Say who calls, or refuse with 401 in the form that OpenAI's clients expect."""
    path = request.url.path.rstrip("/")
    if path not in PATHS and path.rpartition("/")[0] != "/v1/models":
        raise ProxyException(
            message="There is no such path here.",
            type="invalid_request_error",
            param=None,
            code=404,
            openai_code="unknown_url",
        )
    team = _keys.find(api_key.removeprefix("Bearer ").strip()) if api_key else None
    if team is None:
        raise ProxyException(
            message="No valid API key was given. Send it as the header 'Authorization: Bearer KEY'.",
            type="invalid_request_error",
            param=None,
            code=401,
            openai_code="invalid_api_key",
        )
    return UserAPIKeyAuth(
        # What the limiter counts by, and names in its messages: a team with two keys has its limit once.
        api_key=team.name,
        key_alias=team.name,
        team_id=team.name,
        team_alias=team.name,
        # Calls models, administers nothing.
        user_role=LitellmUserRoles.INTERNAL_USER,
        rpm_limit=team.requests_per_minute,
        tpm_limit=team.tokens_per_minute,
    )

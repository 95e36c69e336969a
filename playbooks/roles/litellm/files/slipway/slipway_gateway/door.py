"""What every request meets first: which path, whose key, which model; then it is served.

The front before it has asked the same and counts what is used; what reaches this door by another way is told the same.

It stands around LiteLLM's own application, which is asked for translations only.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

from slipway_gateway import bodies
from slipway_gateway.answers import Answer, Refusal, json_answer, models_answer
from slipway_gateway.backends import Call
from slipway_gateway.filters import gate
from slipway_gateway.filters.file import Filters
from slipway_gateway.listing import entries, resolve
from slipway_gateway.routes import Routes
from slipway_gateway.serving import Caller, Serving
from slipway_gateway.teams import Team, find, named
from slipway_gateway.translated import Translated
from slipway_gateway.watched import Watched

PATHS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/rerank": "rerank",
    "/rerank": "rerank",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "messages",
    "/v1/audio/transcriptions": "transcriptions",
    "/tokenize": "tokenize",
    "/detokenize": "tokenize",
}
"""What a key opens, and the family of the API. LiteLLM has hundreds of other paths; some change settings."""

MODELS = "/v1/models"
LIVE = "/health/liveliness"
STATE = "/slipway/state"

PASSED = frozenset({"accept", "anthropic-beta", "anthropic-version", "openai-beta", "user-agent", "x-request-id"})
"""Headers that go on to a backend. A key never does."""

TEAM_HEADER = "x-slipway-team"
"""Whose a request is, as a front says that has shown its key."""

WATCH_S = 1.0

log = logging.getLogger("slipway.gateway")


class Door:
    """An ASGI application around LiteLLM's.

    Args:
        app: LiteLLM's.
        teams: who may ask.
        routes: what serves.
        filters: what may not pass.
        front_key: what fronts show, which then say whose a request is; "" where they pass on teams' keys.
        router: gives LiteLLM's router; None as long as LiteLLM has none.
    """

    def __init__(
        self,
        app: Any,
        *,
        teams: Watched[tuple[Team, ...]],
        routes: Watched[Routes],
        filters: Watched[Filters],
        front_key: str,
        translated: Translated,
        serving: Serving,
        router: Callable[[], Any],
    ) -> None:
        self._app = app
        self._teams = teams
        self._routes = routes
        self._filters = filters
        self._front_key = front_key
        self._translated = translated
        self._serving = serving
        self._router = router
        self._taken: str | None = None
        self._unknown: list[str] = []

    async def watch(self) -> None:
        """Take up changed files, also when nobody asks for anything."""
        while True:
            self.refresh()
            await asyncio.sleep(WATCH_S)

    def refresh(self) -> None:
        """Take up what has changed in the files."""
        self._teams.refresh()
        self._routes.refresh()
        self._filters.refresh()
        router = self._router()
        if router is None or self._routes.digest == self._taken:
            return
        self._taken = self._routes.digest
        try:
            self._unknown = self._translated.take(router, self._routes.content)
        except Exception:
            # What goes to backends directly does so all the same.
            log.exception("LiteLLM does not take the routes")
            self._unknown = ["all"]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request: ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            path = scope["path"].rstrip("/")
            if path == LIVE and scope["method"] == "GET":
                await self._app(scope, receive, send)
                return
            # Who reads Anthropic's API reads Anthropic's errors.
            client = scope.get("client")
            caller = Caller(send, anthropic=path.startswith("/v1/messages"), connection=client and tuple(client))
            try:
                await self._answer(path, scope, receive, caller)
            except Refusal as refusal:
                await caller.whole(refusal.answer(anthropic=caller.anthropic))
            except Exception:
                log.exception("%s failed", path)
                if caller.begun:
                    raise  # which ends the connection
                refusal = Refusal(500, "The gateway failed; its journal says more.", "internal_error")
                await caller.whole(refusal.answer(anthropic=caller.anthropic))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, path: str, scope: dict[str, Any], receive: Any, caller: Caller) -> None:
        self.refresh()
        if path == STATE and _from_here(scope):
            await caller.whole(self._state(scope["query_string"]))
            return
        listing = path == MODELS or path.startswith(MODELS + "/")
        if path not in PATHS and not listing:
            raise Refusal(404, "There is no such path here.", "unknown_url")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        team = self._whose(headers)
        if team is None:
            raise Refusal(
                401,
                "No valid API key was given. Send it as the header 'Authorization: Bearer KEY' or 'x-api-key: KEY'.",
                "invalid_api_key",
            )
        if scope["method"] != ("GET" if listing else "POST"):
            raise Refusal(405, f"{scope['method']} is no method of this path.", "method_not_allowed")
        if listing:
            await caller.whole(self._models(team, path[len(MODELS) + 1 :]))
            return
        raw = await _read(receive)
        if raw is not None:
            body = await bodies.read(raw, headers.get("content-type", ""))
            if PATHS[path] == "responses":
                body = bodies.alone(body)
            await self._serve(self._call(path, headers, body, team), receive, caller)

    def _whose(self, headers: dict[str, str]) -> Team | None:
        key = _key(headers)
        if not self._front_key:
            return find(self._teams.content, key)
        # It listens for fronts on other machines: a team's own key opens nothing here, past the limits that they count.
        if not hmac.compare_digest(key.encode("latin-1", "replace"), self._front_key.encode()):
            return None
        return named(self._teams.content, headers.get(TEAM_HEADER))

    def _call(self, path: str, headers: dict[str, str], body: bodies.Body, team: Team) -> Call:
        return Call(
            path=path,
            family=PATHS[path],
            body=body,
            headers={name: value for name, value in headers.items() if name in PASSED},
            team=team,
        )

    async def _serve(self, call: Call, receive: Any, caller: Caller) -> None:
        routes = self._routes.content
        name = resolve(routes, call.team, call.body.model)
        filters = self._filters.content
        body = await gate.asked(filters.of(call.team.name, "in"), call.body)
        call = replace(call, body=body, filters=filters.of(call.team.name, "out"))
        serving = asyncio.create_task(self._serving.answer(call, routes, name, caller))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({serving, leaving}, timeout=routes.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            caller.expired = not serving.done() and not leaving.done()
        finally:
            leaving.cancel()
            # Who has left has the generation ended as well.
            serving.cancel()
            await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()
        elif caller.expired and caller.begun:
            late = Refusal(504, f"The answer took longer than {routes.timeout_s:g} s.", "timeout")
            await caller.write(late.event(anthropic=caller.anthropic), more=False)
        elif caller.expired:
            raise Refusal(504, f"No answer within {routes.timeout_s:g} s.", "timeout")

    def _models(self, team: Team, name: str) -> Answer:
        routes = self._routes.content
        found = entries(routes, team)
        if not name:
            return json_answer(models_answer(found))
        resolve(routes, team, name)
        return json_answer(next(entry for entry in found if entry["id"] == name))

    def _state(self, query: bytes) -> Answer:
        """Which files are in use; 200 when they are those whose digests the query names, and none was refused."""
        digests = {"routes": self._routes.digest if self._taken == self._routes.digest else None}
        digests |= {"teams": self._teams.digest, "filters": self._filters.digest}
        refused = {"routes": self._routes.refused, "teams": self._teams.refused, "filters": self._filters.refused}
        if refused["routes"] is None and self._unknown:
            refused["routes"] = f"LiteLLM does not take the backends: {', '.join(self._unknown)}"
        wanted = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
        agreed = all(digests.get(name) == digest for name, digest in wanted.items()) and not any(refused.values())
        return json_answer({**digests, "refused": refused}, status=200 if agreed else 503)


def _key(headers: dict[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()


def _from_here(scope: dict[str, Any]) -> bool:
    """Whether the caller is on this machine."""
    client, server = scope.get("client"), scope.get("server")
    if not client:
        return False
    return ipaddress.ip_address(client[0]).is_loopback or bool(server and client[0] == server[0])


async def _read(receive: Any) -> bytes | None:
    """The whole body; None when the caller left before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _left(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

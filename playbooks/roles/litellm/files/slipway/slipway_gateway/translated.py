"""Has LiteLLM ask a backend: it knows the providers' APIs and translates between them and OpenAI's.

LiteLLM chooses nothing here. Each backend is a model of its own to LiteLLM's router, named by the backend's id, so what
is asked is the one that was chosen, and a failure comes back here instead of going to another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from slipway_gateway.answers import Refusal
from slipway_gateway.backends import PASSED_HEADERS, Call, Lost, Reply
from slipway_gateway.bodies import Body
from slipway_gateway.routes import Deployment, Routes
from slipway_gateway.streams import mended

FAMILIES = frozenset({"chat", "completions", "embeddings", "rerank", "responses", "messages", "transcriptions"})
"""What LiteLLM can translate."""

CONTROLS = frozenset(
    {
        "api_base",
        "api_key",
        "api_version",
        "base_url",
        "cache",
        "caching",
        "client",
        "config",
        "content_policy_fallbacks",
        "context_window_fallbacks",
        "custom_llm_provider",
        "deployment_id",
        "disable_fallbacks",
        "extra_headers",
        "fallbacks",
        "guardrails",
        "headers",
        "input_cost_per_token",
        "max_retries",
        "model_info",
        "model_list",
        "no-log",
        "num_retries",
        "output_cost_per_token",
        "proxy_server_request",
        "retry_policy",
        "retry_strategy",
        "router_settings_override",
        "secret_fields",
        "specific_deployment",
        "tags",
        "timeout",
        "use_in_pass_through",
        "user_config",
    }
)
PREFIXES = ("litellm", "mock_", "aws_", "vertex_", "azure_", "_")
"""Fields that LiteLLM takes as orders to itself: where a request goes is not the caller's to say."""

HEADERS = ("accept", "anthropic-beta", "anthropic-version", "openai-beta", "user-agent")

CLIENT_MODEL = "litellm.client_requested_model"
"""Key of the scope in which LiteLLM looks for the name that the answer is to carry."""

TEAM = "slipway.team"
"""Key of the scope that tells `custom_auth` who calls."""

CANCEL_S = 1.0
"""How long LiteLLM has to end a request that nobody waits for any more, before others are answered."""


class Translated:
    """The way through LiteLLM.

    Args:
        app: LiteLLM's ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._known: frozenset[str] = frozenset()
        self._last: dict[str, dict[str, Any]] = {}
        self._running: set[asyncio.Task[None]] = set()

    def take(self, router: Any, routes: Routes) -> list[str]:
        """Give LiteLLM's router the backends, in the place of those before; returns the ids that LiteLLM refuses.

        Those that are gone stay until the next change, for requests that have chosen them already; no other can.
        """
        new = {deployment.id: _entry(deployment, routes.timeout_s) for deployment in routes.deployments()}
        router.set_model_list([*new.values(), *(entry for id_, entry in self._last.items() if id_ not in new)])
        self._known = frozenset(id_ for id_ in {*new, *self._last} if router.has_model_id(id_))
        self._last = new
        return [id_ for id_ in new if id_ not in self._known]

    def can(self, deployment: Deployment, family: str) -> bool:
        """Whether LiteLLM can ask it for this part of the API."""
        return family in FAMILIES and deployment.id in self._known

    @asynccontextmanager
    async def ask(self, deployment: Deployment, call: Call) -> AsyncIterator[Reply]:
        """See `backends.Way`."""
        _refuse_orders(call.body)
        content, content_type = call.body.asking(deployment.id)
        scope = _scope(call, deployment, content_type, len(content))
        exchange = _Exchange()
        _EXCHANGE.set(exchange)  # for the task, which takes it along
        running = asyncio.create_task(exchange.run(self._app, scope, content))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        try:
            start = await exchange.next()
            headers = {name.decode().lower(): value.decode("latin-1") for name, value in start.get("headers", ())}
            passed = {name: headers[name] for name in PASSED_HEADERS if name in headers}
            chunks = exchange.chunks()
            if call.family == "chat" and call.body.data.get("stream") and start["status"] == 200:
                wanted = call.body.data.get("n")
                chunks = mended(chunks, wanted if isinstance(wanted, int) else 1)
            yield Reply(start["status"], passed, chunks)
        finally:
            # After a whole answer LiteLLM has things of its own to finish; any other ends here and at the backend.
            if not exchange.ended:
                running.cancel()
                await asyncio.wait({running}, timeout=CANCEL_S)


class _Exchange:
    """One request to LiteLLM's application: what it sends is read here, one message at a time.

    Attributes:
        ended: the answer is whole.
        lost: the backend was lost under it; what LiteLLM sends afterwards are its own words for that.
    """

    def __init__(self) -> None:
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(maxsize=1)
        self.ended = False
        self.lost: Lost | None = None

    async def run(self, app: Any, scope: dict[str, Any], content: bytes) -> None:
        unread = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if unread:
                return unread.pop()
            await asyncio.Event().wait()  # the caller is watched at the door: who leaves has this task cancelled
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            await self._messages.put(None if self.lost else message)

        try:
            await app(scope, receive, send)
        except Exception:  # noqa: BLE001 -- LiteLLM logs it; for the caller the backend is lost
            await self._messages.put(None)

    async def next(self) -> dict[str, Any]:
        message = await self._messages.get()
        if message is None:
            raise self.lost or Lost("LiteLLM gave no whole answer")
        return message

    async def chunks(self) -> AsyncIterator[bytes]:
        while not self.ended:
            message = await self.next()
            self.ended = not message.get("more_body", False)
            if message.get("body"):
                yield message["body"]


_EXCHANGE: ContextVar[_Exchange] = ContextVar("exchange")


def lost(how: Lost) -> None:
    """Note, from within LiteLLM, that the backend was lost under the request that it handles at the moment."""
    if exchange := _EXCHANGE.get(None):
        exchange.lost = how


def _entry(deployment: Deployment, timeout_s: float) -> dict[str, Any]:
    return {
        "model_name": deployment.id,
        "litellm_params": {"timeout": timeout_s, "max_retries": 0, **deployment.litellm},
        "model_info": {"id": deployment.id},
    }


def _refuse_orders(body: Body) -> None:
    for name in body.data:
        if name in CONTROLS or name.startswith(PREFIXES):
            raise Refusal(400, f"The parameter '{name}' is not known here.", "unknown_parameter", param=name)


def _scope(call: Call, deployment: Deployment, content_type: str, length: int) -> dict[str, Any]:
    headers = {name: call.headers[name] for name in HEADERS if name in call.headers}
    headers |= {"content-type": content_type, "content-length": str(length), "host": "localhost"}
    # LiteLLM looks for a key before it asks custom_auth, which takes the team from the scope.
    headers["authorization"] = "Bearer none"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
        TEAM: call.team,
        CLIENT_MODEL: deployment.name,
    }

"""Passes a request on to a backend as it is, and the answer back, chunk by chunk.

LiteLLM's translation would lose things on the way: usage and tool calls of `/v1/messages`, `encoding_format`, reasoning.
Only the model's name and the credentials are ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp

from slipway_gateway.backends import PASSED_HEADERS, Call, Lost, Reply
from slipway_gateway.losses import loss
from slipway_gateway.routes import Deployment

CONNECT_S = 10
KEEPALIVE_S = 60


class Native:
    """The way to backends that speak the API themselves."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def ask(self, deployment: Deployment, call: Call) -> AsyncIterator[Reply]:
        """See `backends.Way`."""
        content, content_type = call.body.asking(deployment.model)
        key = deployment.litellm.get("api_key")
        headers = {**call.headers, "content-type": content_type, "accept-encoding": "identity"}
        if isinstance(key, str) and key:
            headers["authorization"] = f"Bearer {key}"
        url = str(deployment.url).removesuffix("/v1") + call.path
        async with AsyncExitStack() as stack:
            response = await self._post(stack, url, content, headers)
            passed = {name: response.headers[name] for name in PASSED_HEADERS if name in response.headers}
            yield Reply(response.status, passed, _chunks(response))

    async def _post(
        self, stack: AsyncExitStack, url: str, content: bytes, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        stale = False
        while True:
            kept = SimpleNamespace(reused=False)
            request = self._opened().post(
                url, data=content, headers=headers, allow_redirects=False, trace_request_ctx=kept
            )
            try:
                return await stack.enter_async_context(request)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
                lost = _lost(error)
                # A connection that was kept may have been closed by the backend just now: that says nothing about it. Where
                # the request was on its way by then, it is reset, which aiohttp has a class of its own for. If nobody
                # listens there any more, though, it may have been the request.
                if not kept.reused:
                    raise Lost(str(lost), suspect=lost.suspect or stale) from None
                stale = stale or lost.suspect
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                raise _lost(error) from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
                # How long an answer may take is counted over all that is tried for it: see `serving`.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                trace_configs=[trace],
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _note_reuse(_: Any, context: SimpleNamespace, __: Any) -> None:
    context.trace_request_ctx.reused = True


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
        raise _lost(error) from None


def _lost(error: Exception) -> Lost:
    return loss(error) or Lost(type(error).__name__)

"""What the end of a connection to a backend says: whether the request may be what the backend died of."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import aiohttp
import httpx

from slipway_gateway.backends import Lost

_SILENT = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})
"""Nothing comes from there at all: its machine or the network is gone, and no process has closed anything."""


def loss(error: BaseException) -> Lost | None:
    """The loss that an error comes from; None where the backend's connection is not its cause.

    The causes of the error are looked at too: LiteLLM's own errors do not tell a refused connection from a broken one.
    """
    causes = list(_causes(error))
    # Resets have the class of what was never connected, in aiohttp and more so in what LiteLLM makes of it.
    broken = [
        one
        for one in causes
        if isinstance(
            one,
            (
                aiohttp.ServerDisconnectedError,
                aiohttp.ClientPayloadError,
                httpx.ReadError,
                httpx.WriteError,
                httpx.RemoteProtocolError,
                ConnectionResetError,
                BrokenPipeError,
            ),
        )
        or (isinstance(one, aiohttp.ClientOSError) and not isinstance(one, aiohttp.ClientConnectorError))
    ]
    silent = any(isinstance(one, OSError) and one.errno in _SILENT for one in causes)
    if broken:
        return Lost(type(broken[-1]).__name__, suspect=not silent)
    if any(
        isinstance(one, (aiohttp.ClientConnectionError, httpx.ConnectError, httpx.ConnectTimeout)) for one in causes
    ):
        return Lost(type(causes[-1]).__name__)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop(0)
        if one is not None and not any(one is other for other in seen):
            seen.append(one)
            left += [one.__cause__, one.__context__, getattr(one, "original_exception", None)]
            yield one

"""Runs first in the gateway's Python: its connections notice an engine that has gone silent.

A host that lost its power or its network refuses nothing, it just does not answer: the kernel goes on sending for
minutes, and a request of LiteLLM waits as long, because its timeouts are for whole answers, which may rightly take
minutes too. So every connection that aiohttp makes gets up when the other side acknowledges nothing for some seconds,
and LiteLLM asks another engine.
"""

import socket
import sys
from typing import Any

SILENCE_S = 10
SYN_RETRIES = 2  # after 1, 3 and 7 seconds the connection is given up


def watched(address: tuple[Any, ...]) -> socket.socket:
    """A socket that ends when the other side acknowledges nothing for `SILENCE_S`, whether it is sending or waiting."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENCE_S // 2)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENCE_S // 2)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYN_RETRIES)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_S * 1000)
    return made


def watch_connections() -> None:
    """Have aiohttp make its connections with `watched` where nothing else was asked for."""
    import aiohttp

    plain = aiohttp.TCPConnector.__init__

    def init(self: aiohttp.TCPConnector, *args: Any, **options: Any) -> None:
        options.setdefault("socket_factory", watched)
        plain(self, *args, **options)

    aiohttp.TCPConnector.__init__ = init  # type: ignore[method-assign]


if sys.prefix != sys.base_prefix:
    watch_connections()

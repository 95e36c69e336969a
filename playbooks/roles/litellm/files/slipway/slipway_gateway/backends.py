"""What both ways to a backend have in common: what is asked, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from slipway_gateway.bodies import Body
from slipway_gateway.filters.text import Rules
from slipway_gateway.routes import Deployment
from slipway_gateway.teams import Team

PASSED_HEADERS = ("content-type", "retry-after")
"""Of a backend's answer; the rest says who it is, or is the connection's."""


class Lost(Exception):  # noqa: N818 -- it says what became of the backend
    """A backend did not answer, or stopped in the middle. The message says how, without an address.

    Attributes:
        suspect: its connection was closed while it had the request, so the request may be what it died of.
    """

    def __init__(self, how: str, *, suspect: bool = False) -> None:
        super().__init__(how)
        self.suspect = suspect


@dataclass(frozen=True)
class Call:
    """A request as it goes to backends.

    Attributes:
        path: of the API, such as /v1/messages.
        family: the part of the API that the path belongs to; one of `routes.FAMILIES`.
        body: what is asked.
        headers: the caller's that mean something to a backend.
        team: who asks.
        filters: what is done about texts of the answer; None where nothing is.
    """

    path: str
    family: str
    body: Body
    headers: Mapping[str, str]
    team: Team
    filters: Rules | None = None


@dataclass(frozen=True)
class Reply:
    """A backend's answer, whose head is here.

    Attributes:
        status: HTTP status.
        headers: those that are for the caller.
        chunks: the body as it comes; raises `Lost` when it breaks off.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]

    @property
    def stream(self) -> bool:
        """Whether it is a stream of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")


class Way(Protocol):
    """A way to a backend."""

    def ask(self, deployment: Deployment, call: Call) -> AbstractAsyncContextManager[Reply]:
        """Send the request. Leaving the context ends it, at the backend as well.

        Raises:
            Lost: the backend does not answer.
        """
        ...

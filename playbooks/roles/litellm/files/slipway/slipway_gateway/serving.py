"""Asks one backend after another, until one of them answers.

A backend is given up for another as long as nothing of its answer has gone to the caller. A stream is passed on from the
first event that a model has said something in, so a backend that sends its headers and then dies is given up too; any
other answer is passed on when it is whole.

A request that takes its backend down is not to take the next one as well: where it was alone on an engine that was lost
with it, it is not begun elsewhere, and else on one engine more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from slipway_gateway.answers import Answer, Refusal, provider_only
from slipway_gateway.backends import Call, Lost, Reply, Way
from slipway_gateway.balance import Balance
from slipway_gateway.failures import error_in, error_in_event, failed, judged, status_of
from slipway_gateway.filters import gate
from slipway_gateway.filters.streams import FilteredStream
from slipway_gateway.routes import Deployment, Routes
from slipway_gateway.translated import Translated

ATTEMPTS = 3
"""How many backends of one name are tried; fewer of those here once one was lost under the request."""

_EVENTS_END = re.compile(rb"\r?\n\r?\n")
_OPENING = re.compile(
    rb"^event: ?(message_start|content_block_start|ping"
    rb"|response\.(created|queued|in_progress|output_item\.added|content_part\.added))\r?$",
    re.MULTILINE,
)
"""Events that may be sent before anything of an answer is known."""

log = logging.getLogger("slipway.gateway")


@dataclass
class Caller:
    """Who waits for the answer.

    Attributes:
        send: ASGI's.
        anthropic: reads errors in Anthropic's form.
        connection: by which the request came.
        begun: something of an answer was sent.
        expired: the time for the answer is over.
        lost: an engine was lost under the request.
        spent: no other engine is to be risked for it.
    """

    send: Callable[[dict[str, Any]], Any]
    anthropic: bool
    connection: tuple[str, int] | None = None
    begun: bool = False
    expired: bool = False
    lost: bool = False
    spent: bool = False

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        """Send an answer's head."""
        self.begun = True
        pairs = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a part of its body."""
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def whole(self, answer: Answer) -> None:
        """Send a whole answer."""
        await self.begin(answer.status, {**answer.headers, "content-length": str(len(answer.body))})
        await self.write(answer.body, more=False)


class Serving:
    """Answers requests from backends.

    Args:
        native: the way to backends that speak the API themselves.
        translated: the way through LiteLLM.
        balance: chooses among the backends of a model.
    """

    def __init__(self, native: Way, translated: Translated, balance: Balance) -> None:
        self._native = native
        self._translated = translated
        self._balance = balance

    async def answer(self, call: Call, routes: Routes, name: str, caller: Caller) -> None:
        """Answer from the backends of the model `name`, or of its fall-backs.

        Raises:
            Refusal: none of them answers, or none may be asked, or the request is wrong; nothing was sent.
        """
        # Another model's tokens are no answer.
        chain = routes.chain(name) if call.family != "tokenize" else [name]
        able = {
            asked: [one for one in routes.models[asked] if one.serves(call.family) and self._way(one, call.family)]
            for asked in chain
        }
        allowed = {
            asked: [one for one in deployments if one.private or not call.team.private]
            for asked, deployments in able.items()
        }
        if not any(able.values()):
            raise Refusal(404, f"The model '{name}' does not serve {call.path}.", "unsupported_path", param="model")
        if not any(allowed.values()):
            raise provider_only(name)
        refusal = await self._first(allowed, routes, call, caller)
        if refusal is None:
            return
        if allowed != able:
            refusal = Refusal(
                503,
                f"No backend of '{name}' that keeps requests here answers, and requests of this team go to no other. "
                "Try again later.",
                "no_private_backend",
            )
        raise refusal

    async def _first(
        self, allowed: dict[str, list[Deployment]], routes: Routes, call: Call, caller: Caller
    ) -> Refusal | None:
        """Have the first backend answer that can; returns what the last one said when none could."""
        refusal = None
        for deployments in allowed.values():
            tried: set[str] = set()
            while len(tried) < ATTEMPTS and (chosen := self._balance.choose(_open(deployments, caller), tried)):
                tried.add(chosen.id)
                self._balance.begin(chosen)
                try:
                    refusal = await self._try(chosen, routes, call, caller)
                except asyncio.CancelledError:
                    if caller.expired:
                        self._balance.failed(chosen, routes.cooldown_s)
                    raise
                finally:
                    self._balance.end(chosen)
                if refusal is None:
                    return None
        return refusal

    async def _try(self, chosen: Deployment, routes: Routes, call: Call, caller: Caller) -> Refusal | None:
        """Have one backend answer; returns what to tell the caller if no other can.

        Raises:
            Refusal: the request is wrong, so no backend will take it, or it may be what the backend died of.
        """
        again = caller.lost and chosen.private
        way = self._way(chosen, call.family)
        if way is None:  # taken away since the request began
            return failed(chosen, 503, "backend_unavailable")
        try:
            async with way.ask(chosen, call) as reply:
                self._balance.heard(chosen, _who(call, caller))
                if reply.status >= 300:
                    refusal = judged(chosen, reply.status, await _whole(reply), reply)
                elif reply.stream:
                    refusal = await self._relay(chosen, routes, call, reply, caller)
                else:
                    refusal = await self._pass_on(chosen, call, reply, caller)
        except Lost as error:
            refusal = failed(chosen, 503, "backend_unavailable")
            log.warning("backend %s is lost: %s", chosen.id, error)
            if error.suspect and chosen.private:
                caller.lost = True
                if self._balance.lost(chosen, _who(call, caller)):
                    self._balance.failed(chosen, routes.cooldown_s)
                    raise refusal from None
            else:
                again = False  # nothing tells that the request reached it
        caller.spent = caller.spent or again
        if refusal is None:
            self._balance.answered(chosen)
        elif refusal.code not in {"rate_limit_exceeded", "overloaded", "backend_without"}:
            self._balance.failed(chosen, routes.cooldown_s)
        return refusal

    async def _pass_on(self, chosen: Deployment, call: Call, reply: Reply, caller: Caller) -> Refusal | None:
        body = await _whole(reply)
        # LiteLLM says so, with status 200, where it cannot make sense of a provider's answer.
        if (error := error_in(body)) is not None:
            return judged(chosen, status_of(error), body, reply)
        passed = await gate.answered(call.filters, call.family, body)
        await caller.whole(Answer(reply.status, passed, _named(reply, chosen)))
        return None

    async def _relay(
        self, chosen: Deployment, routes: Routes, call: Call, reply: Reply, caller: Caller
    ) -> Refusal | None:
        chunks = reply.chunks
        first = await _first_events(chunks)
        if (error := error_in_event(first)) is not None:
            return judged(chosen, status_of(error), json.dumps(error).encode(), reply)
        if not chosen.passes(call.family):
            chunks = _in_our_words(chunks)
        filtered = FilteredStream(call.filters) if call.filters else None
        await caller.begin(reply.status, {**_named(reply, chosen), "cache-control": "no-cache"})
        try:
            async for chunk in _all(first, chunks):
                self._balance.heard(chosen, _who(call, caller))
                if passed := filtered.feed(chunk) if filtered else chunk:
                    await caller.write(passed, more=True)
                if filtered and filtered.blocked:
                    break  # which ends the generation too
            rest = filtered.end() if filtered else b""
            if call.filters and filtered and filtered.blocked:
                rest += gate.refusal(call.filters, filtered.blocked).event(anthropic=caller.anthropic)
            await caller.write(rest, more=False)
        except Lost as lost:
            log.warning("backend %s is lost in the middle of an answer: %s", chosen.id, lost)
            self._balance.failed(chosen, routes.cooldown_s)
            broken = Refusal(502, "The backend was lost in the middle of this answer.", "backend_lost")
            rest = filtered.end() if filtered else b""
            await caller.write(rest + broken.event(anthropic=caller.anthropic), more=False)
        return None

    def _way(self, deployment: Deployment, family: str) -> Way | None:
        if deployment.passes(family):
            return self._native
        return self._translated if self._translated.can(deployment, family) else None


def _open(deployments: list[Deployment], caller: Caller) -> list[Deployment]:
    return [one for one in deployments if not one.private] if caller.spent else deployments


def _who(call: Call, caller: Caller) -> tuple[str, tuple[str, int] | None]:
    """Tells callers apart, as far as it can be told here: the front's connections carry those of several clients."""
    return call.team.name, caller.connection


def _named(reply: Reply, chosen: Deployment) -> dict[str, str]:
    # Tells a fall-back from the model that was asked for.
    return {**reply.headers, "x-slipway-model": chosen.name}


async def _all(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


async def _in_our_words(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The rest of a stream of LiteLLM's; what it says of an error has words of its own, and addresses at times.

    Raises:
        Lost: it says that there was one.
    """
    async for chunk in chunks:
        if error_in_event(chunk) is not None:
            raise Lost("LiteLLM tells of an error")
        yield chunk


async def _whole(reply: Reply) -> bytes:
    return b"".join([chunk async for chunk in reply.chunks])


async def _first_events(chunks: AsyncIterator[bytes]) -> bytes:
    """The first chunks of a stream, up to the end of the first event that comes from a model.

    Raises:
        Lost: there is none.
    """
    read = b""
    async for chunk in chunks:
        read += chunk
        *whole, _ = _EVENTS_END.split(read)
        if any(event.strip() and not _OPENING.search(event) for event in whole):
            break
    if not read.strip():
        raise Lost("the stream ended before its first event")
    return read

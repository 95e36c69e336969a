"""What hosts keep about instances: written after an apply, looked at by a refresh, taken away with the instance."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from provider import events
from provider.inputs import Inputs
from provider.looker import Answer, Looker
from provider.run import Failure, Host, Outcome

INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class Look:
    """How an instance's host looks beside the record."""

    as_recorded: bool | None = None
    """None where there is no record of what was applied, or the host can't be asked for it."""
    differing: tuple[str, ...] = ()
    """The first of the things that look otherwise."""
    failure: Failure | None = None
    """Why nothing at all can be asked of the host."""


class Records:
    """The records of all hosts."""

    def __init__(self, looker: Looker) -> None:
        """Takes what asks hosts."""
        self._looker = looker
        self._owners: dict[tuple[Host, str], asyncio.Task[Answer]] = {}

    async def look(self, parsed: Inputs, digest: str) -> Look:
        """Compares a host with the record of an instance, as applied from files of that digest."""
        answer = await self._looker.look(parsed.host, parsed.records)
        if answer.interrupted:
            return Look(failure=events.interrupted(parsed.host, parsed.instance))
        failure = answer.failure(parsed.host, parsed.instance)
        if failure:
            return Look(failure=failure)
        seen = answer.seen(parsed.instance)
        if seen is None or seen.key != binding(parsed, digest):
            return Look()
        return Look(as_recorded=not seen.differs, differing=seen.first)

    async def keep(self, parsed: Inputs, digest: str, outcome: Outcome) -> str:
        """Has a host record what an apply manages; returns why it is not recorded, empty if it is."""
        if outcome.unrecordable or not outcome.managed:
            return outcome.unrecordable
        return _trouble(await self._order("write", parsed, digest, things=list(outcome.managed)))

    async def renew(self, parsed: Inputs, digest: str) -> None:
        """Has a host record anew what it has a record of: what differs there is as the role wants it."""
        await self._order("renew", parsed, digest)

    async def forget(self, parsed: Inputs) -> str:
        """Takes an instance's record away; returns why it could not be, empty if it is gone."""
        return _trouble(await self._order("forget", parsed, ""))

    async def owner(self, parsed: Inputs) -> str:
        """The name of the host as which an instance was applied before this command; empty where nothing tells.

        A host is asked once: what this command itself applies, the plugin knows.
        """
        answer = await self._asked(parsed)
        return str(answer.done.get(parsed.instance, ""))

    async def silence(self, parsed: Inputs) -> Failure | None:
        """Why a host can't be asked anything just now; None where it answers."""
        answer = await self._asked(parsed)
        return None if answer.interrupted else answer.failure(parsed.host, parsed.instance)

    async def _asked(self, parsed: Inputs) -> Answer:
        place = parsed.host, parsed.records
        if place not in self._owners:
            self._owners[place] = asyncio.create_task(self._order("owners", parsed, ""))
        answer = await asyncio.shield(self._owners[place])
        if answer.failed:
            self._owners.pop(place, None)
        return answer

    def outdated(self, host: Host) -> None:
        """What was seen of a machine no longer holds."""
        self._looker.forget_looks(host)

    async def _order(self, verb: str, parsed: Inputs, digest: str, **more: Any) -> Answer:
        order = {"verb": verb, "folder": parsed.records, "instance": parsed.instance, "key": binding(parsed, digest)}
        return await self._looker.ask(parsed.host, {**order, "owner": parsed.host.name, **more})


def binding(parsed: Inputs, digest: str) -> str:
    """What a record is bound to: the role's files, and the variables that it was applied with."""
    text = json.dumps([digest, parsed.role, parsed.instance, parsed.variables], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _trouble(answer: Answer) -> str:
    if answer.interrupted:
        return INTERRUPTED
    lines = [line for line in answer.raw.splitlines() if line.strip()]
    return (lines[-1] if lines else "the host said nothing") if answer.failed else ""

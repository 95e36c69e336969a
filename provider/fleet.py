"""Hosts that may be missing: which of them are in this command, and why; whichever layer first fails to reach one finds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from provider.inputs import Absence, Inputs
from provider.run import Failure
from provider.values import Properties, fields, plain

MISSING = "{reason} It is left out: {group} lets {most} be missing, and the next `pulumi up` takes it in."
NOT_LOOKED_AT = "{reason} It was not looked at: {group} lets {most} be missing."
WITHOUT = "{other}, which is missing, has a part of it: {reason}"
TOO_MANY = (
    "{group} lets {most} be missing, and {count} are; the others are left as they are. Mend these, then repeat:{lines}"
)

TWIN = (
    "{label} is the machine that {other} is: both show {identity}. It would be set up as two. Remove one of the two hosts; "
    "or, where both were copied from one image, give this one host keys of its own: "
    "sudo rm /etc/ssh/ssh_host_*_key* && sudo ssh-keygen -A && sudo systemctl restart ssh."
)

IDENTITY = "identity"
"""Among the results of a role that looks at a host: what no other machine has."""

AWAY = frozenset({"unreachable", "access"})
"""Failures of a host to let anything be run."""
_REFUSED = frozenset({"task", "timeout"})
"""Failures of a role that only looks."""


class Asks(Protocol):
    """What asks hosts."""

    async def silence(self, parsed: Inputs) -> Failure | None:
        """Why a host can't be asked anything; None where it answers."""


class Fleet:
    """Who is missing. The plugin lives for one command, and so does what is known here."""

    def __init__(self, records: Asks, tell: Callable[..., Awaitable[None]]) -> None:
        """Takes what asks hosts, and what shows messages. Nobody is missing yet."""
        self._records = records
        self._tell = tell
        self._missing: dict[str, dict[str, str]] = {}
        self._silent: set[str] = set()
        self._passed_over: set[str] = set()
        self._identities: dict[str, dict[str, Any]] = {}

    def away(self, parsed: Inputs) -> str | None:
        """Why there is nothing to be applied: the host, or one without which it is nothing, is missing."""
        absence = parsed.absence
        if absence is None:
            return None
        if absence.most and (reason := self._reason(parsed.host.name)) is not None:
            return reason
        for other in absence.others:
            if (reason := self._reason(other)) is not None:
                return WITHOUT.format(other=other, reason=reason)
        return None

    async def missed(self, parsed: Inputs, failure: Failure, urn: str) -> str:
        """Notes that a host is missing, if it may be and the failure says so.

        Returns a refusal where too many are, which names all; of what only looks a `Quorum` tells that, once all have looked.
        """
        absence = parsed.absence
        if absence is None or not absence.most:
            return ""
        if failure.kind not in (AWAY | _REFUSED if absence.refused else AWAY):
            return ""
        missing = self._missing.setdefault(absence.group, {})
        if parsed.host.name not in missing:
            missing[parsed.host.name] = reason = _one_line(failure.message)
            said = MISSING.format(reason=reason, group=absence.group, most=absence.most)
            await self._tell("warning", said, urn)
        if absence.refused or len(missing) <= absence.most:
            return ""
        return too_many(absence.group, absence.most, missing)

    async def passes_over(self, parsed: Inputs, failure: Failure, urn: str) -> bool:
        """Whether a refresh passes over a host that can't be asked; of each host that is said once."""
        absence = parsed.absence
        if absence is None or not absence.most or failure.kind not in AWAY:
            return False
        if parsed.host.name not in self._passed_over:
            self._passed_over.add(parsed.host.name)
            reason = _one_line(failure.message)
            said = NOT_LOOKED_AT.format(reason=reason, group=absence.group, most=absence.most)
            await self._tell("warning", said, urn)
        return True

    async def silence(self, parsed: Inputs) -> bool:
        """Whether a host that may be missing does not answer; asked for a layer that only looks, and so once or twice."""
        absence: Absence | None = parsed.absence
        if absence is None or not absence.refused or not absence.most:
            return False
        failure = await self._records.silence(parsed)
        if failure is None or failure.kind not in AWAY:
            return False
        self._silent.add(parsed.host.name)
        return True

    def is_silent(self, host: Any) -> bool:
        """Whether it did not answer `silence`."""
        return host in self._silent

    def know(self, state: Properties) -> None:
        """Takes in which machine a host was when a role last looked at it."""
        identity = plain(fields(state.get("results")).get(IDENTITY))
        name, address = (plain(fields(state.get("host")).get(key)) for key in ("name", "address"))
        if identity and name:
            self._identities.setdefault(str(identity), {})[str(name)] = address

    def twin(self, parsed: Inputs, results: dict[str, Any]) -> str:
        """A refusal, where a role that only looks has found the very machine that another host of the command is."""
        identity = results.get(IDENTITY)
        if not identity or parsed.host.connection == "local":
            return ""
        known = self._identities.setdefault(str(identity), {})
        # A host that has another name, or another host's address, since the state was written is none of the others.
        others = [
            name for name, address in known.items() if name != parsed.host.name and address != parsed.host.address
        ]
        if others:
            return TWIN.format(label=parsed.host.label, other=others[0], identity=identity)
        known[parsed.host.name] = parsed.host.address
        return ""

    def _reason(self, host: str) -> str | None:
        return next((missing[host] for missing in self._missing.values() if host in missing), None)


def too_many(group: str, most: int, missing: dict[str, str]) -> str:
    """One message that names all."""
    lines = "".join(f"\n  {name}: {reason}" for name, reason in missing.items())
    return TOO_MANY.format(group=group, most=most, count=len(missing), lines=lines)


def _one_line(message: str) -> str:
    return " ".join(message.split())

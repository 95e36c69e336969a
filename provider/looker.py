"""Asks hosts for what was recorded there, with one connection a host for all that wants to know.

A host is looked at as a whole: the first question of a command sends `record` there, and its answer tells of all records in
the folder, so that no other question has to. It stands until something is applied or removed on that machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from provider import events, record, sight, worker
from provider.run import Failure, Host

LIMIT = 60.0
"""Seconds that a host may take to answer."""

FRESH = 60.0
"""Seconds for which an answer stands within a command."""


class Processes(Protocol):
    """Who ends what runs below this process: the runner."""

    cancelled: bool

    def scratch(self) -> Path:
        """The plugin's private folder."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How an instance looks beside its record."""

    key: str
    """Of what was applied when the record was made."""
    differs: int
    """How many of the recorded things look otherwise now."""
    first: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a host said, or why it said nothing."""

    done: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""
    connected: bool = True
    failed: bool = False
    interrupted: bool = False

    def failure(self, host: Host, instance: str) -> Failure | None:
        """Why the host can't be asked anything, as a run of the role would say it; None if that is not so."""
        return events.no_access(host, instance, self.raw, connected=self.connected) if self.failed else None

    def seen(self, instance: str) -> Seen | None:
        """What was found of one instance; None without a record."""
        found = self.done.get(instance)
        if found is None:
            return None
        return Seen(key=found["key"], differs=found["differs"], first=tuple(found["first"]))


class Looker:
    """Asks, and remembers for a moment."""

    def __init__(self, processes: Processes) -> None:
        """Starts nothing."""
        self._processes = processes
        self._looks: dict[tuple[Host, str], tuple[float, asyncio.Task[Answer]]] = {}

    async def look(self, host: Host, folder: str) -> Answer:
        """All records in a folder of a host, beside what is there now."""
        began, task = self._looks.get((host, folder), (0.0, None))
        if task is None or (task.done() and time.monotonic() - began > FRESH):
            task = asyncio.create_task(self.ask(host, {"verb": "look", "folder": folder}))
            self._looks[host, folder] = (time.monotonic(), task)
        return await asyncio.shield(task)

    def forget_looks(self, host: Host) -> None:
        """What was seen of a machine no longer holds: something is changed there."""
        for known in [key for key in self._looks if _machine(key[0]) == _machine(host)]:
            del self._looks[known]

    async def ask(self, host: Host, order: dict[str, Any]) -> Answer:
        """Has one order of `record` carried out on a host."""
        if self._processes.cancelled:
            return Answer(failed=True, interrupted=True)
        scratch = self._processes.scratch()
        try:
            process = await asyncio.create_subprocess_exec(
                *_command(host, scratch),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Whoever may look at this user's processes sees their environments.
                env=worker.without_secrets(),
            )
        except OSError as error:  # no ssh or no sudo on this machine, of which Ansible tells in its own way
            return Answer(failed=True, raw=str(error))
        try:
            said, complained = await asyncio.wait_for(process.communicate(_program(order)), LIMIT)
        except TimeoutError:
            return Answer(failed=True, raw=f"no answer within {LIMIT:g} s")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._processes.cancelled:
            return Answer(failed=True, interrupted=True)
        return _answer(
            host, process.returncode or 0, said.decode(errors="replace"), complained.decode(errors="replace")
        )


def _command(host: Host, scratch: Path) -> list[str]:
    """As Ansible does it: the same ssh, the same options, sudo without a question; the program comes on stdin."""
    python = ["/usr/bin/python3", "-I", "-B", "-"]
    if host.become:
        python = ["sudo", "-H", "-n", "-u", "root", *python]
    if host.connection == "local":
        return python
    folder, control = scratch / "look", scratch / "ssh"
    for made in (folder, control):
        made.mkdir(mode=0o700, exist_ok=True)
    # Each login has a file of its own for its known host: several hosts are asked at the same time.
    known = folder / hashlib.sha256(repr(host).encode()).hexdigest()[:16]
    known.mkdir(mode=0o700, exist_ok=True)
    options = worker.ssh_options(host, known, control)
    options += ["-o", f"Port={host.port}"]
    # What Ansible adds where there is no password.
    options += ["-o", "KbdInteractiveAuthentication=no", "-o", "PasswordAuthentication=no"]
    if host.user:
        options += ["-o", f"User={host.user}"]
    if host.key_file:
        options += ["-o", f'IdentityFile="{host.key_file}"']
    return ["ssh", "-T", *options, host.address, " ".join(python)]


def _program(order: dict[str, Any]) -> bytes:
    """One text for the host's Python: the modules that run there, under their own names, and the order."""
    lines = ["import sys, types", "sys.modules['provider'] = types.ModuleType('provider')"]
    for module in (sight, record):
        lines += [
            f"module = sys.modules[{module.__name__!r}] = types.ModuleType({module.__name__!r})",
            f"exec({inspect.getsource(module)!r}, module.__dict__)",
        ]
    return "\n".join([*lines, "import json", f"module.answer(json.loads({json.dumps(order)!r}))", ""]).encode()


def _answer(host: Host, code: int, said: str, complained: str) -> Answer:
    line = next((line for line in reversed(said.splitlines()) if line.startswith(record.MARK)), None)
    if line is None:
        # 255 is ssh's own; anything else came from beyond it.
        connected = host.connection == "local" or code != 255
        return Answer(failed=True, raw=f"{said}\n{complained}".strip(), connected=connected)
    try:
        answer: dict[str, Any] = json.loads(line.removeprefix(record.MARK))
    except ValueError:
        return Answer(failed=True, raw="the host's answer was cut off")
    if "done" not in answer:
        return Answer(failed=True, raw=str(answer.get("failed")))
    return Answer(done=answer["done"])


def _machine(host: Host) -> tuple[str, int]:
    return (host.address or host.name, host.port)

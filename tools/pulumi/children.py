"""The processes a language host starts, and their end.

A child leads a process group of its own, so that a signal to the host's group, which is how the engine interrupts it,
does not make a program print a KeyboardInterrupt; the host ends children itself, quietly. To end one is to end all its
descendants, also those in sessions of their own (pexpect, and with it ansible-runner, puts what it starts into one).
What has detached itself for good by a double fork is not followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import psutil

Channel = Literal["stdout", "stderr"]

_CHANNELS: tuple[Channel, ...] = ("stdout", "stderr")

GRACE = 0.25
"""Seconds between SIGTERM and SIGKILL."""

_CHUNK = 64 * 1024
_LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class _Pipe:
    """The reading end of what a process writes."""

    reader: asyncio.StreamReader
    transport: asyncio.ReadTransport


@dataclass(frozen=True, eq=False)
class Child:
    """A started process."""

    process: Process
    pipes: Mapping[Channel, _Pipe]

    async def ended(self) -> int:
        """Waits for the end and returns the exit code, negative for a signal."""
        return await self.process.wait()

    async def output(self) -> AsyncGenerator[tuple[Channel, bytes], None]:
        """What the process writes, as it writes it, until it has ended; to be read once."""
        queue: asyncio.Queue[tuple[Channel, bytes] | None] = asyncio.Queue(maxsize=16)
        read = 0

        async def pump(channel: Channel, stream: asyncio.StreamReader) -> None:
            nonlocal read
            while chunk := await stream.read(_CHUNK):
                read += len(chunk)
                await queue.put((channel, chunk))

        pumps = [asyncio.create_task(pump(channel, pipe.reader)) for channel, pipe in self.pipes.items()]

        async def watch() -> None:
            await self.process.wait()
            # A descendant that outlives the process may keep the pipes open: silence has to do for their end.
            before = -1
            while not all(task.done() for task in pumps) and (read != before or queue.full()):
                before = read
                await asyncio.wait(pumps, timeout=GRACE)
            await queue.put(None)

        tasks = [*pumps, asyncio.create_task(watch())]
        try:
            while (item := await queue.get()) is not None:
                yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for pipe in self.pipes.values():
                pipe.transport.close()


class Children:
    """All children of one host."""

    def __init__(self) -> None:
        self._running: set[Child] = set()
        self._ending: set[asyncio.Task[None]] = set()

    def __bool__(self) -> bool:
        return bool(self._running or self._ending)

    async def start(self, command: Sequence[str], *, cwd: str | None, env: Mapping[str, str], captured: bool) -> Child:
        """Starts a command; its output is captured, or goes where the host's own goes.

        Raises:
            OSError: the command can't be started.
        """
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *command]
        # Pipes of our own: with those of asyncio, the wait for a process is also one for all who inherited its output.
        ends: dict[Channel, tuple[int, int]] = {name: os.pipe() for name in _CHANNELS} if captured else {}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=cwd or None,
                env=env,
                stdin=DEVNULL,
                stdout=ends["stdout"][1] if captured else None,
                stderr=ends["stderr"][1] if captured else None,
                process_group=0,
            )
        except BaseException:
            for reading, _ in ends.values():
                os.close(reading)
            raise
        finally:
            for _, writing in ends.values():
                os.close(writing)
        child = Child(process, {name: await _pipe(reading) for name, (reading, _) in ends.items()})
        self._running.add(child)
        return child

    def end(self, child: Child) -> asyncio.Task[None]:
        """Ends a child and its descendants in the background; the task is done when all are gone."""
        self._running.discard(child)
        task = asyncio.create_task(_end(child.process))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def end_all(self) -> None:
        """Ends every child; returns when all are gone."""
        for child in list(self._running):
            self.end(child)
        await asyncio.gather(*self._ending)


async def _pipe(descriptor: int) -> _Pipe:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    return _Pipe(reader, transport)


async def _end(process: Process) -> None:
    import psutil

    tree = _descendants(process.pid)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    for descendant in tree:
        with contextlib.suppress(psutil.Error):
            descendant.terminate()

    # psutil would reap the child itself under asyncio's hands, so the two are waited for separately.
    waiting = asyncio.create_task(process.wait())
    tree_left = tree
    if tree:
        _, tree_left = await asyncio.to_thread(psutil.wait_procs, tree, timeout=GRACE)
    await asyncio.wait([waiting], timeout=0 if tree else GRACE)

    # What was forked meanwhile is found either in the process group or below those that are left.
    if not waiting.done():
        tree_left = [*tree_left, *_descendants(process.pid)]
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for descendant in tree_left:
        with contextlib.suppress(psutil.Error):
            descendant.kill()
    await waiting


def _descendants(pid: int) -> list[psutil.Process]:
    import psutil

    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []

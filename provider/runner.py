"""Runs, seen from the plugin: a pool of processes, their progress, and the end of it all."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from provider import events, log, paths, processes, worker
from provider.run import Outcome, Progress, Request, Task

WORKERS = max(8, min(32, 4 * (os.cpu_count() or 1)))
"""Runs at the same time. Each is one Ansible process that mostly waits for its host; workers start as they are needed. As many
as operations that Pulumi has under way by default, four a core, so that no host waits for a worker; each takes about 100 MB."""

_PROGRESS_LAG = 1.0

Listener = Callable[[Progress], None]


class Runner:
    """Runs requests, and breaks them off when told to."""

    def __init__(self) -> None:
        """Starts nothing: the first run does."""
        self._pool: ProcessPoolExecutor | None = None
        self._scratch: Path | None = None
        self._progress: SimpleQueue[Progress | None] | None = None
        self._listeners: dict[int, Listener] = {}
        self._ids = itertools.count(1)
        self.cancelled = False

    async def run(self, request: Request, listener: Listener) -> Outcome:
        """Runs one request to its end; progress goes to the listener, in order, in the caller's event loop."""
        began = time.monotonic()
        current = ""
        ended: list[Task] = []
        told = asyncio.Event()

        def listen(progress: Progress) -> None:
            nonlocal current
            current = progress.task
            if progress.ended:
                ended.append(progress.ended)
            if progress.last:
                told.set()
            else:
                listener(progress)

        if self.cancelled:
            return events.broken_off(request, "", 0, by_intent=True)
        pool, scratch = self._start()
        request = replace(request, run_id=next(self._ids), scratch=str(scratch))
        self._listeners[request.run_id] = listen
        try:
            outcome = await asyncio.get_running_loop().run_in_executor(pool, worker.run, request)
            # The result comes another way than the progress, and may overtake it.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), _PROGRESS_LAG)
        except BrokenProcessPool:
            outcome = events.broken_off(
                request, current, time.monotonic() - began, by_intent=self.cancelled, tasks=ended
            )
            if self._pool is pool:
                self._pool = None
        finally:
            self._listeners.pop(request.run_id, None)
        log.record(paths.log_file(), request, outcome)
        return outcome

    def scratch(self) -> Path:
        """The plugin's private folder; whatever runs below this process ends with it."""
        if self._scratch is None:
            self._scratch = paths.make_scratch()
            processes.become_subreaper()
        return self._scratch

    def cancel(self) -> None:
        """Kills everything that runs, and refuses to run more."""
        self.cancelled = True
        if self._scratch is not None:
            tracker = getattr(getattr(resource_tracker, "_resource_tracker", None), "_pid", None)
            processes.kill_descendants(spare={tracker} if tracker else set())

    def close(self) -> None:
        """Ends everything and tidies up; the plugin ends after it."""
        self.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._progress is not None:
            with contextlib.suppress(OSError):
                self._progress.put(None)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self) -> tuple[ProcessPoolExecutor, Path]:
        scratch = self.scratch()
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._progress = context.SimpleQueue()
            self._pool = ProcessPoolExecutor(
                WORKERS,
                mp_context=context,
                initializer=worker.start,
                initargs=(self._progress, str(scratch)),
            )
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._listen, args=(self._progress, loop), daemon=True).start()
        return self._pool, scratch

    def _listen(self, progress: SimpleQueue[Progress | None], loop: asyncio.AbstractEventLoop) -> None:
        while (item := progress.get()) is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(self._tell, item)

    def _tell(self, progress: Progress) -> None:
        listener = self._listeners.get(progress.run_id)
        if listener is not None:
            listener(progress)

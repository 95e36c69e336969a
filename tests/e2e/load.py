"""A bounded load of real clients on an endpoint, under which things fail."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import openai

MESSAGES = [{"role": "user", "content": "Tell me a story."}]
MOST = 20_000
"""Requests of one client, at most."""


@dataclass
class Load:
    """What became of the requests so far.

    Attributes:
        answered: requests that were answered whole, streamed or not.
        lost: errors of requests that were not streamed, or of which nothing had come.
        broken: errors of streams that had begun.
        longest_s: the longest time that a request took which was answered.
    """

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _ask(self, api: openai.OpenAI, *, stream: bool) -> None:
        begun, start = False, time.monotonic()
        try:
            if stream:
                chunks = api.chat.completions.create(model="tiny-llama", messages=MESSAGES, max_tokens=16, stream=True)  # type: ignore[arg-type,call-overload]
                finished = False
                for chunk in chunks:
                    begun = True
                    finished = finished or any(choice.finish_reason for choice in chunk.choices)
                assert finished, "the stream ended in silence"
            else:
                answer = api.chat.completions.create(model="tiny-llama", messages=MESSAGES, max_tokens=16)  # type: ignore[arg-type]
                assert answer.choices[0].finish_reason, "the answer is none"
        # The transport's own errors included: a body that breaks off comes as one of those.
        except Exception as error:  # noqa: BLE001
            took = f"after {time.monotonic() - start:.1f} s: {error!r} from {error.__cause__!r}"
            with self._lock:
                (self.broken if begun else self.lost).append(took)
            return
        with self._lock:
            self.answered += 1
            self.longest_s = max(self.longest_s, time.monotonic() - start)


@contextlib.contextmanager
def load(client: Callable[[], openai.OpenAI], *, clients: int = 8, pause_s: float = 0.02) -> Iterator[Load]:
    """Clients with a connection of their own each, every other request streamed, until the block ends."""
    found, stop = Load(), threading.Event()

    def ask() -> None:
        with client() as api:
            for number in itertools.islice(itertools.count(), MOST):
                if stop.wait(pause_s):
                    return
                found._ask(api, stream=number % 2 == 1)

    with ThreadPoolExecutor(clients) as pool:
        workers = [pool.submit(ask) for _ in range(clients)]
        try:
            yield found
        finally:
            stop.set()
            for worker in workers:
                worker.result()
    print(
        f"{found.answered} answered, the longest in {found.longest_s:.1f} s; lost {found.lost}; broken {found.broken}"
    )

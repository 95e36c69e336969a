"""What a stack may choose of Ollama."""

from typing import ClassVar, Literal

from slipway.engines.options import EngineOptions
from slipway.engines.program import ProgramSource
from slipway.settings.types import PositiveCount


class Options(EngineOptions):
    """Ollama, with one model from a GGUF file."""

    READS: ClassVar[frozenset[str]] = frozenset({"gguf"})
    TASKS: ClassVar[frozenset[str]] = frozenset({"chat", "completion", "embedding"})
    SLOTS: ClassVar[str] = "parallel"

    name: Literal["ollama"] = "ollama"
    """The engine."""
    program: ProgramSource
    """Where Ollama comes from: its release's archive, a mirror of it, or the program that `python -m tools.ollama.build`
    makes."""
    parallel: PositiveCount = 2
    """Requests that it works on at once; each has room for the model's whole context."""
    queue: PositiveCount | None = None
    """Requests that may wait; a further one is refused at once, with 503. Default: 4 times `parallel`."""
    threads: PositiveCount = 1
    """CPU threads. They spin while they wait, so give fewer than the machine has free cores."""
    template: str | None = None
    """The prompt's template, in Ollama's own notation (Go's). Default: what Ollama makes of the model's file."""

    @property
    def drains(self) -> bool:
        """It cuts every answer when it stops."""
        return False

    @property
    def slots(self) -> int:
        """Requests that it works on at once."""
        return self.parallel

    def queued(self, *, lists: bool) -> int:  # noqa: ARG002 -- a list is one request to it
        """Requests that may wait."""
        return 4 * self.parallel if self.queue is None else self.queue

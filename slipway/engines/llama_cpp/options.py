"""What a stack may choose of llama.cpp's server."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.engines.options import EngineOptions
from slipway.engines.program import ProgramSource
from slipway.settings.types import Count, PositiveCount


class Options(EngineOptions):
    """llama.cpp's server. Without `program` it is the build for CPUs that the package registry has."""

    READS: ClassVar[frozenset[str]] = frozenset({"gguf"})
    TASKS: ClassVar[frozenset[str]] = frozenset({"chat", "completion", "embedding", "rerank"})
    SLOTS: ClassVar[str] = "parallel"

    name: Literal["llama_cpp"] = "llama_cpp"
    """The engine."""
    program: ProgramSource | None = None
    """A `llama-server` of one's own, such as a build for CUDA. Default: the CPU build, installed with its locked hashes."""
    parallel: PositiveCount = 4
    """Requests that it works on at once; each has room for the model's whole context."""
    queue: Count | None = None
    """Requests that may wait; a further one is refused at once, with 503. The server itself has no bound: the front counts what
    it sends there, and what LiteLLM sends (`gateway.fast_path: false`) is not counted. Default: 4 times `parallel`."""
    threads: PositiveCount = 1
    """CPU threads. They spin while they wait, so give fewer than the machine has free cores."""
    gpu_layers: Count | None = None
    """Layers that are on the GPUs. Default: all."""
    cache_type: Literal["f16", "bf16", "q8_0", "q4_0"] = "f16"
    """The type of the KV cache; `q8_0` halves it."""
    prompt_cache_gib: Annotated[float, Field(ge=0)] = 1
    """Memory of the machine for prompts that were answered before, so that their like begins sooner, in GiB."""
    pooling: Literal["mean", "cls", "last"] | None = None
    """How an embedding is made of a text's tokens. Default: as the model's file says; `mean` where it says nothing."""

    @property
    def takes_gpus(self) -> bool:
        """Only a program of one's own is built for GPUs."""
        return self.program is not None

    @property
    def drains(self) -> bool:
        """The packaged one does; a genuine llama-server stops generating at once."""
        return self.program is None

    @property
    def slots(self) -> int:
        """Requests that it works on at once."""
        return self.parallel

    def queued(self, *, lists: bool) -> int:  # noqa: ARG002 -- a list is one request to it
        """Requests that may wait."""
        return 4 * self.parallel if self.queue is None else self.queue

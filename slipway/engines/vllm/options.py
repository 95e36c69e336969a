"""What a stack may choose of vLLM."""

from typing import ClassVar, Literal

from slipway.engines.options import EngineOptions
from slipway.settings.types import Address, Count, Fraction, GiB, Method, PositiveCount

LONGEST_LIST = 2048
"""Texts of one request for embeddings, at most: https://platform.openai.com/docs/api-reference/embeddings, 2026-11."""
LISTS = 2
"""Such requests that an engine lets wait unless it is told otherwise."""


class Options(EngineOptions):
    """vLLM. Every knob has a default; `flags` reaches the ones not named here."""

    TASKS: ClassVar[frozenset[str]] = frozenset({"chat", "completion", "embedding", "rerank", "transcription"})
    SPANS: ClassVar[bool] = True
    SLOTS: ClassVar[str] = "max_num_seqs"

    name: Literal["vllm"] = "vllm"
    """The engine."""
    tensor_parallel: PositiveCount | None = None
    """GPUs that share each layer of the model. Default: as many of one copy's GPUs on one machine as the model's shapes allow;
    all of them where the model or the GPU is not known."""
    pipeline_parallel: PositiveCount | None = None
    """Groups of GPUs that share the model's layers among them. Default: as many as the model has `hosts`, and more where the
    model's shapes do not let `tensor_parallel` take all GPUs of a machine."""
    data_parallel: PositiveCount = 1
    """Copies of the model in each replica, each on GPUs of its own, behind the engine's one port; the engine hands each
    request to one of them. Of a mixture of experts they are no copies: the engine spreads the experts over all of them."""
    quantization: Method | None = None
    """How the engine quantizes 16-bit weights as it loads them, such as `fp8`. Default: none; a checkpoint that is
    quantized says so itself."""
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] | None = None
    """The type of the KV cache; `fp8` halves it. Default: the engine's, which is that of the weights."""
    max_num_batched_tokens: PositiveCount | None = None
    """Tokens of one step at most; more makes long prompts faster and takes memory. Default: the engine's, by GPU."""
    gpu_memory_utilization: Fraction = 0.85
    """The part of each GPU's memory that the engine may take."""
    cpu_kv_cache_gib: GiB = 1
    """Memory for the KV cache on a CPU, in GiB."""
    max_num_seqs: PositiveCount = 256
    """Requests that each copy of the model works on at once."""
    queue: Count | None = None
    """Requests that may wait for each copy of the model; a further one is refused at once, with 503. Each answer
    of a request counts, and each text of a list. Default: 4 times `max_num_seqs`, and for embeddings and ranks, which take
    milliseconds each, at least 4096."""
    media_domains: tuple[Address, ...] = ()
    """Hosts from which the engine may fetch what requests name by an address: images, audio, video. Default: none, so that
    nobody can have it look around in its network; `data:` URLs always work."""
    parsers: bool = True
    """Read tool calls and reasoning by the parsers that the catalogue knows for the model. A parser among `flags` goes before."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """The type of weights and activations."""

    @property
    def slots(self) -> int:
        """Requests that each copy of the model works on at once."""
        return self.max_num_seqs

    def queued(self, *, lists: bool) -> int:
        """Requests that may wait for each copy of the model."""
        if self.queue is not None:
            return self.queue
        return max(4 * self.max_num_seqs, LISTS * LONGEST_LIST if lists else 0)

"""The inference engine and its knobs."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from slipway.settings.base import Section
from slipway.settings.types import (
    EnvironmentVariable,
    Flag,
    Fraction,
    GiB,
    MemorySize,
    Method,
    Port,
    PositiveCount,
    StrongSecret,
)


class Build(StrEnum):
    """Which build of the engine runs."""

    CPU = "cpu"
    CUDA = "cuda"


class Engine(Section):
    """What runs on each engine host. Every knob has a default; `flags` reaches the ones not named here."""

    name: Literal["vllm"] = "vllm"
    """The engine: one of Slipway's adapters."""
    build: Build | None = None
    """Default: `cuda` where `hardware.gpus` is 1 or more, else `cpu`."""
    port: Port = 8000
    """Its port, on loopback or, where the gateway is on another host, on the private network."""
    key: StrongSecret | None = None
    """The key with which the gateway calls the engines. Needed as soon as an engine and the gateway are on different hosts."""
    tensor_parallel: PositiveCount | None = None
    """GPUs that share each layer of the model. Default: as many of one copy's GPUs as the model's shapes allow; all of
    them where the model or the GPU is not known."""
    pipeline_parallel: PositiveCount | None = None
    """Groups of GPUs that share the model's layers among them. Default: 1, or what `tensor_parallel` leaves of one copy's
    GPUs where the model's shapes do not allow all."""
    data_parallel: PositiveCount = 1
    """Copies of the model on each engine host, each on GPUs of its own, behind the engine's one port; the engine hands each
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
    """Memory for the KV cache of a `cpu` build, in GiB."""
    max_num_seqs: PositiveCount = 256
    """Requests that each copy of the model works on at once."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """The type of weights and activations."""
    memory_max: MemorySize = "90%"
    """systemd's memory limit for the engine: a size (`24G`) or a part of the host's memory."""
    start_timeout_s: PositiveCount = 1800
    """How long the engine may take from its start to its first token, in seconds."""
    flags: dict[Flag, str | int | float | bool] = Field(default_factory=dict)
    """Further flags of the engine, without dashes; `true` gives the bare flag."""
    environment: dict[EnvironmentVariable, str] = Field(default_factory=dict)
    """Further environment variables for the engine. Not for secrets: they can be read on the host."""

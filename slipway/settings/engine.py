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
    """GPUs that share one copy of the model. Default: all of `hardware.gpus`."""
    gpu_memory_utilization: Fraction = 0.85
    """The part of each GPU's memory that the engine may take."""
    cpu_kv_cache_gib: GiB = 1
    """Memory for the KV cache of a `cpu` build, in GiB."""
    max_num_seqs: PositiveCount = 256
    """Requests that are worked on at once."""
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

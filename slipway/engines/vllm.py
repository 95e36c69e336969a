"""vLLM: https://docs.vllm.ai — an OpenAI-compatible server, for CPU and CUDA."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.settings import Settings
from slipway.settings.engine import Build
from slipway.settings.errors import PREFIX, SettingsError
from slipway.settings.hosts import Host, Service
from slipway.settings.model import ModelSource
from slipway.units import BYTES_PER_GIB

RELEASE = "0.32.0"
"""The release that role vllm installs; its locks pin the same."""

# `vllm serve` looks its own distribution up under the name vllm, which the CPU build does not have.
_COMMANDS = {
    Build.CPU: ["python", "-m", "vllm.entrypoints.openai.api_server"],
    Build.CUDA: ["vllm", "serve"],
}

_OWN_FLAGS = {
    "api-key": "engine.key",
    "data-parallel-size": "engine.data_parallel",
    "device-memory-utilization": "engine.gpu_memory_utilization",
    "dtype": "engine.dtype",
    "gpu-memory-utilization": "engine.gpu_memory_utilization",
    "host": "hosts[].private_address",
    "kv-cache-dtype": "engine.kv_cache_dtype",
    "kv-cache-memory-bytes": "engine.cpu_kv_cache_gib on the CPU, engine.gpu_memory_utilization on GPUs",
    "max-model-len": "model.max_model_len",
    "max-num-batched-tokens": "engine.max_num_batched_tokens",
    "max-num-seqs": "engine.max_num_seqs",
    "model": "model.source",
    "pipeline-parallel-size": "engine.pipeline_parallel",
    "port": "engine.port",
    "quantization": "engine.quantization",
    "served-model-name": "model.name",
    "shutdown-timeout": "gateway.request_timeout_s",
    "tensor-parallel-size": "engine.tensor_parallel",
    "trust-remote-code": "model.trust_remote_code",
}
"""Flags that Slipway computes, with the setting that governs each."""

_OWN_VARIABLES = {"VLLM_CPU_KVCACHE_SPACE": "engine.cpu_kv_cache_gib"}
"""Variables that would silently override one of Slipway's flags."""

_SMALL_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Vllm:
    """The adapter; see `slipway.engines.base.EngineAdapter`."""

    role: str = "vllm"
    release: str = RELEASE
    metrics_path: str = "/metrics"

    def variables(self, settings: Settings, host: Host) -> dict[str, Any]:
        """The variables of role vllm on `host`."""
        engine, model = settings.engine, settings.model
        variables: dict[str, Any] = {
            "vllm_build": str(settings.build),
            "vllm_command": _COMMANDS[settings.build],
            "vllm_flags": self.flags(settings),
            "vllm_environment": self.environment(settings),
            "vllm_model_name": model.name,
            "vllm_model_source": _source(model.source),
            "vllm_bind_address": settings.bind_address(Service.ENGINE, host),
            "vllm_port": engine.port,
            "vllm_memory_max": engine.memory_max,
            "vllm_start_timeout": engine.start_timeout_s,
        }
        if engine.key is not None:
            variables["vllm_api_key"] = engine.key
        if model.source.token is not None:
            variables["vllm_hub_token"] = model.source.token
        return variables

    def flags(self, settings: Settings) -> dict[str, str | int | float | bool]:
        """The server's flags, without dashes.

        Raises:
            SettingsError: ``engine.flags`` or ``engine.environment`` holds what another setting governs.
        """
        engine, model = settings.engine, settings.model
        taken = [
            f"{PREFIX}.engine.flags.{name}: Slipway sets this flag itself; two values would contradict: use {owner}"
            for name, owner in _OWN_FLAGS.items()
            if name in engine.flags
        ]
        taken += [
            f"{PREFIX}.engine.environment.{name}: overrides a flag that Slipway sets; two values would contradict: use {owner}"
            for name, owner in _OWN_VARIABLES.items()
            if name in engine.environment
        ]
        if taken:
            raise SettingsError(taken, "the engine's flags and environment")
        flags: dict[str, str | int | float | bool] = {
            "disable-uvicorn-access-log": True,  # the front logs each request once
            "dtype": engine.dtype,
            "max-model-len": model.max_model_len,
            "max-num-seqs": engine.max_num_seqs,
        }
        if settings.build is Build.CUDA:
            flags["gpu-memory-utilization"] = engine.gpu_memory_utilization
            flags["tensor-parallel-size"] = settings.tensor_parallel
            if settings.pipeline_parallel > 1:
                flags["pipeline-parallel-size"] = settings.pipeline_parallel
            if settings.data_parallel > 1:
                # One process per copy, and as many that answer on the one port; each hands requests to all the copies.
                flags["data-parallel-size"] = settings.data_parallel
        if settings.build is Build.CPU:
            # One process: on a CPU a worker of its own only costs start-up time, and two fight for the same cores.
            flags["distributed-executor-backend"] = "uni"
            # In bytes: the variable of the same purpose takes whole GiB only, and fails at 0.5.
            flags["kv-cache-memory-bytes"] = int(engine.cpu_kv_cache_gib * BYTES_PER_GIB)
        given = {
            "kv-cache-dtype": engine.kv_cache_dtype,
            "max-num-batched-tokens": engine.max_num_batched_tokens,
            "quantization": engine.quantization,
        }
        flags |= {name: value for name, value in given.items() if value is not None}
        if model.trust_remote_code:
            flags["trust-remote-code"] = True
        return {**flags, **engine.flags}

    def environment(self, settings: Settings) -> dict[str, str]:
        """The server's environment, without secrets."""
        environment: dict[str, str] = {}
        if settings.build is Build.CPU:
            environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            # Cores are the scheduler's business on a host that serves gateway and front too.
            environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        return {**environment, **settings.engine.environment}


def _source(source: ModelSource) -> dict[str, Any]:
    if source.path is not None:
        return {"kind": "path", "path": str(source.path), "fingerprint": _fingerprint(source.path)}
    if source.host_path is not None:
        return {"kind": "host_path", "path": source.host_path}
    if source.mirror is not None:
        return {"kind": "mirror", "url": str(source.mirror), "sha256sums": dict(source.sha256)}
    hub: dict[str, Any] = {"kind": "hub", "repository": source.hub, "revision": source.revision}
    if source.endpoint is not None:
        hub["endpoint"] = str(source.endpoint)
    return hub


def _fingerprint(folder: Path) -> str:
    """A digest that changes with the model, in milliseconds: names and sizes of all files, content of the small ones.

    Weights of the same size under the same name are told apart by the copy itself, which compares checksums.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder)}\0{size}\0".encode())
        if size <= _SMALL_FILE_BYTES:
            digest.update(file.read_bytes())
    return digest.hexdigest()


ADAPTER = Vllm()

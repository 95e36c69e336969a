"""How llama.cpp's server is installed and started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from slipway.deployment.types import Instance, Served
from slipway.engines.base import File, Launch, Probe, Program
from slipway.engines.flags import arguments, taken
from slipway.engines.llama_cpp.options import Options
from slipway.engines.probes import PROBES
from slipway.engines.programs import ROLES, from_source, lock_digest
from slipway.settings.models import Task
from slipway.settings.types import Secret

RELEASE = "b11549"
"""The release of llama.cpp that role llama_cpp installs, in the package xllamacpp 2026.10.11549."""

OWN_FLAGS = {
    "alias": "the model's name",
    "api-key": "gateway.engine_key",
    "api-key-file": "gateway.engine_key",
    "cache-type-k": "engine.cache_type",
    "cache-type-v": "engine.cache_type",
    "cache-ram": "engine.prompt_cache_gib",
    "fit": "engine.gpu_layers",
    "threads-http": "engine.parallel",
    "ctx-size": "max_model_len and engine.parallel",
    "embedding": "task",
    "embeddings": "task",
    "gpu-layers": "engine.gpu_layers",
    "host": "the pool's private_address",
    "model": "source",
    "n-gpu-layers": "engine.gpu_layers",
    "parallel": "engine.parallel",
    "pooling": "engine.pooling",
    "port": "engine.port",
    "rerank": "task",
    "reranking": "task",
    "threads": "engine.threads",
}
"""Flags that Slipway computes, with the setting that governs each."""

_JOURNAL = {
    # b11549 says them in the unit that suits the amount; it has a line for each of several caches, of which the first counts.
    "weights_gib": r"print_info: file size\s*=\s*([0-9.]+) GiB",
    "weights_mib": r"print_info: file size\s*=\s*([0-9.]+) MiB",
    "kv_cache_tokens": r"llama_context: n_ctx\s+=\s+(\d+)",
    "kv_cache_mib": r"llama_kv_cache: size\s*=\s*([0-9.]+) MiB",
}


@dataclass(frozen=True)
class LlamaCpp:
    """The adapter; see `slipway.engines.base.EngineAdapter`."""

    release: str = RELEASE
    metrics_path: str = "/metrics"
    progress_counter: str = "llamacpp:n_decode_total"
    bounds_queue: bool = False
    counts_texts: bool = False
    health_path: str = "/health"
    native: frozenset[str] = frozenset({"chat", "completions", "embeddings", "rerank", "responses", "messages"})

    def program(self, served: Served) -> Program:
        """The package's server, or the program that the stack brings."""
        source = _options(served).program
        if source is not None:
            return from_source("llama_cpp", source, release="")
        files = ROLES / "llama_cpp" / "files"
        return Program(
            name="llama-cpp",
            role="llama_cpp",
            release=RELEASE,
            digest=lock_digest(files / "requirements.txt", files / "llama_server.py", otherwise=RELEASE),
        )

    def gpu_share(self, served: Served) -> float:
        """What it takes of each GPU, as far as that is known; else all of it."""
        figures = served.measured.figures
        if figures is None or figures.gpu_gib is None or served.gpu is None:
            return 1.0
        # In thousandths, so that a figure a little nearer the truth changes no unit.
        return min(1.0, ceil(figures.gpu_gib * 1024 / served.gpu.driver_mib * 1000) / 1000)

    def refusals(self, served: Served) -> Iterator[tuple[str, str]]:
        """Flags that contradict what Slipway sets."""
        yield from taken(_options(served), OWN_FLAGS, {"CUDA_VISIBLE_DEVICES": "gpu_indices"})

    def exposed(self, instance: Instance) -> str | None:  # noqa: ARG002 -- the protocol's
        """Nothing: it asks for the gateway's key."""
        return None

    def launch(self, instance: Instance) -> Launch:
        """How this instance is started."""
        served, options = instance.served, _options(instance.served)
        folder = f"/etc/slipway/{instance.name}"
        flags: dict[str, str | int | float | bool] = {
            "model": served.files.target,
            "alias": served.name,
            "host": instance.address,
            "port": instance.port,
            # It divides the context among its slots; each is to have room for the whole.
            "ctx-size": served.settings.max_model_len * options.parallel,
            "parallel": options.parallel,
            "threads": options.threads,
            "cache-type-k": options.cache_type,
            "cache-type-v": options.cache_type,
            # Beside those that work on an answer, some that wait must not keep a look at its health from being answered.
            "threads-http": options.parallel + 64,
            # What does not fit is refused beforehand; it is to shrink nothing by itself.
            "fit": "off",
            "metrics": True,
            "slots": False,  # it shows prompts
            "ui": False,
            "offline": True,
            # The sizes of weights and KV cache, and nothing of any prompt.
            "log-verbosity": 4,
        }
        if served.on_gpus:
            flags["n-gpu-layers"] = "all" if options.gpu_layers is None else options.gpu_layers
        if served.settings.task.generates:
            flags["cache-ram"] = int(options.prompt_cache_gib * 1024)
        else:
            # A text whose tokens make one answer has to go through in one step.
            flags |= dict.fromkeys(("batch-size", "ubatch-size"), served.settings.max_model_len)
        if served.settings.task is Task.EMBEDDING:
            flags |= {"embeddings": True} | ({} if options.pooling is None else {"pooling": options.pooling})
        if served.settings.task is Task.RERANK:
            flags["reranking"] = True
        files = {}
        if served.engine_key is not None:
            flags["api-key-file"] = f"{folder}/keys"
            # Of a single key the server logs the end.
            key = served.engine_key.get_secret_value()
            files["keys"] = File(content=Secret(f"{key}\n{key}\n"), secret=True)
        probe = PROBES[served.settings.task]
        environment = {"SLIPWAY_DRAIN_TIMEOUT": str(served.drain_s)}
        if served.on_gpus:
            environment |= {
                "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                "CUDA_VISIBLE_DEVICES": ",".join(map(str, instance.gpus)),
            }
        return Launch(
            description=f"the engine llama.cpp with {served.name}",
            # What the sizing counted with goes before the defaults: it knows the file.
            command=("llama-server", *arguments(flags | dict(served.measured.flags) | options.flags, equals=False)),
            environment=environment | options.environment,
            files=files,
            probe=Probe(path=probe[0], body={"model": served.name, **probe[1]}),
            probe_key=served.engine_key,
            journal=_JOURNAL,
            sandbox=_GPU_SANDBOX if served.on_gpus else {"MemoryDenyWriteExecute": "yes"},
        )


_GPU_SANDBOX: Mapping[str, str | tuple[str, ...]] = {
    # The GPUs' device files, and memory pinned for transfers.
    "PrivateDevices": "no",
    "LimitMEMLOCK": "infinity",
    "ExecStartPre": "-+/usr/bin/nvidia-modprobe -u -c=0",
}


def _options(served: Served) -> Options:
    options = served.settings.engine
    if not isinstance(options, Options):
        raise TypeError(options)
    return options


ADAPTER = LlamaCpp()

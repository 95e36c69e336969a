"""How vLLM is installed and started."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slipway.deployment.types import Instance, Served
from slipway.engines.base import File, Launch, Probe, Program
from slipway.engines.flags import arguments, taken
from slipway.engines.names import names_of
from slipway.engines.probes import PROBES
from slipway.engines.programs import ROLES, files_digest, role_file
from slipway.engines.vllm import replica
from slipway.engines.vllm.options import Options
from slipway.settings.models import Task
from slipway.sizing.engines.vllm_flags import flags as memory_flags
from slipway.units import BYTES_PER_GIB

RELEASE = "0.32.0"
NCCL = "lib/python3*/site-packages/nvidia/nccl/lib/libnccl.so.2"
"""Of its environment: where the wheels nvidia-nccl-cu12 and -cu13 put it."""
"""The release that role vllm installs; its locks pin the same."""

_COMMANDS = {
    # `vllm serve` looks its own distribution up under the name vllm, which the CPU build does not have.
    "cpu": ("python", "-m", "vllm.entrypoints.openai.api_server"),
    "cuda": ("vllm", "serve"),
}

OWN_FLAGS = {
    "allowed-media-domains": "engine.media_domains",
    "api-key": "gateway.engine_key",
    "convert": "task",
    "data-parallel-size": "engine.data_parallel",
    "device-memory-utilization": "engine.gpu_memory_utilization",
    "dtype": "engine.dtype",
    "gpu-memory-utilization": "engine.gpu_memory_utilization",
    "headless": "hosts",
    "host": "the pool's private_address",
    "kv-cache-dtype": "engine.kv_cache_dtype",
    "kv-cache-memory-bytes": "engine.cpu_kv_cache_gib on the CPU, engine.gpu_memory_utilization on GPUs",
    "master-addr": "the pool's private_address",
    "master-port": "hosts",
    "max-model-len": "max_model_len",
    "max-num-batched-tokens": "engine.max_num_batched_tokens",
    "max-num-queued-reqs": "engine.queue",
    "max-num-seqs": "engine.max_num_seqs",
    "model": "source",
    "nnodes": "hosts",
    "node-rank": "hosts",
    "pipeline-parallel-size": "engine.pipeline_parallel",
    "port": "engine.port",
    "quantization": "engine.quantization",
    "runner": "task",
    "served-model-name": "the model's name",
    "shutdown-timeout": "gateway.request_timeout_s",
    "tensor-parallel-size": "engine.tensor_parallel",
    "trust-remote-code": "trust_remote_code",
}
"""Flags that Slipway computes, with the setting that governs each."""

OWN_VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "gpu_indices",
    "GLOO_SOCKET_IFNAME": "the pool's network.interface",
    "NCCL_IB_HCA": "the pool's network.adapters",
    "NCCL_SOCKET_IFNAME": "the pool's network.interface",
    "VLLM_HOST_IP": "the pool's private_address",
    "VLLM_CPU_KVCACHE_SPACE": "engine.cpu_kv_cache_gib",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "engine.media_domains",
}
"""Variables that would silently override what Slipway sets."""

_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    # Twice what the gateway keeps an idle connection for; after the 5 s that are usual it would close them under its requests.
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "120",
    # A server that may be fetched from must not send the engine on to one that may not.
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    # Nothing is looked up, fetched or reported while serving.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
_ALONE = {
    # The engine's processes are all on this machine and talk over loopback; else they would listen, without any key, on the
    # machine's own address.
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
}
_CPU_ALONE = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
_CPU_ENVIRONMENT = {
    # Cores are the scheduler's business on a machine that serves gateway and front too.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # A CPU host has no C++ compiler, and torch compiles some functions when they are first called: a single request with
    # logprobs ended the engine for everybody (vllm/v1/sample/ops/logprobs.py), and without enforce-eager it did not start.
    # Measured with the lab's tiny model, one thread, against all of the model compiled on a machine with g++: 493 for 533
    # tokens/s of one client, 2816 for 3016 of eight; it starts in 22 s in place of 56. A stack whose hosts have g++ may set "0".
    "TORCH_COMPILE_DISABLE": "1",
}

NO_DOMAIN = "none/data-urls-only"
"""Allows no host, since none can have such a name; an empty list would allow all. Whoever gives an address is told it."""

_STARTUP = (
    "sitecustomize.py",
    "slipway_replica.py",
    "slipway_vllm.py",
    "slipway_vllm-1.dist-info/METADATA",
    "slipway_vllm-1.dist-info/entry_points.txt",
)
"""Files of role vllm that lie in each instance's folder, for all its Python processes to find."""

_PLACED = "mbind migrate_pages move_pages sched_setaffinity sched_setscheduler set_mempolicy setpriority"
"""Threads and memory are placed on cores and NUMA nodes; the message queue sets its threads' priorities or aborts."""

JOURNAL = {
    # The words differ by release and build (0.10 to 0.32 were read), and the CPU build says nothing of its weights. Amounts
    # are of one GPU of the first pipeline stage, whichever speaks first.
    "weights_gib": r"^(?!.*_PP[1-9]).*[Mm]odel loading took ([0-9.]+) GiB",
    "kv_cache_gib": r"^(?!.*_PP[1-9]).*(?:Available KV cache memory: |(?:Explicitly|Auto) set \()([0-9.]+)",
    "kv_cache_tokens": r"KV cache size: ([0-9,]+) tokens",
    "max_concurrency": r"Maximum concurrency for [0-9,]+ tokens per request: ([0-9.]+)x",
}
"""What its log says when it starts."""


@dataclass(frozen=True)
class Vllm:
    """The adapter; see `slipway.engines.base.EngineAdapter`."""

    release: str = RELEASE
    metrics_path: str = "/metrics"
    progress_counter: str = "vllm:iteration_tokens_total_count"
    bounds_queue: bool = True
    counts_texts: bool = True
    health_path: str = "/health"
    native: frozenset[str] = frozenset(
        {"chat", "completions", "embeddings", "rerank", "responses", "messages", "tokenize", "transcriptions"}
    )

    def program(self, served: Served) -> Program:
        """VLLM's environment, of the build that the model's hardware asks for."""
        build = _build(served)
        files = ROLES / "vllm" / "files"
        return Program(
            name=f"vllm-{build}",
            role="vllm",
            release=RELEASE,
            digest=files_digest(files / f"requirements-{build}.txt", otherwise=f"{RELEASE}-{build}"),
            variables={"vllm_build": build},
            nccl=NCCL if served.on_gpus else None,
        )

    def gpu_share(self, served: Served) -> float:
        """The part of each GPU's memory that it claims when it starts."""
        return _options(served).gpu_memory_utilization

    def refusals(self, served: Served) -> Iterator[tuple[str, str]]:
        """Flags and variables that contradict what Slipway sets."""
        options = _options(served)
        yield from taken(options, OWN_FLAGS, OWN_VARIABLES)
        yield from replica.refusals(served, options)
        if served.on_gpus:
            yield from _too_many_ranks(served, options)
        else:
            for key in ("tensor_parallel", "pipeline_parallel", "data_parallel"):
                if getattr(options, key) not in {None, 1}:
                    yield f"engine.{key}", "needs GPUs; on the CPU the engine would not start: remove it, or give gpus"

    def flags(self, served: Served) -> dict[str, str | int | float | bool]:
        """The server's flags, without dashes and without those of one instance."""
        options, parallel = _options(served), served.parallelism
        flags = memory_flags(
            max_model_len=served.settings.max_model_len,
            max_num_seqs=options.max_num_seqs,
            dtype=options.dtype,
            gpu_memory_utilization=options.gpu_memory_utilization if served.on_gpus else None,
            tensor_parallel=parallel.tensor,
            pipeline_parallel=parallel.pipeline,
            data_parallel=parallel.data,
            max_num_batched_tokens=options.max_num_batched_tokens,
            kv_cache_dtype=options.kv_cache_dtype,
            quantization=options.quantization,
            cpu_kv_cache_bytes=None if served.on_gpus else int(options.cpu_kv_cache_gib * BYTES_PER_GIB),
        )
        flags["disable-uvicorn-access-log"] = True  # the front logs each request once
        flags["fingerprint-mode"] = "none"  # else every answer tells the engine's release
        # Those that it works on count too, of all copies.
        flags["max-num-queued-reqs"] = options.slots * parallel.data + queue(served)
        flags |= _parsers(served, options)
        if served.hosts > 1:
            flags["distributed-executor-backend"] = "mp"
        elif not served.on_gpus:
            # One process: on a CPU a worker of its own only costs start-up time, and two fight for the same cores.
            flags["distributed-executor-backend"] = "uni"
        if served.settings.task is Task.EMBEDDING:
            flags |= {"runner": "pooling", "convert": "embed"}
        if served.settings.task is Task.RERANK:
            flags |= {"runner": "pooling", "convert": "classify"}
        if served.settings.trust_remote_code:
            flags["trust-remote-code"] = True
        return {**flags, **options.flags}

    def exposed(self, instance: Instance) -> str | None:  # noqa: ARG002 -- the protocol's
        """Nothing: it asks for the gateway's key."""
        return None

    def launch(self, instance: Instance) -> Launch:
        """How this instance is started."""
        served = instance.served
        flags = self.flags(served) | {
            "model": served.files.target,
            "served-model-name": served.name,
            "shutdown-timeout": served.drain_s,
            **replica.flags(instance),
        }
        command = _COMMANDS[_build(served)]
        if instance.is_head:
            flags |= {"host": instance.address, "port": instance.port}
        elif not served.on_gpus:
            command = replica.CPU_COMMAND
        environment = _ENVIRONMENT | ({} if served.on_gpus else _CPU_ENVIRONMENT)
        if instance.meeting is None:
            environment |= _ALONE if served.on_gpus else _ALONE | _CPU_ALONE
        else:
            environment |= replica.environment(instance)
        # Every Python process of the engine begins with what role vllm keeps for it, and finds its plugin.
        environment["PYTHONPATH"] = f"/etc/slipway/{instance.name}/startup"
        # Compiled kernels outlive a restart, which a private /tmp does not.
        environment["TORCHINDUCTOR_CACHE_DIR"] = f"/var/lib/slipway/{instance.name}/.cache/inductor"
        if served.on_gpus:
            environment |= {
                "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                "CUDA_VISIBLE_DEVICES": ",".join(map(str, instance.gpus)),
            }
        key = served.engine_key if instance.is_head else None
        return Launch(
            description=f"the engine vLLM with {served.name}{replica.described(instance)}",
            # The last one takes several values.
            command=(
                *command,
                *arguments(flags),
                "--allowed-media-domains",
                *(_options(served).media_domains or (NO_DOMAIN,)),
            ),
            environment=environment | served.settings.engine.environment,
            # Only what is asked has a key.
            secrets={} if key is None else {"VLLM_API_KEY": key},
            files={f"startup/{name}": File(content=role_file("vllm", name)) for name in _STARTUP},
            probe=_probe(served) if instance.is_head else None,
            ready=None if instance.is_head else replica.READY,
            probe_key=key,
            also={"version": "/version"} if instance.is_head else {},
            journal=JOURNAL if instance.is_head else {},
            interfaces=replica.interfaces(instance),
            peers=replica.peers(instance),
            sandbox=_gpu_sandbox() if served.on_gpus else {"SystemCallFilter": _PLACED},
        )


def _probe(served: Served) -> Probe:
    probe = PROBES.get(served.settings.task)
    return Probe(path="/health") if probe is None else Probe(path=probe[0], body={"model": served.name, **probe[1]})


def queue(served: Served) -> int:
    """Requests that may wait, beside those that all copies work on.

    A full engine answers at once with status 503 and
    ``{"error": {"message": …, "type": "Service Unavailable", "param": null, "code": 503}}``; a request for n answers counts n
    times. The flag is exact for one copy, and approximate over several, as its documentation says (vLLM 0.32.0).
    """
    return _options(served).queued(lists=served.settings.task.lists) * served.parallelism.data


def _parsers(served: Served, options: Options) -> dict[str, str | bool]:
    """What reads tool calls and reasoning in the model's own format, where the catalogue knows it and the release has it."""
    has, model = names_of(served), served.entry
    if not options.parsers or has is None or model is None or served.settings.task is not Task.CHAT:
        return {}
    found: dict[str, str | bool] = {}
    if model.parsers.tool_call in has.tool_parsers and options.flags.get("enable-auto-tool-choice") is not False:
        found |= {"enable-auto-tool-choice": True, "tool-call-parser": model.parsers.tool_call}
    if model.parsers.reasoning in has.reasoning_parsers:
        found["reasoning-parser"] = model.parsers.reasoning
    return found


def _options(served: Served) -> Options:
    options = served.settings.engine
    if not isinstance(options, Options):
        raise TypeError(options)
    return options


def _build(served: Served) -> str:
    return "cuda" if served.on_gpus else "cpu"


def _too_many_ranks(served: Served, options: Options) -> Iterator[tuple[str, str]]:
    sizes = {
        "tensor_parallel": options.tensor_parallel or 1,
        "pipeline_parallel": options.pipeline_parallel or 1,
        "data_parallel": options.data_parallel,
    }
    product = 1
    for value in sizes.values():
        product *= value
    if product > served.gpus:
        said = " times ".join(f"{key} {value}" for key, value in sizes.items() if value > 1)
        key = next(key for key, value in sizes.items() if value > 1)
        yield (
            f"engine.{key}",
            (
                f"{said} is {product} GPUs, while each replica has {served.gpus}; the engine would not start: lower one of them, "
                "or raise gpus"
            ),
        )


def _gpu_sandbox() -> dict[str, str | tuple[str, ...]]:
    return {
        "SystemCallFilter": _PLACED,
        # The GPUs' device files, and memory pinned for transfers.
        "PrivateDevices": "no",
        "ProtectClock": "no",
        "LimitMEMLOCK": "infinity",
        # The unprivileged engine may not create the device files of unified memory, without which CUDA does not initialise.
        "ExecStartPre": "-+/usr/bin/nvidia-modprobe -u -c=0",
    }


ADAPTER = Vllm()

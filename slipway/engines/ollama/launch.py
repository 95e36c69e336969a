"""How Ollama is installed and started: a server of its own for each model, which it is given once it has started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.deployment.references import LOOPBACK
from slipway.deployment.types import Instance, Served
from slipway.engines.base import File, Launch, Probe, Program
from slipway.engines.flags import taken
from slipway.engines.ollama.options import Options
from slipway.engines.programs import from_source
from slipway.settings.models import Task

RELEASE = "0.17.4"
"""The release that was tried; which one runs is what the stack's program is."""

OWN_VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "gpu_indices",
    "OLLAMA_HOST": "engine.port",
    "OLLAMA_MODELS": "source",
    "OLLAMA_MAX_QUEUE": "engine.queue",
    "OLLAMA_NUM_PARALLEL": "engine.parallel",
    "OLLAMA_CONTEXT_LENGTH": "max_model_len",
}

_JOURNAL = {
    "weights_gib": r'msg="model weights" device=\S+ size="([0-9.]+) GiB"',
    "weights_mib": r'msg="model weights" device=\S+ size="([0-9.]+) MiB"',
    "kv_cache_gib": r'msg="kv cache" device=\S+ size="([0-9.]+) GiB"',
    "kv_cache_mib": r'msg="kv cache" device=\S+ size="([0-9.]+) MiB"',
}

_PROBES: Mapping[Task, tuple[str, Mapping[str, Any]]] = {
    Task.CHAT: ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}),
    Task.COMPLETION: ("/v1/completions", {"prompt": "Hello", "max_tokens": 1}),
    Task.EMBEDDING: ("/v1/embeddings", {"input": "Hello"}),
}


@dataclass(frozen=True)
class Ollama:
    """The adapter; see `slipway.engines.base.EngineAdapter`."""

    release: str = RELEASE
    metrics_path: str | None = None
    progress_counter: str | None = None
    bounds_queue: bool = True
    counts_texts: bool = False
    health_path: str = "/"
    native: frozenset[str] = frozenset({"chat", "completions", "embeddings", "responses", "messages"})

    def program(self, served: Served) -> Program:
        """What the stack names; which release that is nobody knows here."""
        return from_source("ollama", _options(served).program, release="")

    def gpu_share(self, served: Served) -> float:  # noqa: ARG002 -- the protocol's
        """All of each GPU: it takes what it finds free."""
        return 1.0

    def refusals(self, served: Served) -> Iterator[tuple[str, str]]:
        """What contradicts Slipway's own, and what Ollama can't do."""
        options = _options(served)
        yield from taken(options, {}, OWN_VARIABLES)
        for name in options.flags:
            yield f"engine.flags.{name}", "Ollama's server has no flags; it would not start: use engine.environment"

    def exposed(self, instance: Instance) -> str | None:
        """Why this instance must not be served: Ollama has no keys, so whoever reaches it may use it and change its models."""
        if instance.address == LOOPBACK:
            return None
        return (
            f"Ollama has no keys, and the gateway is not on {instance.machine.name}; anyone in the private network could use "
            "it and replace its model: serve it on the gateway's machine, or by an engine that asks for a key"
        )

    def launch(self, instance: Instance) -> Launch:
        """How this instance is started."""
        served, options = instance.served, _options(instance.served)
        folder = f"/etc/slipway/{instance.name}"
        model: dict[str, Any] = {
            "model": served.name,
            "file": served.files.target,
            "chat": served.settings.task is Task.CHAT,
            "parameters": {"num_ctx": served.settings.max_model_len, "num_thread": options.threads},
        }
        if options.template is not None:
            model["template"] = options.template
        environment = {
            "OLLAMA_HOST": f"{instance.address}:{instance.port}",
            "OLLAMA_MODELS": f"/var/lib/slipway/{instance.name}/models",
            "OLLAMA_NUM_PARALLEL": str(options.parallel),
            # Beyond them it answers with status 503 and {"error":"server busy, please try again.  maximum pending requests
            # exceeded"} (server/sched.go); it counts only requests that wait for the model to be had.
            "OLLAMA_MAX_QUEUE": str(options.queued(lists=served.settings.task.lists)),
            "OLLAMA_CONTEXT_LENGTH": str(served.settings.max_model_len),
            "OLLAMA_MAX_LOADED_MODELS": "1",
            "OLLAMA_KEEP_ALIVE": "-1",
            "OLLAMA_LOAD_TIMEOUT": "15m",
            # Nothing is fetched or reported.
            "OLLAMA_NO_CLOUD": "1",
        }
        if served.on_gpus:
            environment |= {
                "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                "CUDA_VISIBLE_DEVICES": ",".join(map(str, instance.gpus)),
            }
        else:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        probe = _PROBES[served.settings.task]
        return Launch(
            description=f"the engine Ollama with {served.name}",
            command=("ollama", "serve"),
            environment=environment | options.environment,
            files={"model.json": File(content=model)},
            probe=Probe(path=probe[0], body={"model": served.name, **probe[1]}),
            also={"version": "/api/version"},
            journal=_JOURNAL,
            after_start=(("ollama-create", f"{folder}/model.json"),),
            sandbox={"PrivateDevices": "no", "LimitMEMLOCK": "infinity"}
            if served.on_gpus
            else {"MemoryDenyWriteExecute": "yes"},
        )


def _options(served: Served) -> Options:
    options = served.settings.engine
    if not isinstance(options, Options):
        raise TypeError(options)
    return options


ADAPTER = Ollama()

"""Stack documents for tests: good ones, and a way to change one key of them."""

import copy
from collections.abc import Sequence
from typing import Any

from slipway.engines.registry import options

GOOD_KEY = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
OTHER_KEY = "0f9e8d7c6b5a493827160f5e4d3c2b1a"
THIRD_KEY = "13579bdf02468ace13579bdf02468ace"
PROGRAM = {"url": "http://mirror.test/p", "sha256": "a" * 64}
"""An engine's program that a stack brings."""
REMOVED = object()
"""As a value of `changed`: the key is taken out."""


def good() -> dict[str, Any]:
    """A complete document: one host, one model, one team."""
    return {
        "pools": {"main": {"hosts": {"gpu-1": {"address": "10.0.0.11", "user": "ubuntu"}}}},
        "models": {"m": {"source": {"host_path": "/srv/models/m"}}},
        "gateway": {"teams": {"a": {"key": GOOD_KEY}}},
    }


def pair() -> dict[str, Any]:
    """A complete document with two hosts, each with a replica of the model."""
    document = good()
    document["pools"]["main"]["hosts"]["gpu-2"] = {"address": "10.0.0.12", "user": "ubuntu"}
    document["gateway"]["engine_key"] = OTHER_KEY
    return document


def many() -> dict[str, Any]:
    """Everything at once: GPUs, a CPU, replicas, an embedding model, providers, a shared-out name, private teams."""
    return {
        "pools": {
            "gpu": {
                "tier": "prod",
                "hosts": {
                    "gpu-1": {"address": "203.0.113.11", "private_address": "10.0.0.11", "user": "ubuntu"},
                    "gpu-2": {"address": "203.0.113.12", "private_address": "10.0.0.12", "user": "ubuntu"},
                },
            },
            "cpu": {"hosts": {"cpu-1": {"address": "10.0.0.21", "user": "ubuntu"}}},
            "edge": {"hosts": {"edge-1": {"address": "10.0.0.31", "user": "ubuntu", "port": 2222}}},
        },
        "models": {
            "llama-3.3-70b": {
                "catalog": "meta-llama/Llama-3.3-70B-Instruct",
                "source": {"host_path": "/srv/models/Llama-3.3-70B-Instruct"},
                "gpus": 4,
                "replicas": 3,
                "max_output_tokens": 4096,
                "aliases": ["llama", "default"],
                "fallbacks": ["gpt-5"],
                "engine": {"gpu_memory_utilization": 0.9, "max_num_seqs": 64, "flags": {"enforce-eager": True}},
            },
            "qwen-1.5b": {
                "catalog": "Qwen/Qwen2.5-1.5B-Instruct",
                "source": {"hub": "Qwen/Qwen2.5-1.5B-Instruct", "revision": "0" * 40, "token": "hf-token"},
                "gpus": 1,
                "replicas": 1,
                "private": True,
                "engine": {"max_num_seqs": 32, "environment": {"OMP_NUM_THREADS": "1"}},
            },
            "embedder": {
                "task": "embedding",
                "pool": "cpu",
                "source": {"host_path": "/home/models/bge-m3"},
                "max_model_len": 4096,
                "replicas": 2,
            },
            "gpt-5": {"provider": "openai", "context_window": 128000, "max_output_tokens": 16384},
            "desktop": {"provider": "lm-studio", "model": "qwen3-8b", "fallbacks": ["qwen-1.5b"], "aliases": ["desk"]},
            "chat": {"targets": {"llama-3.3-70b": 9, "desktop": 1}},
        },
        "providers": {
            "openai": {"key": "sk-openai-canary"},
            "lm-studio": {"kind": "openai_compatible", "url": "http://10.9.9.9:1234/v1"},
        },
        "gateway": {
            "engine_key": OTHER_KEY,
            "request_timeout_s": 450,
            "teams": {
                "assistant": {"key": GOOD_KEY, "requests_per_minute": 3000, "tokens_per_minute": 90000},
                "legal": {"key": THIRD_KEY, "private": True, "models": ["llama", "embedder"]},
            },
        },
        "front": {
            "server_name": "llm.example.com",
            "extra_names": ["llm.internal"],
            "port": 8443,
            "allowed_networks": ["10.0.0.0/8"],
        },
    }


def changed(document: dict[str, Any], path: str | Sequence[str | int], value: Any) -> dict[str, Any]:
    """A copy of `document` with the key at `path` (``a.b``, or its keys where one has a dot) set to `value`."""
    result = copy.deepcopy(document)
    current: Any = result
    *folders, last = path.split(".") if isinstance(path, str) else path
    for part in folders:
        current = current[int(part)] if isinstance(current, list) else current.setdefault(part, {})
    if value is REMOVED:
        del current[last]
    else:
        current[int(last) if isinstance(current, list) else last] = value
    return result


def with_changes(document: dict[str, Any], *changes: tuple[str | Sequence[str | int], Any]) -> dict[str, Any]:
    """A copy of `document` with several keys set."""
    for path, value in changes:
        document = changed(document, path, value)
    return document


def able(form: str, task: str) -> str:
    """The engines that read this format and serve this task, as mends name them: some, and not all."""
    found = [name for name, each in options().items() if form in each.READS and task in each.TASKS]
    assert 0 < len(found) < len(options())
    return " or ".join(found)


def model_of(engine: str, **more: Any) -> dict[str, Any]:
    """A model that the engine serves, with what it can't do without and `more` of its options."""
    known = options()[engine]
    field = known.model_fields.get("program")
    needed = {"program": PROGRAM} if field is not None and field.is_required() else {}
    file = "/srv/m" if "huggingface" in known.READS else "/srv/m.gguf"
    return {"source": {"host_path": file}, "engine": {"name": engine, **needed, **more}}

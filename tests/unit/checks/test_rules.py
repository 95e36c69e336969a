"""Each rule: what it says, how much that weighs, and of which setting; and stacks of which it says nothing."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from slipway.catalog import load
from slipway.checks import Severity, check, findings, fit
from slipway.checks.compatibility import needs, table
from slipway.checks.names import names
from slipway.engines import adapter
from slipway.settings import parse
from slipway.sizing.config import read_config
from slipway.sizing.engines import MODELS
from tests.unit.checks.stacks import LLAMA_8B, QWEN_1B, found, stack, subject

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"
QWEN_AWQ = "Qwen/Qwen2.5-32B-Instruct-AWQ"
L4 = ("hardware.gpu", "l4")
T4 = ("hardware.gpu", "t4")
H100 = ("hardware.gpu", "h100-sxm-80gb")
AUTO = "enable-auto-tool-choice"


FOUND: dict[str, tuple[str, list[tuple[str, Any]], str, Severity, str, str]] = {
    "too large": (
        LLAMA_70B,
        [L4],
        "sizing.fit",
        ERROR,
        "model",
        "no memory is left for the KV cache: weights 131",
    ),
    "context": (
        LLAMA_8B,
        [L4, ("model.max_model_len", 131072)],
        "sizing.fit",
        ERROR,
        "model.max_model_len",
        "one request of 131072 tokens takes 16.00 GiB of KV cache and ",
    ),
    "context beyond the model": (
        QWEN_1B,
        [("model.max_model_len", 999999)],
        "sizing.fit",
        ERROR,
        "model.max_model_len",
        "a context of 999999 tokens is more than the 32768 that the model knows",
    ),
    "ranks": (
        QWEN_1B,
        [("hardware", {"gpu": "l4", "gpus": 8}), ("engine.tensor_parallel", 5)],
        "sizing.fit",
        ERROR,
        "engine.tensor_parallel",
        "tensor parallel 5 does not divide the model's 12 attention heads",
    ),
    "idle": (
        QWEN_1B,
        [("hardware", {"gpu": "l4", "gpus": 4}), ("engine.tensor_parallel", 2)],
        "sizing.idle-gpus",
        WARNING,
        "engine.tensor_parallel",
        "2 x pipeline_parallel 1 x data_parallel 1 uses 2 of 4 GPUs; 2 would be idle on every host: ",
    ),
    "idle beside copies": (
        QWEN_1B,
        [("hardware", {"gpu": "l4", "gpus": 8}), ("engine", {"tensor_parallel": 2, "data_parallel": 3})],
        "sizing.idle-gpus",
        WARNING,
        "engine.tensor_parallel",
        "2 x pipeline_parallel 1 x data_parallel 3 uses 6 of 8 GPUs; 2 would be idle on every host: ",
    ),
    "more at once than fit in a copy": (
        QWEN_1B,
        [("hardware", {"gpu": "l4", "gpus": 2}), ("engine", {"max_num_seqs": 1000, "data_parallel": 2})],
        "sizing.concurrency",
        WARNING,
        "engine.max_num_seqs",
        "1000 requests at once in each copy, while the KV cache of ",
    ),
    "more at once than fit": (
        QWEN_1B,
        [("engine", {"max_num_seqs": 1000, "cpu_kv_cache_gib": 1})],
        "sizing.concurrency",
        WARNING,
        "engine.max_num_seqs",
        "1000 requests at once, while the KV cache of ",
    ),
    "more at once than fit, by default": (
        QWEN_1B,
        [("engine", {"cpu_kv_cache_gib": 1})],
        "sizing.concurrency",
        NOTE,
        "engine.max_num_seqs",
        "256 requests at once, while the KV cache of ",
    ),
    "AMD": (
        QWEN_1B,
        [("hardware.tier", "mi300x-8")],
        "compatibility.vendor",
        ERROR,
        "hardware.gpu",
        "AMD Instinct MI300X is no NVIDIA GPU; the engine's build is for CUDA and would not start: ",
    ),
    "driver": (
        QWEN_1B,
        [L4],
        "compatibility.driver",
        NOTE,
        "hardware.gpus",
        "vllm 0.32.0 is built with CUDA 13.0; with a driver older than 580.65.06 it would not start: ",
    ),
    "bfloat16 asked for": (
        QWEN_1B,
        [T4, ("engine.dtype", "bfloat16")],
        "compatibility.dtype",
        ERROR,
        "engine.dtype",
        "NVIDIA T4 (compute capability 7.5) has no bfloat16; the engine would not start: use float16",
    ),
    "bfloat16 of the model": (
        QWEN_1B,
        [T4],
        "compatibility.dtype",
        WARNING,
        "engine.dtype",
        "NVIDIA T4 (compute capability 7.5) has no bfloat16, and the model was made in it; ",
    ),
    "quantization on the GPU": (
        QWEN_1B,
        [T4, ("engine", {"quantization": "mxfp4", "dtype": "float16"})],
        "compatibility.quantization",
        ERROR,
        "engine.quantization",
        "MXFP4, a scale per 32 weights needs compute capability 8 or later, and NVIDIA T4 has 7.5; the engine would not start: ",
    ),
    "quantization on the CPU": (
        QWEN_1B,
        [("engine.quantization", "fp8")],
        "compatibility.quantization",
        ERROR,
        "engine.quantization",
        "FP8 W8A8, a scale per tensor or channel has no kernels for the CPU; the engine would not start: ",
    ),
    "quantization unknown": (
        QWEN_1B,
        [L4, ("engine.quantization", "own-format")],
        "compatibility.quantization-unknown",
        WARNING,
        "engine.quantization",
        "'own-format' is not in the catalogue; whether this hardware runs it was not checked: use one of experts_int8, fp8, ",
    ),
    "quantization unknown to the engine": (
        QWEN_1B,
        [L4, ("engine.quantization", "own-format")],
        "compatibility.quantization-engine",
        ERROR,
        "engine.quantization",
        "vllm 0.32.0 has no quantization 'own-format'; the engine would not start: use one of experts_int8, fp8, ",
    ),
    "quantization under the catalogue's name": (
        QWEN_1B,
        [L4, ("engine.quantization", "fp8-block")],
        "compatibility.quantization-engine",
        ERROR,
        "engine.quantization",
        "vllm 0.32.0 has no quantization 'fp8-block'; the engine would not start: use fp8_per_block",
    ),
    "quantization that left the engine": (
        QWEN_1B,
        [L4, ("engine.quantization", "bitsandbytes")],
        "compatibility.quantization-engine",
        ERROR,
        "engine.quantization",
        "vllm 0.32.0 has no quantization 'bitsandbytes'; the engine would not start: use one of experts_int8, fp8, ",
    ),
    "quantized twice": (
        QWEN_AWQ,
        [("hardware.tier", "team"), ("engine.quantization", "fp8")],
        "compatibility.quantization-twice",
        ERROR,
        "engine.quantization",
        "fp8 is asked for, and the checkpoint is stored as awq; the engine would not start: ",
    ),
    "quantized beforehand": (
        QWEN_1B,
        [L4, ("engine.quantization", "awq")],
        "compatibility.quantization-stored",
        ERROR,
        "engine.quantization",
        "awq is made beforehand, and the checkpoint has bfloat16 weights; the engine would not start: ",
    ),
    "own flag": (
        QWEN_1B,
        [("engine.flags", {"max-model-len": 5})],
        "flags.owned",
        ERROR,
        "engine.flags.max-model-len",
        "Slipway sets this flag itself; two values would contradict: use model.max_model_len",
    ),
    "own flag by its other name": (
        QWEN_1B,
        [("engine.flags", {"device-memory-utilization": 0.5})],
        "flags.owned",
        ERROR,
        "engine.flags.device-memory-utilization",
        "Slipway sets this flag itself; two values would contradict: use engine.gpu_memory_utilization",
    ),
    "own variable": (
        QWEN_1B,
        [("engine.environment", {"VLLM_CPU_KVCACHE_SPACE": "2"})],
        "flags.owned",
        ERROR,
        "engine.environment.VLLM_CPU_KVCACHE_SPACE",
        "overrides a flag that Slipway sets; two values would contradict: use engine.cpu_kv_cache_gib",
    ),
    "unknown flag": (
        QWEN_1B,
        [("engine.flags", {"enforce-eagre": True})],
        "flags.unknown",
        WARNING,
        "engine.flags.enforce-eagre",
        "vllm 0.32.0 has no such flag; the engine would not start: did you mean enforce-eager?",
    ),
    "flag like no other": (
        QWEN_1B,
        [("engine.flags", {"zzz": True})],
        "flags.unknown",
        WARNING,
        "engine.flags.zzz",
        "vllm 0.32.0 has no such flag; the engine would not start: remove it, or look it up in the engine's documentation",
    ),
    "tools without a parser": (
        QWEN_1B,
        [("engine.flags", {AUTO: True})],
        "flags.parser-missing",
        ERROR,
        "engine.flags.enable-auto-tool-choice",
        "needs tool-call-parser; the engine would not start: add tool-call-parser: hermes",
    ),
    "unknown parser": (
        QWEN_1B,
        [("engine.flags", {AUTO: True, "tool-call-parser": "herms"})],
        "flags.parser-unknown",
        ERROR,
        "engine.flags.tool-call-parser",
        "vllm 0.32.0 has no parser 'herms'; the engine would not start: use hermes",
    ),
    "unknown reasoning parser": (
        QWEN_1B,
        [("engine.flags", {"reasoning-parser": "qwen33"})],
        "flags.parser-unknown",
        ERROR,
        "engine.flags.reasoning-parser",
        "vllm 0.32.0 has no parser 'qwen33'; the engine would not start: use qwen3",
    ),
    "another model's parser": (
        QWEN_1B,
        [("engine.flags", {AUTO: True, "tool-call-parser": "mistral"})],
        "flags.parser",
        WARNING,
        "engine.flags.tool-call-parser",
        "mistral reads another format than the model writes; what it writes would reach clients as plain text: use hermes",
    ),
    "no parser": (
        QWEN_1B,
        [],
        "flags.parsers",
        NOTE,
        "engine.flags",
        "what Qwen/Qwen2.5-1.5B-Instruct writes for tools or thinks reaches clients as plain text: for their own fields add "
        "enable-auto-tool-choice: true, tool-call-parser: hermes",
    ),
    "licence with terms": (
        LLAMA_8B,
        [H100],
        "model.licence",
        NOTE,
        "model.catalog",
        "meta-llama/Llama-3.1-8B-Instruct comes under ",
    ),
    "key file": (
        QWEN_1B,
        [("hosts.0.key_file", "/nowhere/id")],
        "settings.files",
        NOTE,
        "hosts[0].key_file",
        "/nowhere/id does not exist; gpu-1 could not be reached: ",
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_what_is_wrong_is_found(case: str) -> None:
    model, changes, identity, severity, where, begins = FOUND[case]
    finding = found(*changes, model=model)[identity]
    assert finding.severity is severity
    assert finding.where == f"slipway:platform.{where}"
    assert finding.message.startswith(begins)
    assert "\n" not in finding.message


CLEAN: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "on the CPU": (QWEN_1B, []),
    "on a GPU": (QWEN_1B, [L4]),
    "fp8 where it runs": (LLAMA_8B, [H100, ("engine", {"quantization": "fp8", "kv_cache_dtype": "fp8"})]),
    "awq where it runs": (QWEN_AWQ, [("hardware.tier", "team"), ("engine.quantization", "awq")]),
    "float16 on Turing": (QWEN_1B, [T4, ("engine.dtype", "float16")]),
    "its own parser": (QWEN_1B, [("engine.flags", {AUTO: True, "tool-call-parser": "hermes"})]),
    "its parser by another name": (QWEN_1B, [("engine.flags", {AUTO: True, "tool-call-parser": "qwen3_json"})]),
    "a parser of one's own": (
        QWEN_1B,
        [("engine.flags", {AUTO: True, "tool-call-parser": "mine", "tool-parser-plugin": "/srv/mine.py"})],
    ),
    "a switch turned off": (QWEN_1B, [("engine.flags", {"no-enable-prefix-caching": True})]),
    "copies on all GPUs": (
        QWEN_1B,
        [("hardware", {"gpu": "l4", "gpus": 8}), ("engine", {"data_parallel": 4, "tensor_parallel": 2})],
    ),
    "an abbreviation": (QWEN_1B, [("engine.flags", {"enable-prefix-cach": True})]),
}


@pytest.mark.parametrize("case", CLEAN)
def test_what_is_right_is_not_found_fault_with(case: str) -> None:
    model, changes = CLEAN[case]
    assert [finding.line for finding in findings(subject(*changes, model=model)) if finding.severity is not NOTE] == []


def test_what_does_not_fit_comes_with_what_would() -> None:
    message = found(L4, model=LLAMA_70B)["sizing.fit"].message
    _, _, mends = message.partition("; what would do: ")
    assert 1 <= mends.count("KV tokens") <= 3
    assert mends


def test_an_engine_is_not_spread_over_hosts() -> None:
    message = found(("hardware.tier", "prod"), model="deepseek-ai/DeepSeek-R1")["sizing.fit"].message
    assert "; what would do: gpu: h200-sxm-141gb (" in message
    assert "16 GPUs" not in message


def test_more_copies_than_fit_come_with_how_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "SUGGESTIONS", 99)
    message = found(("hardware.tier", "prod"), ("engine.data_parallel", 8), model=LLAMA_70B)["sizing.fit"].message
    assert "; what would do: data_parallel: 2, tensor_parallel: 4 (" in message
    fitting = findings(
        subject(("hardware.tier", "prod"), ("engine", {"data_parallel": 2, "tensor_parallel": 4}), model=LLAMA_70B)
    )
    assert not [finding.line for finding in fitting if finding.severity is ERROR]
    # Each of eight copies can have no second GPU on a host of eight.
    assert " GPUs, tensor_parallel: " not in message
    assert "for each copy (" in message


MENDS: dict[str, tuple[str, list[tuple[str, Any]], str]] = {
    "memory of GPUs": (LLAMA_70B, [L4], f"; what would do: {fit.NOTHING_FITS}"),
    "room on the CPU": (QWEN_1B, [("engine.cpu_kv_cache_gib", 0.01)], f"; what would do: {fit.MORE_ROOM}"),
    # These say themselves what to do.
    "ranks": (QWEN_1B, [("hardware", {"gpu": "l4", "gpus": 5}), ("engine.tensor_parallel", 5)], ""),
}


@pytest.mark.parametrize("case", MENDS)
def test_where_no_single_change_helps_there_is_a_mend_still(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    model, changes, mend = MENDS[case]
    monkeypatch.setattr(fit, "suggestions", lambda *_: ())
    message = found(*changes, model=model)["sizing.fit"].message
    assert message.endswith(mend)
    assert message.count("; what would do: ") == bool(mend)


def test_a_gpu_that_the_release_has_no_kernels_for_is_an_error() -> None:
    looked_at = subject(T4, ("engine.dtype", "float16"))
    assert looked_at.gpu is not None
    volta = structs.replace(looked_at.gpu, name="NVIDIA V100", compute_capability="7.0")
    (finding,) = [f for f in findings(replace(looked_at, gpu=volta)) if f.severity is ERROR]
    assert (finding.id, finding.where) == ("compatibility.capability", "slipway:platform.hardware.gpu")
    assert finding.message == (
        "NVIDIA V100 has compute capability 7.0, and vllm 0.32.0 is built for 7.5 and later; the engine would not start: "
        "use a newer GPU"
    )


def test_the_weighty_comes_first() -> None:
    severities = [finding.severity for finding in check(parse(stack(T4, ("engine.dtype", "bfloat16")), "s"), load())]
    assert severities == sorted(severities, key=list(Severity).index)
    assert {ERROR, NOTE} <= set(severities)


def test_a_missing_model_folder_is_said_once() -> None:
    lines = [
        f for f in findings(subject(("model.source", {"path": "/nowhere/m"}), model=None)) if "/nowhere/m" in f.line
    ]
    assert [(finding.id, finding.severity) for finding in lines] == [("sizing.not-checked", WARNING)]


class TestTables:
    """What is known of the engine is known of the release that is deployed."""

    def test_the_release_is_in_the_table(self) -> None:
        engine = adapter("vllm")
        known = names("vllm")
        assert known is not None
        assert known.release == engine.release == MODELS["vllm"].deployed_version == load().engines["vllm"].version
        assert needs("vllm", engine.release) is not None

    def test_every_row_has_a_driver(self) -> None:
        assert all(needs(row.engine, row.release) is not None for row in table().releases)

    def test_an_unknown_release_is_not_guessed(self) -> None:
        assert needs("vllm", "9.9.9") is None

    def test_checkpoints_of_the_catalogue_can_be_loaded(self) -> None:
        known = names("vllm")
        assert known is not None
        stored = [read_config(model.config, model.id).quantization for model in load().models.values()]
        assert {entry.method for entry in stored if entry is not None} <= known.quantizations

    def test_recommended_parsers_exist(self) -> None:
        known = names("vllm")
        assert known is not None
        parsers = [model.parsers for model in load().models.values()]
        assert {entry.tool_call for entry in parsers if entry.tool_call} <= known.tool_parsers.keys()
        assert {entry.reasoning for entry in parsers if entry.reasoning} <= known.reasoning_parsers.keys()

    def test_slipways_own_flags_exist(self) -> None:
        known = names("vllm")
        assert known is not None
        for changes in ([], [H100], [("hardware.tier", "prod"), ("engine.pipeline_parallel", 2)]):
            assert adapter("vllm").flags(subject(*changes).settings).keys() <= known.flags

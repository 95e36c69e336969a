"""Each rule: what it says, how much that weighs, and of which setting; and stacks of which it says nothing."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from slipway.catalog import load
from slipway.checks import compatibility, fit, flags
from slipway.checks.rules import findings
from slipway.deployment.types import Parallelism
from slipway.engines.names import names
from slipway.engines.registry import adapter, options, packages
from slipway.engines.releases import needs, releases
from slipway.engines.vllm.launch import ADAPTER
from slipway.findings import Severity
from slipway.sizing.config import read_config
from slipway.sizing.engines import MODELS
from tests.unit.checks.stacks import all_found, found
from tests.unit.deployment.stacks import LLAMA_8B, LLAMA_70B, QWEN_1B, deployment, served, stack
from tests.unit.settings.documents import PROGRAM, model_of

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
QWEN_AWQ = "Qwen/Qwen2.5-32B-Instruct-AWQ"
L4 = ("pools.main.gpu", "l4")
T4 = ("pools.main.gpu", "t4")
H100 = ("pools.main.gpu", "h100-sxm-80gb")
AUTO = "enable-auto-tool-choice"


def L4S(count: int) -> list[tuple[str, Any]]:  # noqa: N802 -- beside the constants
    return [L4, ("pools.main.gpus", count)]


FOUND: dict[str, tuple[str, list[tuple[str, Any]], str, Severity, str, str]] = {
    "too large": (
        LLAMA_70B,
        [L4],
        "sizing.fit",
        ERROR,
        "models.m",
        "no memory is left for the KV cache: weights 131",
    ),
    "context": (
        LLAMA_8B,
        [L4, ("models.m.max_model_len", 131072)],
        "sizing.fit",
        ERROR,
        "models.m.max_model_len",
        "one request of 131072 tokens takes 16.00 GiB of KV cache and ",
    ),
    "context beyond the model": (
        QWEN_1B,
        [("models.m.max_model_len", 999999)],
        "sizing.fit",
        ERROR,
        "models.m.max_model_len",
        "a context of 999999 tokens is more than the 32768 that the model knows",
    ),
    "ranks": (
        QWEN_1B,
        [*L4S(8), ("models.m.engine.tensor_parallel", 5)],
        "sizing.fit",
        ERROR,
        "models.m.engine.tensor_parallel",
        "tensor parallel 5 does not divide the model's 12 attention heads",
    ),
    "idle": (
        QWEN_1B,
        [*L4S(4), ("models.m.engine.tensor_parallel", 2)],
        "sizing.idle-gpus",
        WARNING,
        "models.m.engine.tensor_parallel",
        "2 x pipeline_parallel 1 x data_parallel 1 uses 2 of 4 GPUs; 2 would be idle in every replica: ",
    ),
    "idle beside copies": (
        QWEN_1B,
        [*L4S(8), ("models.m.engine", {"tensor_parallel": 2, "data_parallel": 3})],
        "sizing.idle-gpus",
        WARNING,
        "models.m.engine.tensor_parallel",
        "2 x pipeline_parallel 1 x data_parallel 3 uses 6 of 8 GPUs; 2 would be idle in every replica: ",
    ),
    "more at once than fit in a copy": (
        QWEN_1B,
        [*L4S(2), ("models.m.engine", {"max_num_seqs": 1000, "data_parallel": 2})],
        "sizing.concurrency",
        WARNING,
        "models.m.engine.max_num_seqs",
        "1000 requests at once in each copy, while the KV cache of ",
    ),
    "more at once than fit": (
        QWEN_1B,
        [("models.m.engine", {"max_num_seqs": 1000, "cpu_kv_cache_gib": 1})],
        "sizing.concurrency",
        WARNING,
        "models.m.engine.max_num_seqs",
        "1000 requests at once, while the KV cache of ",
    ),
    "more at once than fit, by default": (
        QWEN_1B,
        [("models.m.engine", {"cpu_kv_cache_gib": 1})],
        "sizing.concurrency",
        NOTE,
        "models.m.engine.max_num_seqs",
        "256 requests at once, while the KV cache of ",
    ),
    "AMD": (
        QWEN_1B,
        [("pools.main.tier", "mi300x-8")],
        "compatibility.vendor",
        ERROR,
        "pools.main.gpu",
        "AMD Instinct MI300X is no NVIDIA GPU; the engine's build is for CUDA and would not start: ",
    ),
    "driver": (
        QWEN_1B,
        [L4, ("pools.main.driver.source", "present")],
        "compatibility.driver",
        NOTE,
        "pools.main.driver.source",
        "vllm 0.32.0 is built with CUDA 13.0; with a driver older than 580.65.06 it would not start: ",
    ),
    "bfloat16 asked for": (
        QWEN_1B,
        [T4, ("models.m.engine.dtype", "bfloat16")],
        "compatibility.dtype",
        ERROR,
        "models.m.engine.dtype",
        "NVIDIA T4 (compute capability 7.5) has no bfloat16; the engine would not start: use float16",
    ),
    "bfloat16 of the model": (
        QWEN_1B,
        [T4],
        "compatibility.dtype",
        WARNING,
        "models.m.engine.dtype",
        "NVIDIA T4 (compute capability 7.5) has no bfloat16, and the model was made in it; ",
    ),
    "quantization on the GPU": (
        QWEN_1B,
        [T4, ("models.m.engine", {"quantization": "mxfp4", "dtype": "float16"})],
        "compatibility.quantization",
        ERROR,
        "models.m.engine.quantization",
        "MXFP4, a scale per 32 weights needs compute capability 8 or later, and NVIDIA T4 has 7.5; the engine would not start: ",
    ),
    "quantization on the CPU": (
        QWEN_1B,
        [("models.m.engine.quantization", "fp8")],
        "compatibility.quantization",
        ERROR,
        "models.m.engine.quantization",
        "FP8 W8A8, a scale per tensor or channel has no kernels for the CPU; the engine would not start: ",
    ),
    "quantization unknown": (
        QWEN_1B,
        [L4, ("models.m.engine.quantization", "own-format")],
        "compatibility.quantization-unknown",
        WARNING,
        "models.m.engine.quantization",
        "'own-format' is not in the catalogue; whether this hardware runs it was not checked: use one of experts_int8, fp8, ",
    ),
    "quantization unknown to the engine": (
        QWEN_1B,
        [L4, ("models.m.engine.quantization", "own-format")],
        "compatibility.quantization-engine",
        ERROR,
        "models.m.engine.quantization",
        "vllm 0.32.0 has no quantization 'own-format'; the engine would not start: use one of experts_int8, fp8, ",
    ),
    "quantization under the catalogue's name": (
        QWEN_1B,
        [L4, ("models.m.engine.quantization", "fp8-block")],
        "compatibility.quantization-engine",
        ERROR,
        "models.m.engine.quantization",
        "vllm 0.32.0 has no quantization 'fp8-block'; the engine would not start: use fp8_per_block",
    ),
    "quantization that left the engine": (
        QWEN_1B,
        [L4, ("models.m.engine.quantization", "bitsandbytes")],
        "compatibility.quantization-engine",
        ERROR,
        "models.m.engine.quantization",
        "vllm 0.32.0 has no quantization 'bitsandbytes'; the engine would not start: use one of experts_int8, fp8, ",
    ),
    "quantized twice": (
        QWEN_AWQ,
        [("pools.main.tier", "team"), ("models.m.engine.quantization", "fp8")],
        "compatibility.quantization-twice",
        ERROR,
        "models.m.engine.quantization",
        "fp8 is asked for, and the checkpoint is stored as awq; the engine would not start: ",
    ),
    "quantized beforehand": (
        QWEN_1B,
        [L4, ("models.m.engine.quantization", "awq")],
        "compatibility.quantization-stored",
        ERROR,
        "models.m.engine.quantization",
        "awq is made beforehand, and the checkpoint has bfloat16 weights; the engine would not start: ",
    ),
    "more ranks than GPUs": (
        QWEN_1B,
        [*L4S(2), ("models.m.engine.tensor_parallel", 4)],
        "flags.owned",
        ERROR,
        "models.m.engine.tensor_parallel",
        "tensor_parallel 4 is 4 GPUs, while each replica has 2; the engine would not start: lower one of them, or raise gpus",
    ),
    "more ranks than a replica's GPUs": (
        QWEN_1B,
        [*L4S(4), ("models.m.gpus", 2), ("models.m.engine.pipeline_parallel", 4)],
        "flags.owned",
        ERROR,
        "models.m.engine.pipeline_parallel",
        "pipeline_parallel 4 is 4 GPUs, while each replica has 2; the engine would not start: lower one of them, or raise gpus",
    ),
    "more copies than GPUs": (
        QWEN_1B,
        [*L4S(2), ("models.m.engine.data_parallel", 4)],
        "flags.owned",
        ERROR,
        "models.m.engine.data_parallel",
        "data_parallel 4 is 4 GPUs, while each replica has 2; the engine would not start: lower one of them, or raise gpus",
    ),
    "stages of more ranks than GPUs": (
        QWEN_1B,
        [*L4S(4), ("models.m.engine", {"tensor_parallel": 4, "pipeline_parallel": 2})],
        "flags.owned",
        ERROR,
        "models.m.engine.tensor_parallel",
        "tensor_parallel 4 times pipeline_parallel 2 is 8 GPUs, while each replica has 4; the engine would not start: lower "
        "one of them, or raise gpus",
    ),
    "copies of more ranks than GPUs": (
        QWEN_1B,
        [*L4S(4), ("models.m.engine", {"tensor_parallel": 4, "data_parallel": 2})],
        "flags.owned",
        ERROR,
        "models.m.engine.tensor_parallel",
        "tensor_parallel 4 times data_parallel 2 is 8 GPUs, while each replica has 4; the engine would not start: lower one of "
        "them, or raise gpus",
    ),
    "copies of stages of more ranks than GPUs": (
        QWEN_1B,
        [*L4S(4), ("models.m.engine", {"tensor_parallel": 2, "pipeline_parallel": 2, "data_parallel": 2})],
        "flags.owned",
        ERROR,
        "models.m.engine.tensor_parallel",
        "tensor_parallel 2 times pipeline_parallel 2 times data_parallel 2 is 8 GPUs, while each replica has 4; the engine "
        "would not start: lower one of them, or raise gpus",
    ),
    "copies on the CPU": (
        QWEN_1B,
        [("models.m.engine.data_parallel", 2)],
        "flags.owned",
        ERROR,
        "models.m.engine.data_parallel",
        "needs GPUs; on the CPU the engine would not start: remove it, or give gpus",
    ),
    "stages on the CPU": (
        QWEN_1B,
        [("models.m.engine.pipeline_parallel", 2)],
        "flags.owned",
        ERROR,
        "models.m.engine.pipeline_parallel",
        "needs GPUs; on the CPU the engine would not start: remove it, or give gpus",
    ),
    "own variable of the GPUs": (
        QWEN_1B,
        [L4, ("models.m.engine.environment", {"CUDA_VISIBLE_DEVICES": "0"})],
        "flags.owned",
        ERROR,
        "models.m.engine.environment.CUDA_VISIBLE_DEVICES",
        "overrides a flag that Slipway sets; two values would contradict: use gpu_indices",
    ),
    "a kind of GPU that is not known": (
        QWEN_1B,
        [("pools.main.gpus", 1)],
        "sizing.not-checked",
        WARNING,
        "pools.main.gpu",
        "is not given; whether the model fits was not checked: name the GPU there, or a tier in tier",
    ),
    "own flag": (
        QWEN_1B,
        [("models.m.engine.flags", {"max-model-len": 5})],
        "flags.owned",
        ERROR,
        "models.m.engine.flags.max-model-len",
        "Slipway sets this flag itself; two values would contradict: use max_model_len",
    ),
    "own flag by its other name": (
        QWEN_1B,
        [("models.m.engine.flags", {"device-memory-utilization": 0.5})],
        "flags.owned",
        ERROR,
        "models.m.engine.flags.device-memory-utilization",
        "Slipway sets this flag itself; two values would contradict: use engine.gpu_memory_utilization",
    ),
    "own variable": (
        QWEN_1B,
        [("models.m.engine.environment", {"VLLM_CPU_KVCACHE_SPACE": "2"})],
        "flags.owned",
        ERROR,
        "models.m.engine.environment.VLLM_CPU_KVCACHE_SPACE",
        "overrides a flag that Slipway sets; two values would contradict: use engine.cpu_kv_cache_gib",
    ),
    "unknown flag": (
        QWEN_1B,
        [("models.m.engine.flags", {"enforce-eagre": True})],
        "flags.unknown",
        WARNING,
        "models.m.engine.flags.enforce-eagre",
        "vllm 0.32.0 has no such flag; the engine would not start: did you mean enforce-eager?",
    ),
    "flag like no other": (
        QWEN_1B,
        [("models.m.engine.flags", {"zzz": True})],
        "flags.unknown",
        WARNING,
        "models.m.engine.flags.zzz",
        "vllm 0.32.0 has no such flag; the engine would not start: remove it, or look it up in the engine's documentation",
    ),
    "tools without a parser": (
        QWEN_1B,
        [("models.m.engine", {"parsers": False, "flags": {AUTO: True}})],
        "flags.parser-missing",
        ERROR,
        "models.m.engine.flags.enable-auto-tool-choice",
        "needs tool-call-parser; the engine would not start: add tool-call-parser: hermes",
    ),
    "unknown parser": (
        QWEN_1B,
        [("models.m.engine.flags", {AUTO: True, "tool-call-parser": "herms"})],
        "flags.parser-unknown",
        ERROR,
        "models.m.engine.flags.tool-call-parser",
        "vllm 0.32.0 has no parser 'herms'; the engine would not start: use hermes",
    ),
    "unknown reasoning parser": (
        QWEN_1B,
        [("models.m.engine.flags", {"reasoning-parser": "qwen33"})],
        "flags.parser-unknown",
        ERROR,
        "models.m.engine.flags.reasoning-parser",
        "vllm 0.32.0 has no parser 'qwen33'; the engine would not start: use qwen3",
    ),
    "another model's parser": (
        QWEN_1B,
        [("models.m.engine.flags", {AUTO: True, "tool-call-parser": "mistral"})],
        "flags.parser",
        WARNING,
        "models.m.engine.flags.tool-call-parser",
        "mistral reads another format than the model writes; what it writes would reach clients as plain text: use hermes",
    ),
    "no parser": (
        QWEN_1B,
        [("models.m.engine.parsers", False)],
        "flags.parsers",
        NOTE,
        "models.m.engine.flags",
        "what Qwen/Qwen2.5-1.5B-Instruct writes for tools or thinks reaches clients as plain text: for their own fields "
        "leave parsers on, or add enable-auto-tool-choice: true, tool-call-parser: hermes",
    ),
    "licence with terms": (
        LLAMA_8B,
        [H100],
        "model.licence",
        NOTE,
        "models.m.catalog",
        "meta-llama/Llama-3.1-8B-Instruct comes under ",
    ),
    "key file": (
        QWEN_1B,
        [("pools.main.hosts.gpu-1.key_file", "/nowhere/id")],
        "settings.files",
        NOTE,
        "pools.main.hosts.gpu-1.key_file",
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
    "fp8 where it runs": (LLAMA_8B, [H100, ("models.m.engine", {"quantization": "fp8", "kv_cache_dtype": "fp8"})]),
    "awq where it runs": (QWEN_AWQ, [("pools.main.tier", "team"), ("models.m.engine.quantization", "awq")]),
    "float16 on Turing": (QWEN_1B, [T4, ("models.m.engine.dtype", "float16")]),
    "tools by the catalogue's parser": (QWEN_1B, [("models.m.engine.flags", {AUTO: True})]),
    "its own parser": (QWEN_1B, [("models.m.engine.flags", {AUTO: True, "tool-call-parser": "hermes"})]),
    "its parser by another name": (
        QWEN_1B,
        [("models.m.engine.flags", {AUTO: True, "tool-call-parser": "qwen3_json"})],
    ),
    "a parser of one's own": (
        QWEN_1B,
        [("models.m.engine.flags", {AUTO: True, "tool-call-parser": "mine", "tool-parser-plugin": "/srv/mine.py"})],
    ),
    "a switch turned off": (QWEN_1B, [("models.m.engine.flags", {"no-enable-prefix-caching": True})]),
    "copies on all GPUs": (
        QWEN_1B,
        [*L4S(8), ("models.m.engine", {"data_parallel": 4, "tensor_parallel": 2})],
    ),
    "an abbreviation": (QWEN_1B, [("models.m.engine.flags", {"enable-prefix-cach": True})]),
}


@pytest.mark.parametrize("case", CLEAN)
def test_what_is_right_is_not_found_fault_with(case: str) -> None:
    model, changes = CLEAN[case]
    assert [finding.line for finding in all_found(*changes, model=model) if finding.severity is not NOTE] == []


def test_what_does_not_fit_comes_with_what_would() -> None:
    message = found(L4, model=LLAMA_70B)["sizing.fit"].message
    _, _, mends = message.partition("; what would do: ")
    assert 1 <= mends.count("KV tokens") <= 3
    assert mends


def test_an_engine_is_not_spread_over_hosts() -> None:
    message = found(("pools.main.tier", "prod"), model="deepseek-ai/DeepSeek-R1")["sizing.fit"].message
    assert "; what would do: gpu: h200-sxm-141gb (" in message
    assert "16 GPUs" not in message


def test_more_copies_than_fit_come_with_how_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "SUGGESTIONS", 99)
    message = found(("pools.main.tier", "prod"), ("models.m.engine.data_parallel", 8), model=LLAMA_70B)[
        "sizing.fit"
    ].message
    assert "; what would do: data_parallel: 2, tensor_parallel: 4 (" in message
    two = ("models.m.engine", {"data_parallel": 2, "tensor_parallel": 4})
    fitting = all_found(("pools.main.tier", "prod"), two, model=LLAMA_70B)
    assert not [finding.line for finding in fitting if finding.severity is ERROR]
    # Each of eight copies can have no second GPU on a host of eight.
    assert " GPUs, tensor_parallel: " not in message
    assert "for each copy (" in message


@pytest.mark.parametrize("name", sorted(packages()))
def test_idle_gpus_are_told_of_whatever_engine_has_them(name: str) -> None:
    brought = {"program": PROGRAM} if "program" in options()[name].model_fields else {}
    looked_at = served(*L4S(4), ("models.m", model_of(name, **brought)), model=None)
    two = replace(looked_at, measured=replace(looked_at.measured, parallelism=Parallelism(tensor=2)))
    (finding,) = fit.idle_gpus(two)
    assert "2 of 4 GPUs; 2 would be idle in every replica: " in finding.message
    # Of a setting that the engine has.
    assert finding.where.removeprefix("slipway:platform.models.m.") in {
        "gpus",
        *(f"engine.{key}" for key in options()[name].model_fields),
    }
    assert not list(fit.idle_gpus(replace(two, gpus=2)))


def test_requests_at_once_are_of_the_engines_own_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options()["vllm"], "SLOTS", "at_once")
    said = found(("models.m.engine.cpu_kv_cache_gib", 1))["sizing.concurrency"]
    assert said.where == "slipway:platform.models.m.engine.at_once"


MENDS: dict[str, tuple[str, list[tuple[str, Any]], str]] = {
    "memory of GPUs": (LLAMA_70B, [L4], f"; what would do: {fit.NOTHING_FITS}"),
    "room on the CPU": (QWEN_1B, [("models.m.engine.cpu_kv_cache_gib", 0.01)], f"; what would do: {fit.MORE_ROOM}"),
    # These say themselves what to do.
    "ranks": (QWEN_1B, [*L4S(5), ("models.m.engine.tensor_parallel", 5)], ""),
}


@pytest.mark.parametrize("case", MENDS)
def test_where_no_single_change_helps_there_is_a_mend_still(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    model, changes, mend = MENDS[case]
    monkeypatch.setattr(fit, "suggestions", lambda *_: ())
    message = found(*changes, model=model)["sizing.fit"].message
    assert message.endswith(mend)
    assert message.count("; what would do: ") == bool(mend)


def test_a_gpu_that_the_release_has_no_kernels_for_is_an_error() -> None:
    looked_at = served(T4, ("models.m.engine.dtype", "float16"))
    assert looked_at.gpu is not None
    volta = structs.replace(looked_at.gpu, name="NVIDIA V100", compute_capability="7.0")
    (finding,) = [f for f in compatibility.release(replace(looked_at, gpu=volta)) if f.severity is ERROR]
    assert (finding.id, finding.where) == ("compatibility.capability", "slipway:platform.pools.main.gpu")
    assert finding.message == (
        "NVIDIA V100 has compute capability 7.0, and vllm 0.32.0 is built for 7.5 and later; the engine would not start: "
        "use a newer GPU"
    )


def test_the_weighty_comes_first() -> None:
    present = ("pools.main.driver.source", "present")
    severities = [finding.severity for finding in all_found(T4, present, ("models.m.engine.dtype", "bfloat16"))]
    assert severities == sorted(severities, key=list(Severity).index)
    assert {ERROR, NOTE} <= set(severities)


def test_a_missing_model_folder_is_said_once() -> None:
    lines = [f for f in all_found(("models.m.source", {"path": "/nowhere/m"}), model=None) if "/nowhere/m" in f.line]
    assert [(finding.id, finding.severity) for finding in lines] == [("sizing.not-checked", WARNING)]


def test_what_replicas_have_in_common_is_said_once() -> None:
    present = ("pools.main.driver.source", "present")
    document = stack(H100, present, ("pools.main.gpus", 2), ("models.m.replicas", 2))
    lines = [finding.line for finding in findings(deployment(document))]
    assert len(lines) == len(set(lines))
    assert [line for line in lines if "is built with CUDA" in line]


def test_every_model_is_looked_at_and_the_path_names_it() -> None:
    other = {"source": {"host_path": "/srv/o"}, "catalog": QWEN_1B, "engine": {"flags": {"zzz": True}}}
    lines = [
        finding.line for finding in all_found((("models", "other-1.5b"), other), ("models.m.engine.parsers", False))
    ]
    assert [line for line in lines if line.startswith("slipway:platform.models.m.engine.flags: what ")]
    assert (
        'slipway:platform.models["other-1.5b"].engine.flags.zzz: vllm 0.32.0 has no such flag; the engine would not start: '
        "remove it, or look it up in the engine's documentation"
    ) in lines


def test_a_program_of_the_stacks_own_is_not_judged_by_the_adapters_release() -> None:
    (unknown,) = compatibility.release(served(L4, ("models.m", model_of("llama_cpp", program=PROGRAM)), model=None))
    assert unknown.where == "slipway:platform.models.m.engine.program"
    assert unknown.message.startswith(
        "which driver the stack's own llama_cpp needs is not known here, and was not checked; "
    )


@pytest.mark.parametrize("release", ["", "9.9.9"])
def test_what_is_read_of_a_release_is_said_of_that_alone(release: str) -> None:
    changes = [L4, ("models.m.engine.flags", {"no-such": 1, "tool-call-parser": "no-such"})]
    ours, other = served(*changes), served(*changes)
    other.__dict__["program"] = replace(other.program, release=release)
    rules = (compatibility.release, flags.known, flags.parsers)
    judged, passed = [{finding.id for rule in rules for finding in rule(each)} for each in (ours, other)]
    assert judged >= {"flags.unknown", "flags.parser-unknown"}
    assert passed == {"compatibility.unknown"}


class TestTables:
    """What is known of the engine is known of the release that is deployed."""

    def test_the_release_is_in_the_table(self) -> None:
        engine = adapter("vllm")
        known = names("vllm")
        assert known is not None
        assert known.release == engine.release == MODELS["vllm"].deployed_version == load().engines["vllm"].version
        assert needs("vllm", engine.release) is not None

    def test_every_row_has_a_driver(self) -> None:
        engines = [name for name in packages() if releases(name)]
        assert engines
        for name in engines:
            assert all(needs(name, row.release) is not None for row in releases(name))

    def test_another_engine_is_not_judged_by_vllms_releases(self) -> None:
        assert needs("llama_cpp", adapter("vllm").release) is None

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
        for changes in ([], [H100], [("pools.main.tier", "prod"), ("models.m.engine.pipeline_parallel", 2)]):
            assert ADAPTER.flags(served(*changes)).keys() <= known.flags

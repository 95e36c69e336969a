"""Settings as a whole: what passes, what is refused, and the exact words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.settings import SettingsError, parse
from slipway.settings.engine import Build
from slipway.settings.hosts import Service
from tests.unit.settings.documents import GOOD_KEY, OTHER_KEY, changed, good, pair

SOURCE = "stacks/Pulumi.test.yaml"

PASS = [
    good(),
    pair(),
    changed(good(), "hardware.gpus", 8),
    changed(good(), "hardware.gpu", "h100-sxm"),
    changed(good(), "hardware", {"tier": "prod"}),
    changed(good(), "hardware", {"tier": "prod", "gpus": 4, "gpu": "H100 SXM"}),
    # What the tier says is not known yet, so that it can't contradict.
    changed(changed(good(), "hardware.tier", "prod"), "engine.tensor_parallel", 8),
    changed(changed(good(), "hardware.tier", "prod"), "engine.build", "cuda"),
    changed(changed(good(), "hardware.gpus", 8), "engine", {"tensor_parallel": 4, "pipeline_parallel": 2}),
    changed(changed(good(), "hardware.gpus", 8), "engine", {"tensor_parallel": 2, "data_parallel": 4}),
    changed(changed(good(), "hardware.tier", "prod"), "engine.data_parallel", 8),
    changed(good(), "engine.data_parallel", 1),
    changed(good(), "engine", {"quantization": "fp8", "kv_cache_dtype": "fp8", "max_num_batched_tokens": 4096}),
    changed(good(), "model.catalog", "Qwen/Qwen2.5-7B-Instruct"),
    changed(good(), "catalog", "catalog/own.yaml"),
    changed(good(), "model.max_output_tokens", 8192),
    changed(good(), "model.source", {"path": "~/models/m"}),
    changed(good(), "model.source", {"mirror": "http://mirror.example/m/", "sha256": {"config.json": "0" * 64}}),
    changed(good(), "model.source", {"hub": "org/m", "revision": "0" * 40}),
    changed(good(), "front.port", 8443),
    changed(good(), "hosts.0.runs", ["engine", "gateway", "front"]),
    changed(good(), "security.allowed_networks", ["10.0.0.0/8"]),
    changed(good(), "hosts.0.address", "203.0.113.7"),
    changed(pair(), "hosts.1.private_address", "192.168.1.2"),
]

FAIL: list[tuple[Any, str]] = [
    (
        changed(good(), "frnt", {}),
        "slipway:platform.frnt: unknown key; it would have no effect; did you mean front?",
    ),
    (
        changed(good(), "front.prot", 1),
        "slipway:platform.front.prot: unknown key; it would have no effect; did you mean port?",
    ),
    (
        changed(good(), "hosts.0.adress", "10.0.0.1"),
        "slipway:platform.hosts[0].adress: unknown key; it would have no effect; did you mean address?",
    ),
    (
        changed(good(), "front.port", "https"),
        "slipway:platform.front.port: of the wrong type; a whole number is wanted; correct the value",
    ),
    (
        changed(good(), "hosts.0.port", True),
        "slipway:platform.hosts[0].port: a number is wanted, not true or false; write the number",
    ),
    (
        changed(good(), "front.port", 65536),
        "slipway:platform.front.port: out of range; it should be less than or equal to 65535",
    ),
    (
        changed(good(), "hosts", []),
        "slipway:platform.hosts: empty; at least one entry is needed; add one",
    ),
    (
        {key: value for key, value in good().items() if key != "model"},
        "slipway:platform.model: missing; the stack is not complete without it; add it",
    ),
    (
        changed(pair(), "hosts.1.name", "gpu-1"),
        "slipway:platform.hosts: the name 'gpu-1' is given twice; resources would collide: rename one host",
    ),
    (
        changed(pair(), "hosts.1.address", "10.0.0.11"),
        "slipway:platform.hosts: 10.0.0.11 port 22 is given twice; one machine would be set up as two: "
        "remove one of the two hosts",
    ),
    (
        changed(good(), "gateway.keys", [{"team": "a", "key": GOOD_KEY}, {"team": "a", "key": OTHER_KEY}]),
        "slipway:platform.gateway: keys: the team 'a' is given twice; its limits would be ambiguous: merge the two",
    ),
    (
        changed(good(), "gateway.keys", [{"team": "a", "key": GOOD_KEY}, {"team": "b", "key": GOOD_KEY}]),
        "slipway:platform.gateway: keys: the teams 'a' and 'b' have the same key; requests could not be told apart: "
        "give each its own",
    ),
    (
        changed(good(), "gateway.keys.0.key", "hunter2"),
        "slipway:platform.gateway.keys[0].key: too weak (7 characters, at least 32 are needed); "
        "it alone guards the endpoint: make one with `openssl rand -hex 32`",
    ),
    (
        changed(good(), "gateway.keys.0.key", {"env": "SLIPWAY_UNSET"}),
        "slipway:platform.gateway.keys[0].key: the environment variable SLIPWAY_UNSET is not set; "
        'the secret is taken from it: export it, or let `eval "$(slipway env STACK)"` make and export the stack\'s secrets',
    ),
    (
        changed(good(), "model.source", {}),
        "slipway:platform.model.source: give exactly one of path, host_path, mirror and hub (none of them given); "
        "the engine would not know which files to load",
    ),
    (
        changed(good(), "model.source", {"hub": "org/m"}),
        "slipway:platform.model.source: hub and revision go together; what is deployed must be pinned: give the commit",
    ),
    (
        changed(good(), "model.max_output_tokens", 8193),
        "slipway:platform.model: max_output_tokens 8193 is more than max_model_len 8192; no request could use it: "
        "lower the one or raise the other",
    ),
    (
        changed(pair(), "engine.key", None),
        "slipway:platform: engine.key: missing, while gpu-2 and the gateway are different hosts; anyone in the private "
        "network could use the engine: set it, for example to {env: SLIPWAY_ENGINE_KEY}",
    ),
    (
        changed(pair(), "hosts.1.address", "8.8.4.4"),
        "slipway:platform: hosts: gpu-2 is called by other hosts, but 8.8.4.4 is no private address; "
        "its service would face the internet: set its private_address",
    ),
    (
        changed(pair(), "hosts.1.runs", ["engine", "front"]),
        "slipway:platform: hosts: front must run on exactly one host (gpu-1, gpu-2 has it); "
        "there would be no single endpoint: correct the hosts' `runs`",
    ),
    (
        changed(good(), "engine.port", 4000),
        "slipway:platform: engine.port and gateway.port are both 4000 on gpu-1; one would not start: choose another port",
    ),
    (
        changed(good(), "engine.build", "cuda"),
        "slipway:platform: engine.build is cuda while hardware.gpus is 0; the engine would not start: "
        "set hardware.gpus, or engine.build to cpu",
    ),
    (
        changed(changed(good(), "hardware.gpus", 2), "engine.tensor_parallel", 4),
        "slipway:platform: engine.tensor_parallel is 4 while hardware.gpus is 2; the engine would not start: use at most 2",
    ),
    (
        changed(changed(good(), "hardware.gpus", 4), "engine", {"tensor_parallel": 4, "pipeline_parallel": 2}),
        "slipway:platform: engine.tensor_parallel 4 times engine.pipeline_parallel 2 is 8 while hardware.gpus is 4; "
        "the engine would not start: lower one of them",
    ),
    (
        changed(changed(good(), "hardware.gpus", 2), "engine.pipeline_parallel", 4),
        "slipway:platform: engine.pipeline_parallel is 4 while hardware.gpus is 2; the engine would not start: use at most 2",
    ),
    (
        changed(changed(good(), "hardware.gpus", 4), "engine", {"tensor_parallel": 4, "data_parallel": 2}),
        "slipway:platform: engine.tensor_parallel 4 times engine.data_parallel 2 is 8 while hardware.gpus is 4; "
        "the engine would not start: lower one of them",
    ),
    (
        changed(
            changed(good(), "hardware.gpus", 4),
            "engine",
            {"tensor_parallel": 2, "pipeline_parallel": 2, "data_parallel": 2},
        ),
        "slipway:platform: engine.tensor_parallel 2 times engine.pipeline_parallel 2 times engine.data_parallel 2 is 8 while "
        "hardware.gpus is 4; the engine would not start: lower one of them",
    ),
    (
        changed(changed(good(), "hardware.gpus", 2), "engine.data_parallel", 4),
        "slipway:platform: engine.data_parallel is 4 while hardware.gpus is 2; the engine would not start: use at most 2",
    ),
    (
        changed(good(), "engine.data_parallel", 2),
        "slipway:platform: engine.data_parallel needs GPUs; a cpu build would not start: remove it",
    ),
    (
        changed(good(), "engine.data_parallel", 0),
        "slipway:platform.engine.data_parallel: out of range; it should be greater than or equal to 1",
    ),
    (
        changed(good(), "engine.pipeline_parallel", 2),
        "slipway:platform: engine.pipeline_parallel needs GPUs; a cpu build would not start: remove it",
    ),
    (
        changed(good(), "hardware", {"gpu": "h100-sxm", "gpus": 0}),
        "slipway:platform.hardware: gpu is given while there are 0 GPUs; the engine would run on the CPU: "
        "set gpus, or remove gpu",
    ),
    (
        changed(good(), "hardware.tier", "../x"),
        "slipway:platform.hardware.tier: '../x' can't be a name in the catalogue; nothing would be found: "
        "use letters, digits and . _ / + -",
    ),
    (
        changed(good(), "engine.quantization", "FP8"),
        "slipway:platform.engine.quantization: 'FP8' names no quantization; the engine would refuse to start: "
        "write it like fp8",
    ),
    (
        changed(good(), "engine.kv_cache_dtype", "int3"),
        "slipway:platform.engine.kv_cache_dtype: not one of the values known here; "
        "use 'auto', 'bfloat16', 'fp8', 'fp8_e4m3' or 'fp8_e5m2'",
    ),
    (
        changed(good(), "front.certificate_file", "/x.pem"),
        "slipway:platform.front: certificate_file and key_file go together; the front could not serve TLS: "
        "give both, or neither for a private CA",
    ),
    (
        changed(good(), "engine.name", "vlm"),
        "slipway:platform.engine.name: not one of the values known here; use 'vllm'",
    ),
    (
        None,
        "slipway:platform: is missing; there is nothing to deploy; start from a copy of stacks/Pulumi.poc.yaml",
    ),
    (
        [],
        "slipway:platform: is not a section with keys; there is nothing to deploy; start from a copy of stacks/Pulumi.poc.yaml",
    ),
]


@pytest.mark.parametrize("document", PASS, ids=range(len(PASS)))
def test_accepts(document: dict[str, Any]) -> None:
    assert parse(document, SOURCE).model.name == "m"


@pytest.mark.parametrize(("document", "message"), FAIL, ids=[message.split(";")[0] for _, message in FAIL])
def test_refuses_in_one_line(document: object, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(document, SOURCE)
    assert list(refused.value.problems) == [message]


def test_all_mistakes_are_reported_at_once() -> None:
    document = changed(changed(good(), "front.port", "x"), "hosts.0.user", "A B")
    with pytest.raises(SettingsError) as refused:
        parse(document, SOURCE)
    assert refused.value.report.splitlines()[0] == f"{SOURCE}: 2 setting(s) refused; nothing was touched"
    assert len(refused.value.problems) == 2


@given(st.text(min_size=8, max_size=60))
def test_a_secret_in_the_wrong_place_is_not_shown(text: str) -> None:
    for path in ("front.port", "engine.start_timeout_s", "gateway.keys.0.requests_per_minute"):
        with pytest.raises(SettingsError) as refused:
            parse(changed(good(), path, "canary" + text), SOURCE)
        assert "canary" not in refused.value.report


def test_defaults_follow_from_the_rest() -> None:
    settings = parse(changed(good(), "hardware.gpus", 4), SOURCE)
    assert settings.build is Build.CUDA
    assert settings.tensor_parallel == 4
    assert settings.endpoint == "https://10.0.0.11/v1"
    assert settings.model.output_tokens == 2048


def test_a_gpu_alone_is_one_gpu() -> None:
    settings = parse(changed(good(), "hardware.gpu", "rtx-4090"), SOURCE)
    assert settings.hardware.gpus == 1
    assert settings.build is Build.CUDA


def test_the_build_is_not_guessed_before_the_tier_is_looked_up() -> None:
    settings = parse(changed(good(), "hardware.tier", "prod"), SOURCE)
    with pytest.raises(AssertionError, match="has not been looked up"):
        _ = settings.build


def test_pipelines_leave_the_rest_to_tensor_parallelism() -> None:
    settings = parse(changed(changed(good(), "hardware.gpus", 8), "engine.pipeline_parallel", 2), SOURCE)
    assert (settings.tensor_parallel, settings.pipeline_parallel) == (4, 2)


@pytest.mark.parametrize(
    ("engine", "split"),
    [
        ({"data_parallel": 2}, (4, 1)),
        ({"data_parallel": 8}, (1, 1)),
        ({"data_parallel": 2, "pipeline_parallel": 2}, (2, 2)),
        ({"data_parallel": 3}, (2, 1)),
        ({"data_parallel": 2, "tensor_parallel": 1}, (1, 1)),
    ],
)
def test_copies_share_out_the_gpus(engine: dict[str, int], split: tuple[int, int]) -> None:
    settings = parse(changed(changed(good(), "hardware.gpus", 8), "engine", engine), SOURCE)
    assert (settings.tensor_parallel, settings.pipeline_parallel) == split
    assert settings.data_parallel == engine["data_parallel"]


def test_services_on_two_hosts() -> None:
    settings = parse(pair(), SOURCE)
    first, second = settings.hosts
    assert settings.services(first) == tuple(Service)
    assert settings.services(second) == (Service.ENGINE,)
    assert settings.bind_address(Service.ENGINE, first) == "127.0.0.1"
    assert settings.bind_address(Service.ENGINE, second) == "10.0.0.12"

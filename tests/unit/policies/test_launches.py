"""Starts of an engine: found wherever they stand, and read as vLLM and the cluster read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from policies.node import UNKNOWN, Node, Secret, UnknownValueError
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import launches, sized_launches
from policies.readers.engines.platform import PlatformLaunch
from policies.readers.engines.terms import KSERVE, SGLANG, TGI, VLLM, Terms
from policies.readers.kubernetes.pods import Container, Pod
from policies.resources import PLATFORM, Resource

IMAGE = "vllm/vllm-openai:v0.32.0"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
POD = ("spec", "template", "spec")


def container(**more: Any) -> dict[str, Any]:
    return {"name": "vllm", "image": IMAGE, "resources": {"limits": {"nvidia.com/gpu": 1}}} | more


def found(spec: Mapping[str, Any], kind: str = "apps/v1:Deployment", at: tuple[str, ...] = POD) -> list[Launch]:
    inputs: Any = dict(spec)
    for key in reversed(at):
        inputs = {key: inputs}
    return list(launches(Resource.plain(f"kubernetes:{kind}", "it", inputs)))


def launch(pod: Mapping[str, Any] | None = None, **more: Any) -> ContainerLaunch:
    (one,) = found({"containers": [container(**more)], **(pod or {})})
    assert isinstance(one, ContainerLaunch)
    return one


@pytest.mark.parametrize(
    "more",
    [
        {"args": ["--model", MODEL]},
        {"args": [f"--model={MODEL}"]},
        {"args": [MODEL]},
        {"command": ["vllm", "serve", MODEL]},
        {"command": ["/usr/local/bin/vllm", "serve"], "args": [MODEL, "--port", "8000"]},
        {"command": ["vllm"], "args": ["serve", MODEL]},
        {"command": ["python3", "-m", "vllm.entrypoints.openai.api_server"], "args": ["--model", MODEL]},
        {"command": ["sh", "-c", f"vllm serve {MODEL}"], "image": "registry.example/ml/base:1.0"},
        {
            "command": ["/bin/bash", "-lc"],
            "args": [f"set -e\n# the engine\nexec vllm serve \\\n  {MODEL} --port 8000\n"],
        },
        {"command": ["sh", "-c"], "args": [f"curl --model other x; vllm serve {MODEL} && echo --model late"]},
        {"args": ["--model", "$(MODEL)"], "env": [{"name": "MODEL", "value": MODEL}]},
        {"command": ["sh", "-c", 'vllm serve "$MODEL"'], "env": [{"name": "MODEL", "value": MODEL}]},
        {"command": ["sh", "-c", "vllm serve ${MODEL:-x}"], "env": [{"name": "MODEL", "value": MODEL}]},
        {
            "args": ["--model", "$(MODEL)"],
            "env": [{"name": "ORG", "value": "meta-llama"}, {"name": "MODEL", "value": "$(ORG)/Llama-3.1-8B-Instruct"}],
        },
    ],
)
def test_the_model_is_read_from_whatever_starts_it(more: dict[str, Any]) -> None:
    assert launch(**more).model == MODEL


@pytest.mark.parametrize(
    "more",
    [
        {"command": ["sleep", "infinity"]},
        {"command": ["hf", "download", MODEL]},
        {"command": ["sh", "-c", "ray start --block --address=$(LWS_LEADER_ADDRESS):6379"]},
        {"command": ["vllm", "bench", "serve"]},
        {"image": "nginx:1.29"},
        {"image": "registry.example/vllm-router:1.2"},
        {"image": "ghcr.io/vllm-project/semantic-router/vllm-sr:1"},
    ],
)
def test_what_starts_no_server_is_no_launch(more: dict[str, Any]) -> None:
    assert found({"containers": [container(**more)]}) == []


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("apps/v1:Deployment", POD),
        ("apps/v1:StatefulSet", POD),
        ("core/v1:Pod", ("spec",)),
        ("batch/v1:Job", POD),
        ("batch/v1:CronJob", ("spec", "jobTemplate", *POD)),
        ("serving.kserve.io/v1beta1:InferenceService", ("spec", "predictor")),
        ("leaderworkerset.x-k8s.io/v1:LeaderWorkerSet", ("spec", "leaderWorkerTemplate", "leaderTemplate", "spec")),
        ("argoproj.io/v1alpha1:Rollout", POD),
    ],
)
def test_it_is_found_in_every_kind_of_resource(kind: str, at: tuple[str, ...]) -> None:
    (one,) = found({"containers": [container(args=["--model", MODEL, "-tp", "2"])]}, kind, at)
    assert (one.model, one.tensor_parallel, one.path) == (MODEL, 2, f"{'.'.join(at)}.containers[0]")


def test_the_commands_of_a_ray_cluster_are_its_operators() -> None:
    at = ("spec", "headGroupSpec", "template", "spec")
    assert found({"containers": [container()]}, "ray.io/v1:RayCluster", at) == []


def test_an_image_that_is_not_there_yet_is_known_by_its_flags() -> None:
    assert launch(image=UNKNOWN, args=["--model", MODEL, "--max_model_len=8192"]).max_model_len == 8192


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["--max-model-len", "8192", "--enforce-eager"], {"max-model-len": "8192", "enforce-eager": True}),
        (["--max_model_len=8192"], {"max-model-len": "8192"}),
        (["-tp", "2", "-pp=2", "-dp4", "-q", "fp8"], {
            "tensor-parallel-size": "2",
            "pipeline-parallel-size": "2",
            "data-parallel-size": "4",
            "quantization": "fp8",
        }),
        (["--tensor-parallel", "2"], {"tensor-parallel-size": "2"}),
        (["--enable-lora", "--seed", "-1"], {"enable-lora": True, "seed": "-1"}),
        (["--hf-overrides", '{"a": 1, "b": "--x"}'], {"hf-overrides": '{"a": 1, "b": "--x"}'}),
        (["--api-key", "$(KEY)"], {"api-key": "$(KEY)"}),
    ],
)  # fmt: skip
def test_flags(words: list[str], flags: dict[str, Any]) -> None:
    assert launch(args=words).flags == flags


@pytest.mark.parametrize(
    ("text", "tokens"), [("8192", 8192), ("8k", 8000), ("8K", 8192), ("25.6k", 25600), ("auto", None), ("-1", None)]
)
def test_lengths_are_read_as_vllm_reads_them(text: str, tokens: int | None) -> None:
    assert launch(args=["--max-model-len", text]).max_model_len == tokens


@pytest.mark.parametrize(
    ("words", "on"),
    [
        (["--trust-remote-code"], True),
        (["--trust-remote-code", "true"], True),
        (["--trust-remote-code=False"], False),
        ([], False),
    ],
)
def test_remote_code(words: list[str], on: bool) -> None:
    assert launch(args=["--model", MODEL, *words]).trust_remote_code is on


def test_secrets_stay_out_of_the_flags() -> None:
    one = launch(args=["--api-key", "$(KEY)"], env=[{"name": "KEY", "value": Secret("sk-1")}])
    assert one.flags == {"api-key": "$(KEY)"}


def test_a_variable_that_is_not_known_hides_only_what_follows_from_it() -> None:
    one = launch(
        args=["--model", "$(MODEL)", "-tp", "$(TP)", "--max-num-seqs", "16", "--max-model-len", "$(LENGTH)"],
        env=[
            {"name": "MODEL", "value": UNKNOWN},
            {"name": "TP", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "tp"}}},
        ],
    )
    path = "spec.template.spec.containers[0]"
    assert one.max_num_seqs == 16
    for name, where in (("model", "env[0]"), ("tensor_parallel", "env[1]"), ("max_model_len", "args")):
        with pytest.raises(UnknownValueError) as error:
            getattr(one, name)
        assert error.value.path == f"{path}.{where}"


def test_a_file_with_flags_leaves_open_what_the_command_does_not_say() -> None:
    one = launch(args=["--model", MODEL, "--config", "/etc/vllm.yaml"])
    assert one.model == MODEL
    with pytest.raises(UnknownValueError):
        _ = one.tensor_parallel


@pytest.mark.parametrize("command", [["/scripts/start.sh"], ["/bin/bash", "-e", "/scripts/start.sh"]])
def test_a_script_in_a_file_may_start_the_engine(command: list[str]) -> None:
    (unknown,) = found({"containers": [container(command=command)]})
    assert isinstance(unknown, UnknownValueError)
    assert found({"containers": [container(command=command, resources={})]}) == []


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["--model", MODEL, UNKNOWN], "args[2]"),
        (["--model", MODEL, "--enforce-eager", UNKNOWN], "args[3]"),
        (UNKNOWN, "args"),
    ],
)
def test_an_unknown_word_may_be_any_flag(words: Any, where: str) -> None:
    one = launch(args=words)
    with pytest.raises(UnknownValueError) as error:
        _ = one.tensor_parallel
    assert error.value.path == f"spec.template.spec.containers[0].{where}"


def test_an_unknown_word_after_a_flag_is_its_value() -> None:
    one = launch(args=["--model", UNKNOWN, "-tp", "2", "--api-key", UNKNOWN, "--trust-remote-code"])
    assert (one.tensor_parallel, one.trust_remote_code, one.key) == (2, True, True)
    with pytest.raises(UnknownValueError) as error:
        _ = one.model
    assert error.value.path == "spec.template.spec.containers[0].args[1]"


def test_where_a_flag_stands() -> None:
    one = launch(command=["sh", "-c", "vllm serve m --enforce_eager"], args=["--api-key", "k", "--seed=1"])
    assert one.place_of("seed") == ("args", 2)
    assert one.place_of("enforce-eager") == ("command", 2)
    assert one.place_of("max-num-seqs") == ("args",)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        (MODEL, MODEL),
        ("/models/Llama-3.1-8B-Instruct", MODEL),
        ("s3://weights/meta-llama/Llama-3.1-8B-Instruct/", MODEL),
        ("/models/our-own", None),
        ("somebody/Llama-3.1-8B-Instruct", None),
    ],
)
def test_models_of_the_catalogue(model: str, known: str | None) -> None:
    entry = launch(args=["--model", model]).known_model
    assert (None if entry is None else entry.id) == known


def test_a_model_that_nothing_names() -> None:
    one = launch(args=["--port", "8000"])
    assert (one.model, one.known_model, one.architecture, one.heads) == (None, None, None, None)


@pytest.mark.parametrize(
    ("label", "value", "gpu"),
    [
        ("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3", "h100-sxm-80gb"),
        ("nvidia.com/gpu.product", "Tesla-T4", "t4"),
        ("nvidia.com/gpu.product", "NVIDIA-A100-SXM4-40GB", "a100-sxm-40gb"),
        ("nvidia.com/gpu.product", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", None),
        ("nvidia.com/gpu.product", "NVIDIA-L40S-SHARED", None),
        ("cloud.google.com/gke-accelerator", "nvidia-l4", "l4"),
        ("cloud.google.com/gke-accelerator", "nvidia-tesla-a100", "a100-sxm-40gb"),
        ("cloud.google.com/gke-accelerator", "nvidia-a100-80gb", "a100-sxm-80gb"),
        ("cloud.google.com/gke-accelerator", "nvidia-h100-mega-80gb", "h100-sxm-80gb"),
        ("karpenter.k8s.aws/instance-gpu-name", "l40s", "l40s"),
        ("karpenter.k8s.aws/instance-gpu-name", "a100", None),
        ("eks.amazonaws.com/instance-gpu-name", "h100", "h100-sxm-80gb"),
        ("node.kubernetes.io/instance-type", "g5.12xlarge", "a10g"),
        ("node.kubernetes.io/instance-type", "Standard_NC24ads_A100_v4", "a100-pcie-80gb"),
        ("node.kubernetes.io/instance-type", "m7i.large", None),
        ("pool", "gpus", None),
    ],
)
def test_the_gpu_by_a_label_of_the_node(label: str, value: str, gpu: str | None) -> None:
    expression = {"key": label, "operator": "In", "values": [value]}
    for pod in ({"nodeSelector": {label: value}}, {"affinity": required([expression])}):
        kind = launch(pod, args=["--model", MODEL]).gpu
        assert (None if kind is None else kind.id) == gpu


def required(*terms: list[dict[str, Any]]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def test_names_that_are_sold_in_two_sizes_are_told_by_their_memory() -> None:
    name, memory = "karpenter.k8s.aws/instance-gpu-name", "karpenter.k8s.aws/instance-gpu-memory"
    for mib, gpu in (("40960", "a100-sxm-40gb"), ("81920", "a100-sxm-80gb")):
        kind = launch({"nodeSelector": {name: "a100", memory: mib}}).gpu
        assert kind is not None
        assert kind.id == gpu
    assert launch({"nodeSelector": {name: "a100", memory: "1024"}}).gpu is None


@pytest.mark.parametrize(
    ("terms", "gpu"),
    [
        (
            [[{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge", "g5.2xlarge"]}]],
            "a10g",
        ),
        ([[{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge", "g6.xlarge"]}]], None),
        ([[{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge", "own"]}]], None),
        ([[{"key": "nvidia.com/gpu.product", "operator": "NotIn", "values": ["Tesla-T4"]}]], None),
        ([[{"key": "nvidia.com/gpu.product", "operator": "In", "values": ["Tesla-T4"]}], []], None),
    ],
)
def test_what_affinity_leaves_open_says_nothing(terms: list[list[dict[str, Any]]], gpu: str | None) -> None:
    kind = launch({"affinity": required(*terms)}).gpu
    assert (None if kind is None else kind.id) == gpu


@pytest.mark.parametrize("other", ["m7i.large", "g5.xlarge"])
def test_the_product_goes_before_the_type_of_instance(other: str) -> None:
    selector = {"nvidia.com/gpu.product": "Tesla-T4", "node.kubernetes.io/instance-type": other}
    kind = launch({"nodeSelector": selector}).gpu
    assert kind is not None
    assert kind.id == "t4"


def test_affinity_to_another_label_may_be_unknown() -> None:
    expressions = [
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": UNKNOWN},
        {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["Tesla-T4"]},
    ]
    kind = launch({"affinity": required(expressions)}).gpu
    assert kind is not None
    assert kind.id == "t4"


def test_a_part_of_a_gpu_is_none_of_the_catalogue() -> None:
    pod = {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}}
    one = launch(pod, args=["--model", MODEL], resources={"limits": {"nvidia.com/mig-1g.10gb": 1}})
    assert one.gpu is None
    assert one.figures() is None


@pytest.mark.parametrize(
    ("words", "own", "ranks", "gpus"),
    [
        (["-tp", "4", "-pp", "2"], 8, 8, 8),
        (["-tp", "2", "-dp", "4"], 8, 8, 8),
        (["-tp", "8", "--nnodes", "2", "-pp", "2", "--node-rank", "0"], 8, 16, 16),
        (["-dp", "16", "-dpl", "8", "--nnodes", "2"], 8, 8, 8),
        (["-dp", "8", "--data-parallel-rank", "3"], 1, 1, 1),
        (["-tp", "4", "--prefill-context-parallel-size", "2"], 8, 8, 8),
        (["-tp", "8", "-pp", "2", "--distributed-executor-backend", "ray"], 8, 16, None),
    ],
)
def test_ranks_and_gpus(words: list[str], own: int, ranks: int, gpus: int | None) -> None:
    one = launch(args=["--model", MODEL, *words], resources={"limits": {"nvidia.com/gpu": own}})
    assert (one.ranks, one.gpus) == (ranks, gpus)


def test_resource_claims_say_nothing_of_their_number() -> None:
    assert launch(args=["--model", MODEL], resources={"claims": [{"name": "gpus"}]}).gpus is None


def test_a_group_of_pods_has_the_gpus_of_all() -> None:
    words = ["sh", "-c", "vllm serve m -tp 8 -pp $(LWS_GROUP_SIZE)"]
    template = {"spec": {"containers": [container(command=words, resources={"limits": {"nvidia.com/gpu": 8}})]}}
    for size, gpus in (({"size": 4}, 32), ({}, 8)):
        inputs = {"spec": {"leaderWorkerTemplate": {**size, "workerTemplate": template}}}
        kind = "kubernetes:leaderworkerset.x-k8s.io/v1:LeaderWorkerSet"
        (one,) = launches(Resource.plain(kind, "it", inputs))
        assert one.gpus == gpus


H100 = {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}}


def test_figures_are_the_sizings() -> None:
    figures = launch(H100, args=["--model", MODEL, "--max-model-len", "32768"]).figures()
    assert figures is not None
    assert figures.fits
    assert figures.kv_cache_tokens is not None
    assert figures.kv_cache_tokens > 400_000
    assert figures.gpu_gib == pytest.approx(79.19)


@pytest.mark.parametrize(
    "words",
    [
        ["--enable-lora"],
        ["--speculative-config", "{}"],
        ["--kv-cache-memory-bytes", "10G"],
        ["--max-model-len", "auto"],
        ["--nnodes", "2", "-pp", "2"],
        ["--gpu-memory-utilization", "7"],
        ["--kv-cache-dtype", "of_tomorrow"],
    ],
)
def test_what_the_sizing_does_not_count_with_has_no_figures(words: list[str]) -> None:
    assert launch(H100, args=["--model", MODEL, *words]).figures() is None


def test_a_longer_context_than_the_model_knows_can_be_asked_for() -> None:
    words = ["--model", MODEL, "--max-model-len", "200000"]
    refused = launch(H100, args=words).figures()
    assert refused is not None
    assert not refused.fits
    assert launch(H100, args=words, env=[{"name": "VLLM_ALLOW_LONG_MAX_MODEL_LEN", "value": "1"}]).figures() is None


def test_copies_of_a_mixture_of_experts_share_them() -> None:
    words = ["--model", "Qwen/Qwen3-30B-A3B", "-dp", "2"]
    assert launch(H100, args=words, resources={"limits": {"nvidia.com/gpu": 2}}).figures() is None
    assert launch(H100, args=words[:2]).figures() is not None


def test_copies_of_a_dense_model_are_alike() -> None:
    words = ["--model", MODEL, "--max-model-len", "8192"]
    copies = launch(H100, args=[*words, "-dp", "2"], resources={"limits": {"nvidia.com/gpu": 2}}).figures()
    assert copies is not None
    assert copies == launch(H100, args=words).figures()


def test_a_group_of_pods_has_no_figures() -> None:
    words = ["--model", MODEL, "--max-model-len", "8192", "-pp", "2"]
    template = {"spec": {**H100, "containers": [container(args=words)]}}
    inputs = {"spec": {"leaderWorkerTemplate": {"size": 2, "workerTemplate": template}}}
    (one,) = launches(Resource.plain("kubernetes:leaderworkerset.x-k8s.io/v1:LeaderWorkerSet", "it", inputs))
    assert one.figures() is None


def test_kernels_of_a_checkpoints_own_quantization() -> None:
    words = ["--model", "Qwen/Qwen2.5-32B-Instruct-AWQ", "--quantization", "awq_marlin", "--max-model-len", "8192"]
    figures = launch(H100, args=words).figures()
    assert figures is not None
    assert figures.fits


@pytest.mark.parametrize(
    ("model", "ranks", "uneven"),
    [
        (MODEL, 8, None),
        ("Qwen/Qwen2.5-7B-Instruct", 3, "the 28 attention heads"),
        ("microsoft/phi-4", 4, "the KV heads and layers"),
        ("our/own", 3, None),
    ],
)
def test_what_can_not_be_spread(model: str, ranks: int, uneven: str | None) -> None:
    assert launch(args=["--model", model]).uneven(ranks) == uneven


def test_releases() -> None:
    assert launch(image="vllm/vllm-openai", args=["--model", MODEL]).release is None
    tags = {"v0.32.0": "0.32.0", "v0.9.0.1": "0.9.0.1", "0.11.0-cu129": "0.11.0", "25.09-py3": None, "latest": None}
    for tag, release in tags.items():
        assert launch(image=f"vllm/vllm-openai:{tag}", args=["--model", MODEL]).release == release
    for other in ("ghcr.io/llm-d/llm-d-cuda:v0.4.0", "registry.example/serving:0.8.2", "rhaiis/vllm-cuda-rhel9:3.2.5"):
        assert launch(image=other, command=["vllm", "serve", MODEL]).release is None


def test_a_platform_says_what_it_declares() -> None:
    model = {
        "kind": "served",
        "name": "m",
        "id": MODEL,
        "attentionHeads": 32,
        "maxModelLen": 8192,
        "maxOutputTokens": 2048,
        "gpus": 4,
        "engine": {
            "name": "vllm",
            "release": "0.32.0",
            "tensorParallel": 2,
            "dataParallel": 2,
            "slots": 64,
            "flags": {"x": 1},
            "environment": {"A": "1"},
            "keyed": True,
        },
        "instances": [{"name": "m", "machine": "gpu-1", "gpus": [0, 1, 2, 3], "address": "127.0.0.1", "port": 8100}],
        "sizing": {"fits": True, "errors": [], "kvCacheTokens": 1, "kvCacheGib": 2, "gpuGib": 3, "requestedGib": 4},
    }
    (one,) = sized_launches(platform({"kind": "provided", "name": "gpt"}, model))
    assert isinstance(one, PlatformLaunch)
    assert (one.path, one.engine, one.terms, one.keyed) == ("models[1]", "vllm", VLLM, True)
    assert (one.release, one.model, one.heads, one.flags) == ("0.32.0", MODEL, 32, {"x": 1})
    assert (one.tensor_parallel, one.ranks, one.gpus) == (2, 4, 4)
    assert (one.max_num_seqs, one.max_model_len, one.output_tokens, one.trust_remote_code) == (64, 8192, 2048, False)
    assert [(name, node.path) for name, node in one.environment()] == [("A", "models[1].engine.environment.A")]
    assert [(each.machine, each.gpus) for each in one.instances()] == [("gpu-1", [0, 1, 2, 3])]
    assert (one.place("release").path, one.place_of_flag("x")) == (
        "models[1].engine.release",
        "models[1].engine.flags.x",
    )
    figures = one.figures()
    assert figures is not None
    assert (figures.kv_cache_tokens, figures.kv_cache_gib, figures.gpu_gib, figures.requested_gib) == (1, 2, 3, 4)
    assert (one.uneven(3), one.uneven(4)) == ("the 32 attention heads", None)


def platform(*models: Any) -> Resource:
    return Resource.plain(PLATFORM, "it", {"models": list(models)})


def test_a_platform_without_a_plan_has_no_figures() -> None:
    (one,) = launches(platform({"kind": "served", "name": "own"}))
    assert not isinstance(one, UnknownValueError)
    assert (one.model, one.heads, one.gpus, one.figures()) == ("own", None, None, None)


def test_each_model_of_a_platform_has_its_own_engine() -> None:
    engines = ["vllm", "llama_cpp", "ollama", "of-tomorrow"]
    models = [{"kind": "served", "name": name, "engine": {"name": name, "keyed": True}} for name in engines]
    found = [one for one in launches(platform(*models)) if isinstance(one, PlatformLaunch)]
    assert [one.engine for one in found] == engines
    # Ollama is given a key, and asks nobody for it.
    assert [one.keyed for one in found] == [True, True, False, True]
    assert [one.terms.spreads for one in found] == [True, False, False, False]


def test_a_model_of_which_the_kind_is_not_known_hides_no_other() -> None:
    models = [{"kind": UNKNOWN}, {"kind": "served", "name": "m"}]
    unknown, known = launches(platform(*models))
    assert isinstance(unknown, UnknownValueError)
    assert (unknown.path, known.path) == ("models[0].kind", "models[1]")  # type: ignore[union-attr]
    (all_,) = launches(Resource.plain(PLATFORM, "it", {"models": UNKNOWN}))
    assert isinstance(all_, UnknownValueError)


@pytest.mark.parametrize(
    ("more", "engine", "model"),
    [
        (
            {"image": "ghcr.io/ggml-org/llama.cpp:server-b7100", "args": ["-m", "/models/m.gguf"]},
            "llama_cpp",
            "/models/m.gguf",
        ),
        (
            {"image": "a/llama-server:1", "args": ["-hf", "org/m-GGUF:Q4_K_M", "-c", "8192"]},
            "llama_cpp",
            "org/m-GGUF:Q4_K_M",
        ),
        ({"image": "a", "command": ["/app/llama-server", "--model=m.gguf"]}, "llama_cpp", "m.gguf"),
        ({"image": "a/llama-server", "env": [{"name": "LLAMA_ARG_MODEL", "value": "/m"}]}, "llama_cpp", "/m"),
        ({"image": "ollama/ollama:0.17.4"}, "ollama", None),
        ({"image": "a", "command": ["ollama", "serve"]}, "ollama", None),
        ({"image": IMAGE, "args": ["--model", MODEL]}, "vllm", MODEL),
    ],
)
def test_the_engine_is_what_image_and_command_say(more: dict[str, Any], engine: str, model: str | None) -> None:
    pod = Resource.plain("kubernetes:core/v1:Pod", "it", {"spec": {"containers": [container(**more)]}})
    (one,) = launches(pod)
    assert isinstance(one, ContainerLaunch)
    assert (one.engine, one.model) == (engine, model)
    # No figures of vLLM's sizing for another engine.
    assert len(list(sized_launches(pod))) == (engine == "vllm")
    if engine != "vllm":
        assert (one.figures(), one.uncounted(), one.weights(), one.release) == (None, None, None, None)


def of(terms: Terms, **more: Any) -> ContainerLaunch:
    return ContainerLaunch(Container({"name": "it", **more}, "", Pod({}, "", Node(None))), terms=terms)


@pytest.mark.parametrize(
    ("terms", "args", "model"),
    [
        (SGLANG, ["--model", MODEL], MODEL),
        (SGLANG, ["--model-path", MODEL, "--model", "late"], MODEL),
        (SGLANG, [MODEL], None),
        (VLLM, ["--port", "8000", MODEL], None),
        (VLLM, [MODEL, "--model", "late"], "late"),
        (VLLM, ["$MODEL"], None),
        (VLLM, [UNKNOWN], None),
        (VLLM, [], None),
    ],
)
def test_each_engine_takes_its_model_in_its_own_way(terms: Terms, args: list[Any], model: str | None) -> None:
    one = of(terms, args=args)
    if UNKNOWN in args or "$MODEL" in args:
        with pytest.raises(UnknownValueError):
            _ = one.model
    else:
        assert one.model == model


def test_flags_of_some_engines_may_be_variables() -> None:
    env = [{"name": "MODEL_ID", "value": MODEL}, {"name": "TRUST_REMOTE_CODE", "value": "true"}]
    assert (of(TGI, env=env).model, of(TGI, env=env).trust_remote_code) == (MODEL, True)
    assert of(TGI, env=env, args=["--model-id", "m"]).model == "m"
    assert not of(VLLM, env=env).trust_remote_code
    with pytest.raises(UnknownValueError) as error:
        _ = of(TGI, env=[{"name": "MODEL_ID", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]).model
    assert error.value.path == "env[0].valueFrom"


@pytest.mark.parametrize(
    ("terms", "more", "key"),
    [
        (VLLM, {"args": ["--api-key", "k"]}, "k"),
        (VLLM, {"args": ["--api-key", UNKNOWN]}, True),
        (VLLM, {"args": ["--api-key", "k"], "env": [{"name": "VLLM_API_KEY", "value": "other"}]}, "k"),
        (VLLM, {"args": [UNKNOWN], "env": [{"name": "VLLM_API_KEY", "value": "k"}]}, "k"),
        (VLLM, {"args": ["m"]}, None),
        (SGLANG, {"env": [{"name": "VLLM_API_KEY", "value": "k"}]}, None),
        (SGLANG, {"envFrom": [{"secretRef": {"name": "s"}}]}, None),
        (VLLM, {"envFrom": [{"secretRef": {"name": "s"}}]}, True),
        (KSERVE, {"args": ["--api-key", "k"]}, None),
        (KSERVE, {"args": [UNKNOWN]}, None),
    ],
)
def test_the_key_that_callers_need(terms: Terms, more: dict[str, Any], key: object) -> None:
    assert of(terms, **more).key == key


def test_an_unknown_word_may_be_the_key() -> None:
    with pytest.raises(UnknownValueError):
        _ = of(VLLM, args=["m", UNKNOWN]).key


def test_whether_remote_code_is_run_may_be_a_variable() -> None:
    args = ["m", "--trust-remote-code", "$(TRUST)"]
    assert not of(VLLM, args=args, env=[{"name": "TRUST", "value": "false"}]).trust_remote_code
    with pytest.raises(UnknownValueError):
        _ = of(VLLM, args=args, env=[{"name": "TRUST", "valueFrom": {}}]).trust_remote_code


def test_words_of_a_flag_that_takes_several() -> None:
    for args, words in (
        (["m", "--lora-modules", "a=x/a", "b=x/b", "--port", "1"], ["a=x/a", "b=x/b"]),
        (["m", "--lora-modules=a=x/a", "m"], ["a=x/a"]),
        (["m", "--lora-modules", "a=x/a"], ["a=x/a"]),
        (["-tp", "2", "m"], []),
    ):
        assert of(VLLM, args=args).words_of("lora-modules") == words


@pytest.mark.parametrize(
    ("words", "more", "where"),
    [
        (["--seed", "1", "--enable-lora"], {}, "args[4]"),
        (["--kv-transfer-config", "{}", "--enable-lora"], {}, "args[4]"),
        (["--seed", "1"], {}, None),
        (["--enable-lora"], {"resources": {}}, None),
        (["--enable-lora", "--nnodes", "2"], {}, None),
    ],
)
def test_where_a_flag_stands_that_the_sizing_does_not_count_with(
    words: list[str], more: dict[str, Any], where: str | None
) -> None:
    found = launch(H100, args=["--model", MODEL, *words], **more).uncounted()
    assert found == (None if where is None else f"spec.template.spec.containers[0].{where}")


def test_of_what_is_not_known_no_flag_is_uncounted() -> None:
    assert launch(args=["--model", MODEL, "--enable-lora"]).uncounted() is None
    assert launch(H100, args=["--model", "our/own", "--enable-lora"]).uncounted() is None


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ([], True),
        (["--enable-lora", "--speculative-config", "{}"], True),
        (["--cpu-offload-gb", "8"], False),
        (["--enable-lora", "--hf-overrides", "{}"], False),
        (["--kv-cache-dtype", "of_tomorrow"], False),
    ],
)
def test_weights_are_known_unless_a_flag_makes_them_smaller(words: list[str], known: bool) -> None:
    weights = launch(H100, args=["--model", MODEL, *words]).weights()
    assert (weights is not None) is known
    assert weights is None or weights == (pytest.approx(14.96, abs=0.05), pytest.approx(72.85, abs=2))


def test_nobody_knows_the_weights_of_what_is_not_known() -> None:
    assert launch(args=["--model", MODEL]).weights() is None
    assert launch(H100, args=["--model", "our/own"]).weights() is None


@pytest.mark.parametrize("more", [{"image": IMAGE, "args": ["--model", "our/own"]}, {"resources": {}}])
def test_without_a_model_or_gpus_there_are_no_figures(more: dict[str, Any]) -> None:
    assert launch(H100, **{"args": ["--model", MODEL], **more}).figures() is None


@pytest.mark.parametrize(
    ("words", "smaller"),
    [
        (["--gpu-memory-utilization", "0.5"], True),
        (["--dtype", "float32"], True),
        (["-pp", "2"], False),
        (["--enforce-eager"], False),
        (["--kv-cache-dtype", "fp8"], False),
        (["--quantization", "fp8"], False),
        (["--max-num-batched-tokens", "65536", "--max-num-seqs", "1024"], True),
    ],
)
def test_flags_that_change_the_room(words: list[str], smaller: bool) -> None:
    def tokens(*more: str) -> int:
        figures = launch(H100, args=["--model", MODEL, "--max-model-len", "8192", *more]).figures()
        assert figures is not None
        assert figures.kv_cache_tokens is not None
        return figures.kv_cache_tokens

    assert (tokens(*words) < tokens()) is smaller
    assert tokens(*words) != tokens()


def test_what_does_not_fit_has_no_tokens() -> None:
    words = ["--model", "meta-llama/Llama-3.3-70B-Instruct", "--max-model-len", "8192"]
    figures = launch(H100, args=words).figures()
    assert figures is not None
    assert (figures.fits, figures.kv_cache_tokens) == (False, None)
    assert figures.errors


def test_a_ray_cluster_that_a_group_of_pods_makes_has_their_gpus() -> None:
    words = ["sh", "-c", "vllm serve m -tp 8 -pp 2 --distributed-executor-backend ray"]
    template = {"spec": {"containers": [container(command=words, resources={"limits": {"nvidia.com/gpu": 8}})]}}
    inputs = {"spec": {"leaderWorkerTemplate": {"size": 2, "workerTemplate": template}}}
    (one,) = launches(Resource.plain("kubernetes:leaderworkerset.x-k8s.io/v1:LeaderWorkerSet", "it", inputs))
    assert one.gpus == 16

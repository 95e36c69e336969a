"""What a container runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.engines.programs import engine_of, runs_engine, runs_litellm
from policies.readers.engines.terms import SGLANG, TGI, VLLM, Terms
from policies.readers.kubernetes.pods import Container, Pod


def is_of(terms: Terms) -> Callable[[Container], bool]:
    return lambda one: engine_of(one) is terms


runs_vllm = is_of(VLLM)
ALL = {"vllm": runs_vllm, "sglang": is_of(SGLANG), "tgi": is_of(TGI), "engine": runs_engine}


def container(data: dict[str, Any]) -> Container:
    return Container(data, "it", Pod({}, "", Node(None)))


@pytest.mark.parametrize(
    ("data", "runs"),
    [
        ({"image": "lmsysorg/sglang:v0.5.20"}, {"sglang", "engine"}),
        ({"image": "lmsysorg/sglang-router:v0.5.20"}, set()),
        ({"image": "registry.example/sglang/ui:1"}, set()),
        ({"image": "vllm/vllm-openai:v0.32.0"}, {"vllm", "engine"}),
        ({"image": "vllm/vllm-openai:v0.32.0", "command": []}, {"vllm", "engine"}),
        ({"image": UNKNOWN, "command": [], "args": ["--max-model-len=8192"]}, {"vllm", "engine"}),
        ({"image": "ghcr.io/huggingface/text-generation-inference:3.3.4"}, {"tgi", "engine"}),
        ({"image": UNKNOWN, "args": ["--model", "m", "--max-model-len=8192"]}, {"vllm", "engine"}),
        ({"image": "a/bench:1", "command": ["python3", "bench.py"], "args": ["--max-model-len=8192"]}, set()),
        ({"image": "a/b:1", "command": ["python3"], "args": ["-m", "sglang.launch_server"]}, {"sglang", "engine"}),
        ({"image": "lmsysorg/sglang:v0.5.20", "command": ["hf", "download", "m"]}, set()),
    ],
)
def test_engines_by_command_or_image(data: dict[str, Any], runs: set[str]) -> None:
    found = set()
    for name, question in ALL.items():
        try:
            found |= {name} if question(container(data)) else set()
        except UnknownValueError as unknown:
            assert unknown.path == "it.image"
    assert found == runs


GPU = {"limits": {"nvidia.com/gpu": 1}}


@pytest.mark.parametrize(
    ("command", "open_"),
    [
        (["/scripts/start.sh"], True),
        (["/scripts/start.sh", "-c", "settings"], True),
        (["bash", "-e", "/scripts/start.sh"], True),
        (["sh", "-c", "/scripts/start.sh"], True),
        (["/bin/bash", "-ec", "cd /app && exec ./start.sh --fast"], True),
        (["sh", "-c", "set -e\nbash -x start.sh; echo done"], True),
        (["sh", "-c", ". ./env.sh; python3 train.py"], False),
        (["sh", "-c", "python3 train.py", "start.sh"], False),
        (["sh", "-c", "echo start.sh"], False),
        (["python3", "start.sh"], False),
        (["bash", "-e", "train"], False),
        (["bash"], False),
    ],
)
def test_a_script_in_a_file_leaves_it_open_in_an_engines_own_image_with_gpus(command: list[str], open_: bool) -> None:
    given = {"image": "vllm/vllm-openai:v0.32.0", "command": command, "resources": GPU}
    if open_:
        with pytest.raises(UnknownValueError, match="command"):
            runs_vllm(container(given))
    else:
        assert not runs_vllm(container(given))
    for other in ({"image": "registry.example/train:1"}, {"resources": {}}):
        assert not runs_vllm(container(given | other))
    assert not runs_litellm(container(given))


def of(*words: str, **more: Any) -> dict[str, Any]:
    return {"image": "registry.example/tools:1", "command": list(words), **more}


@pytest.mark.parametrize(
    "data",
    [
        of("pg_dump", "-Fc", "-f", "/backup/x", "litellm"),
        of("kubectl", "-n", "gateway", "rollout", "restart", "deployment", "litellm"),
        of("kubectl", "exec", "deploy/gateway", "--", "litellm", "--version"),
        of("helm", "rollback", "litellm", "3"),
        of("sh", "-c", "until nc -z litellm 4000; do sleep 2; done"),
        of("sh", "-c", "until pg_isready -U litellm -d litellm; do sleep 1; done"),
        of("valkey-server", args=["--user", "litellm", "on"]),
        of(
            "sh",
            "-ec",
            args=[
                "echo 'waiting for litellm and vllm serve'; until curl -sf http://vllm:8000/health; do sleep 3; done"
            ],
        ),
        of("sh", "-c", "# vllm serve takes minutes\nuntil curl -sf http://vllm:8000/health; do sleep 5; done"),
        of("bash", "-c", args=["set -euo pipefail\n# wait until vllm serve answers\nvllm bench serve --model m"]),
        of("bash", "-c", 'printf "%s\\n" "now: vllm serve"; pgrep -f "vllm serve"'),
        of("echo", "vllm", "serve"),
    ],
)
def test_a_name_in_a_command_starts_nothing(data: dict[str, Any]) -> None:
    assert not runs_litellm(container(data))
    assert not runs_engine(container(data))


@pytest.mark.parametrize(
    "data",
    [
        of("litellm", "--config", "/etc/litellm.yaml"),
        of("/app/.venv/bin/litellm", args=["--port", "4000"]),
        of("ddtrace-run", "litellm", "--config", "c"),
        of("dumb-init", "--", "litellm", "--config", "c"),
        of("doppler", "run", "--", "litellm"),
        of("uv", "run", "litellm"),
        of("python3", "-m", "litellm", "--config", "c"),
        of("sh", "-c", "set -e; prisma migrate deploy && exec litellm --config c"),
        of("sh", "-c", "DATABASE_URL=$URL litellm --config c"),
        {"image": "a/b:1", "args": ["litellm", "--config", "c"]},
        {"image": "ghcr.io/berriai/litellm:v1", "args": ["--config", "c"]},
    ],
)
def test_a_gateway_by_its_program(data: dict[str, Any]) -> None:
    assert runs_litellm(container(data))


@pytest.mark.parametrize(
    "data",
    [
        of("numactl", "--cpunodebind=0", "vllm", "serve", "m"),
        of("bash", "-c", "echo starting; source env.sh && CUDA_VISIBLE_DEVICES=0 exec vllm serve m"),
        of("bash", "-c", 'if true; then\n  vllm serve m "$@"\nfi'),
        of("mpirun", "-n", "2", "bash", "-c", "vllm serve m"),
        of("su", "user", "-c", "vllm serve m"),
        of("python", "-m", "vllm.entrypoints.openai.api_server"),
        {"image": "registry.example/shell:1", "args": ["vllm serve m --max-model-len 8192"]},
    ],
)
def test_an_engine_wherever_its_command_stands(data: dict[str, Any]) -> None:
    assert runs_vllm(container(data))


def test_what_stands_beside_an_engine_may_take_its_flags() -> None:
    args = ["--model", "m", "--max-model-len", "8192", "--max-num-seqs", "5"]
    assert not runs_vllm(container({"image": "ghcr.io/llm-d/llm-d-inference-sim:v0.5.1", "args": args}))
    assert runs_vllm(container({"image": "registry.example/serving:1.0", "args": args}))

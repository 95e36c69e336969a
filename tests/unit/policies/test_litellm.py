"""Configurations of LiteLLM, and whose servers their backends are on."""

from typing import Any

import pytest

from policies.node import UNKNOWN, UnknownValueError
from policies.resources import Resource
from policies.subjects.litellm import Configuration, Where, configurations, gateways, is_private


def where(**params: Any) -> Where | None:
    configuration = Configuration({"model_list": [{"model_name": "m", "litellm_params": params}]})
    (backend,) = configuration.backends([])
    return backend.where


@pytest.mark.parametrize(
    ("params", "whose"),
    [
        ({"model": "hosted_vllm/meta-llama/Llama-3.1-8B-Instruct"}, Where.PRIVATE),
        ({"model": "hosted_vllm/m", "api_base": "https://llm.example.com/v1"}, Where.PRIVATE),
        ({"model": "hosted_vllm/m", "api_base": "os.environ/ENGINE"}, Where.PRIVATE),
        ({"model": "hosted_vllm/m", "api_base": "https://dashscope.aliyuncs.com/compatible-mode/v1"}, Where.CLOUD),
        ({"model": "ollama_chat/llama3.1"}, Where.PRIVATE),
        ({"model": "openai/m", "api_base": "http://vllm:8000/v1"}, Where.PRIVATE),
        ({"model": "openai/m", "api_base": "http://vllm.llm.svc.cluster.local:8000/v1"}, Where.PRIVATE),
        ({"model": "openai/m", "api_base": "http://192.168.3.4:8000/v1"}, Where.PRIVATE),
        ({"model": "openai/m", "base_url": "http://127.0.0.1:8000/v1"}, Where.PRIVATE),
        ({"model": "m", "api_base": "http://10.0.0.5/v1"}, Where.PRIVATE),
        ({"model": "anthropic/m", "api_base": "http://vllm.llm.svc:8000"}, Where.PRIVATE),
        ({"model": "openai/gpt-4o"}, Where.CLOUD),
        ({"model": "openai/gpt-4o", "api_base": "https://api.openai.com/v1"}, Where.CLOUD),
        ({"model": "openai/gpt-4o", "api_base": "https://eu.api.openai.com/v1"}, Where.CLOUD),
        ({"model": "gpt-4o"}, Where.CLOUD),
        ({"model": "claude-sonnet-4-5"}, Where.CLOUD),
        ({"model": "azure/gpt-4o", "api_base": "https://mine.openai.azure.com"}, Where.CLOUD),
        ({"model": "azure/gpt-4o", "api_base": "os.environ/AZURE_API_BASE"}, Where.CLOUD),
        ({"model": "bedrock/anthropic.claude-sonnet-4-5-v1:0"}, Where.CLOUD),
        ({"model": "qwen-max", "custom_llm_provider": "dashscope"}, Where.CLOUD),
        ({"model": "openai/m", "api_base": "https://llm.example.com/v1"}, None),
        ({"model": "openai/m", "api_base": "os.environ/ENGINE"}, None),
        ({"model": "somebody/m"}, None),
        ({"model": "m"}, None),
        ({}, None),
    ],
)
def test_whose_a_backend_is(params: dict[str, Any], whose: Where | None) -> None:
    assert where(**params) is whose


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("vllm", True),
        ("localhost", True),
        ("10.1.2.3", True),
        ("fd00::1", True),
        ("gpu-1.corp.internal", True),
        ("1.1.1.1", False),
        ("2606:4700:4700::1111", False),
        ("llm.example.com", False),
        ("internal.example.com", False),
    ],
)
def test_private_hosts(host: str, private: bool) -> None:
    assert is_private(host) is private


def test_an_engine_whose_address_is_not_known_is_private_and_told() -> None:
    entry = {"model_name": "m", "litellm_params": {"model": "hosted_vllm/m", "api_base": UNKNOWN}}
    unknown: list[UnknownValueError] = []
    (backend,) = Configuration({"model_list": [entry]}).backends(unknown)
    assert backend.where is Where.PRIVATE
    assert [error.path for error in unknown] == ["model_list[0].litellm_params.api_base"]


def test_what_is_no_configuration() -> None:
    texts = {
        "a.yaml": "the word model_list",
        "b.yaml": "model_list: [",
        "c.yaml": "other: {model_list: 1}",
        "d": UNKNOWN,
    }
    assert list(configurations(Resource.plain("kubernetes:core/v1:ConfigMap", "it", {"data": texts}))) == []


@pytest.mark.parametrize(
    ("container", "runs"),
    [
        ({"image": "ghcr.io/berriai/litellm:main-stable"}, True),
        ({"image": "ghcr.io/berriai/litellm-database:v1.80.0"}, True),
        ({"image": "registry.example/gateway:1", "command": ["litellm", "--config", "c.yaml"]}, True),
        ({"image": "registry.example/gateway:1", "command": ["/usr/bin/litellm"]}, True),
        ({"image": "nginx:1.29", "command": []}, False),
        ({}, False),
    ],
)
def test_containers_that_run_it(container: dict[str, Any], runs: bool) -> None:
    pod = Resource.plain("kubernetes:core/v1:Pod", "it", {"spec": {"containers": [{"name": "c", **container}]}})
    assert bool(list(gateways(pod))) is runs

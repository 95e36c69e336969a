"""Configurations of LiteLLM, and whose servers their backends are on."""

from collections.abc import Collection
from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.engines.launches import gateways
from policies.readers.gateways.litellm import Configuration, configurations
from policies.readers.gateways.ways import Backend, Ways, Where, is_private
from policies.resources import Resource


def where(params: dict[str, Any], own: Collection[str] = ()) -> Where | None:
    configuration = Configuration({"model_list": [{"model_name": "m", "litellm_params": params}]})
    (backend,) = configuration.backends([], own)
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
        ({"model": "openai/m", "api_base": "https://x.ai/v1"}, Where.CLOUD),
        ({"model": "openai/gpt-4o", "api_base": ""}, Where.CLOUD),
        ({"model": "openai/m", "api_base": "https://llm.example.com/v1"}, None),
        ({"model": "openai/m", "api_base": "https://netflix.ai/v1"}, None),
        ({"model": "gpt-4o", "api_base": "https://llm.example.com/v1"}, None),
        ({"model": "openai/m", "api_base": "os.environ/ENGINE"}, None),
        ({"model": "somebody/m"}, None),
        ({"model": "m"}, None),
        ({}, None),
    ],
)
def test_whose_a_backend_is(params: dict[str, Any], whose: Where | None) -> None:
    assert where(params) is whose


@pytest.mark.parametrize(
    ("host", "whose"),
    [
        ("example.com", Where.PRIVATE),
        ("llm.example.com", Where.PRIVATE),
        ("example.org", None),
        ("notexample.com", None),
        ("api.openai.com", Where.CLOUD),
    ],
)
def test_hosts_of_a_domain_of_ones_own(host: str, whose: Where | None) -> None:
    own = ["example.com", "openai.com"]
    assert where({"model": "openai/m", "api_base": f"https://{host}/v1"}, own) is whose


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


def test_whose_anything_else_is_stays_open_until_its_address_is_known() -> None:
    entry = {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": UNKNOWN}}
    known = {"model_name": "n", "litellm_params": {"model": "openai/n"}}
    unknown: list[UnknownValueError] = []
    (backend,) = Configuration({"model_list": [entry, known]}).backends(unknown)
    assert backend.group == "n"
    assert [error.path for error in unknown] == ["model_list[0].litellm_params.api_base"]


def test_an_alias_is_a_name_or_a_map_with_one() -> None:
    given = {"a": "m", "b": {"model": "n", "hidden": True}, "c": UNKNOWN, "d": {"model": UNKNOWN}, "e": "o"}
    unknown: list[UnknownValueError] = []
    found = Configuration({"router_settings": {"model_group_alias": given}}).aliases(unknown)
    assert {name: node.data for name, node in found.items()} == {"a": "m", "b": "n", "e": "o"}
    at = "router_settings.model_group_alias"
    assert [error.path for error in unknown] == [f"{at}.c", f"{at}.d.model"]


def backend(group: str, whose: Where | None, *, unsaid: str | None = None) -> Backend:
    return Backend(group, Node(group), whose, None if unsaid is None else Node(unsaid))


def ways(*backends: Backend) -> Ways:
    return Ways(list(backends), {}, ())


def test_a_model_has_the_backends_of_its_name_else_those_of_patterns_that_it_fits() -> None:
    some = ways(*(backend(group, Where.PRIVATE) for group in ("m", "m*", "openai/*")))
    for group, found in (("m", ["m"]), ("m-2", ["m*"]), ("openai/gpt-4o", ["openai/*"]), ("other", [])):
        assert [each.group for each in some.of(group)] == found


def test_one_backend_of_which_nothing_says_whose_it_is_is_enough() -> None:
    some = ways(backend("m", Where.PRIVATE), backend("m", None, unsaid="https://llm.example.com"))
    found = some.unsaid("m")
    assert found is not None
    assert found.data == "https://llm.example.com"
    assert ways(backend("m", Where.PRIVATE)).unsaid("m") is None


@pytest.mark.parametrize(
    ("target", "cloud"),
    [
        ("m", False),
        ({"model": "m"}, False),
        ({"model": "m", "api_base": "https://api.openai.com/v1"}, True),
        ("c", True),
        ({"model": "c", "api_base": "http://vllm:8000/v1"}, False),
        ("gpt-4o", True),
        ("somebody", False),
    ],
)
def test_a_target_with_an_address_of_its_own_goes_there(target: Any, cloud: bool) -> None:
    assert ways(backend("m", Where.PRIVATE), backend("c", Where.CLOUD)).cloud(Node(target)) is cloud


CONFIGURATION = "model_list: []"


@pytest.mark.parametrize(
    ("kind", "inputs", "places"),
    [
        ("core/v1:ConfigMap", {"data": {"a.yaml": CONFIGURATION, "proxy": CONFIGURATION, "b": "x: 1"}}, [
            'data["a.yaml"]',
            "data.proxy",
        ]),
        ("core/v1:Secret", {"stringData": {"proxy": CONFIGURATION}}, ["stringData.proxy"]),
        ("helm.sh/v3:Release", {"values": {"a": [{"model_list": []}], "b": "model_list", "c": UNKNOWN}}, ["values.a[0]"]),
        ("core/v1:Pod", {"spec": {"containers": [{"env": [{"name": "PROXY", "value": CONFIGURATION}]}]}}, [
            "spec.containers[0].env[0].value",
        ]),
        ("core/v1:Pod", {"spec": {"containers": [{"env": [{"name": "TOKEN", "value": UNKNOWN}]}]}}, []),
    ],
)  # fmt: skip
def test_configurations_wherever_they_stand(kind: str, inputs: dict[str, Any], places: list[str]) -> None:
    assert [each.path for each in configurations(Resource.plain(f"kubernetes:{kind}", "it", inputs))] == places


@pytest.mark.parametrize(
    ("kind", "inputs", "place"),
    [
        ("core/v1:ConfigMap", {"data": {"a.yaml": UNKNOWN, "b.yaml": CONFIGURATION}}, 'data["a.yaml"]'),
        (
            "core/v1:Pod",
            {"spec": {"containers": [{"env": [{"name": "LITELLM_CONFIG", "value": UNKNOWN}]}]}},
            "spec.containers[0].env[0].value",
        ),
        ("helm.sh/v3:Release", {"values": UNKNOWN}, "values"),
    ],
)
def test_what_may_be_a_configuration_and_is_not_known_is_told(kind: str, inputs: dict[str, Any], place: str) -> None:
    with pytest.raises(UnknownValueError) as unknown:
        list(configurations(Resource.plain(f"kubernetes:{kind}", "it", inputs)))
    assert unknown.value.path == place


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

"""Where the model of a launch comes from, and what else its engine fetches."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.platform import PlatformLaunch
from policies.readers.engines.sources import (
    called,
    fetched,
    from_own_hub,
    hub_is_off,
    is_own_hub,
    revision,
    says_no,
    source,
    variable,
)
from policies.readers.engines.terms import SGLANG, VLLM, Terms
from policies.readers.kubernetes.pods import Container, Pod
from policies.readers.unknown import unknown_as_item


def launch(*words: Any, terms: Terms = VLLM, **more: Any) -> ContainerLaunch:
    given = {"image": "vllm/vllm-openai:v0.32.0", "args": list(words), **more}
    return ContainerLaunch(Container(given, "it", Pod({}, "", Node(None))), terms=terms)


def variables(**values: Any) -> list[dict[str, Any]]:
    return [
        {"name": name, **(value if isinstance(value, dict) else {"value": value})} for name, value in values.items()
    ]


ELSEWHERE = {"valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}


@pytest.mark.parametrize(
    ("model", "said", "branch"),
    [
        ("org/m", "hub:org/m", "main"),
        ("gpt2", "hub:gpt2", "main"),
        ("hf://org/m", "hub:org/m", "main"),
        ("hf://org/m:abc", "hub:org/m", "abc"),
        ("hf", "hub:hf", "main"),
        ("s3://weights/m", "s3://weights/m", "main"),
        ("https://u:p@host/m?token=t", "https://host/m", "main"),
        ("/models/m", "host:/models/m", "main"),
        ("./m", "host:./m", "main"),
        (".cache", "host:.cache", "main"),
        ("a/b/c", "host:a/b/c", "main"),
    ],
)
def test_a_containers_source_and_revision(model: str, said: str, branch: str) -> None:
    one = launch("--model", model, "--revision", "main")
    assert (str(source(one)), revision(one), one.place("source")) == (said, branch, one)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "hub", "repository": "org/m", "path": "p"}, "hub:org/m"),
        ({"kind": "mirror", "url": "https://u:p@models.example/m"}, "mirror:https://models.example/m"),
        ({"kind": "s3", "url": "s3://models/m"}, "s3://models/m"),
        (
            {"kind": "s3", "url": "s3://models/m", "endpoint": "https://minio.example:9000/"},
            "s3@minio.example:models/m",
        ),
        ({"kind": "path", "path": "/srv/m"}, "path:/srv/m"),
        ({"kind": "hostPath", "path": "/srv/m"}, "host:/srv/m"),
        ({}, "None"),
    ],
)
def test_a_platforms_source(given: dict[str, Any], said: str) -> None:
    one = PlatformLaunch({"kind": "served", "source": given})
    assert (str(source(one)), one.place("source").path) == (said, "source")


def test_nothing_says_the_source() -> None:
    assert (source(launch()), called(launch())) == (None, "a model that nothing names")
    assert called(launch("--model", "https://u:p@host/m")) == "https://host/m"


HUB = "https://hub.example:8443/hf"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (variables(HF_ENDPOINT=HUB), "hub@hub.example:org/m"),
        (variables(HF_ENDPOINT="hub.example"), "hub@hub.example:org/m"),
        (variables(HF_ENDPOINT="https://huggingface.co") + variables(HF_ENDPOINT=HUB), "hub@hub.example:org/m"),
        (variables(HF_ENDPOINT="https://hf-mirror.com/"), "hub:org/m"),
        (variables(HF_ENDPOINT=""), "hub:org/m"),
        (variables(OTHER=HUB, MORE=ELSEWHERE), "hub:org/m"),
        ([], "hub:org/m"),
    ],
)
def test_a_hub_of_ones_own_is_said(env: list[Any], said: str) -> None:
    one = launch("--model", "org/m", env=env)
    found = source(one)
    assert found is not None
    assert str(from_own_hub(found, one)) == said


def test_only_what_comes_from_a_hub_has_one() -> None:
    one = launch("--model", "/m", env=variables(HF_ENDPOINT=ELSEWHERE))
    found = source(one)
    assert found is not None
    assert from_own_hub(found, one) == found


def test_which_hub_may_be_said_elsewhere() -> None:
    one = launch("--model", "org/m", env=variables(HF_ENDPOINT=ELSEWHERE))
    found = source(one)
    assert found is not None
    with pytest.raises(UnknownValueError, match="valueFrom"):
        from_own_hub(found, one)


def test_a_platforms_hub() -> None:
    for endpoint, said in ((HUB, "hub@hub.example:org/m"), (None, "hub:org/m")):
        given = {"kind": "hub", "repository": "org/m", "endpoint": endpoint}
        one = PlatformLaunch({"kind": "served", "source": given})
        found = source(one)
        assert found is not None
        assert str(from_own_hub(found, one)) == said


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--model", "org/m"], [("the model", "org/m", None)]),
        (["--model", "/m"], []),
        (["--model", "org/m", "--tokenizer", "org/m"], [("the model", "org/m", None)]),
        (["--model", "/m", "--tokenizer", "org/t", "--revision", "a"], [("the tokenizer", "org/t", "a")]),
        (
            ["--model", "/m", "--tokenizer=org/t", "--revision=a", "--tokenizer-revision=b"],
            [("the tokenizer", "org/t", "b")],
        ),
        (["--model", "/m", "--tokenizer", "/t"], []),
        (
            ["--model", "/m", "--speculative-config", '{"model": "org/d", "revision": 7}'],
            [("the draft model", "org/d", "7")],
        ),
        (["--model", "/m", "--speculative-config", '{"model": "org/d"}'], [("the draft model", "org/d", None)]),
        (["--model", "/m", "--speculative-config", '{"model": "/d"}'], []),
        (["--model", "/m", "--speculative-config", '{"method": "ngram"}'], []),
        (
            ["--model", "/m", "--lora-modules", "a=org/a", '{"name": "b", "path": "org/b"}', "c=/c", "d=d"],
            [("the LoRA adapter", "org/a", None), ("the LoRA adapter", "org/b", None)],
        ),
    ],
)
def test_what_an_engine_fetches(words: list[str], found: list[tuple[str, str, str | None]]) -> None:
    assert [(each.what, each.repository, each.revision) for each in fetched(launch(*words))] == found


def test_of_another_engine_only_the_model_is_known() -> None:
    words = ["--model-path", "org/m", "--tokenizer", "org/t", "--speculative-config", UNKNOWN]
    assert [each.what for each in fetched(launch(*words, terms=SGLANG))] == ["the model"]


def test_an_adapter_that_is_not_known_is_told() -> None:
    with pytest.raises(UnknownValueError) as unknown:
        list(fetched(launch("--model", "/m", "--lora-modules", UNKNOWN)))
    assert unknown.value.path == "it.args[3]"


def test_one_that_is_not_known_hides_no_other() -> None:
    *known, unknown = unknown_as_item(
        fetched(launch("--model", "org/m", "--tokenizer", UNKNOWN, "--lora-modules", "a=org/a"))
    )
    assert isinstance(unknown, UnknownValueError)
    assert unknown.path == "it.args[3]"
    assert len(known) == 2


@pytest.mark.parametrize(
    ("env", "off"),
    [
        (variables(HF_HUB_OFFLINE="1"), True),
        (variables(HF_HUB_OFFLINE="YES"), True),
        (variables(HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="1"), False),
        (variables(HF_HUB_OFFLINE="", TRANSFORMERS_OFFLINE="1"), True),
        (variables(TRANSFORMERS_OFFLINE="on"), True),
        (variables(OTHER="1"), False),
        ([], False),
    ],
)
def test_whether_the_hub_is_off(env: list[Any], off: bool) -> None:
    assert hub_is_off(launch("--model", "m", env=env)) is off


def test_variables_from_elsewhere_are_not_known() -> None:
    assert variable(launch(env=variables(A="1", B=ELSEWHERE), envFrom=[{"configMapRef": {}}]), "A") == "1"
    assert variable(launch(env=variables(A="1", B=ELSEWHERE)), "C") is None
    for more, where in (
        ({"env": variables(A=ELSEWHERE)}, "valueFrom"),
        ({"envFrom": [{"configMapRef": {}}]}, "envFrom"),
    ):
        with pytest.raises(UnknownValueError, match=where):
            variable(launch(**more), "A")


@pytest.mark.parametrize(
    ("endpoint", "own"),
    [
        ("https://hub.example", True),
        ("https://huggingface.co.example", True),
        ("https://huggingface.co", False),
        ("HTTPS://www.hf.co/x", False),
        ("", False),
        (None, False),
    ],
)
def test_hubs_of_ones_own(endpoint: str | None, own: bool) -> None:
    assert is_own_hub(endpoint) is own


def test_a_variable_that_is_not_set_does_not_say_no() -> None:
    assert [says_no(value) for value in (None, "1", "True", "0", "", False)] == [False, False, False, True, True, True]

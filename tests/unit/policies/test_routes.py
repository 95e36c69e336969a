"""Where requests to a platform's models go, and what of a platform listens."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.engines.platform import listeners, taken_gpus
from policies.readers.gateways.routes import Routes, is_outside

PLATFORM: dict[str, Any] = {
    "models": [
        {"kind": "served", "name": "llama", "aliases": ["fast"], "fallbacks": ["qwen"]},
        {"kind": "served", "name": "qwen", "fallbacks": ["fast", "cheap"]},
        {"kind": "provided", "name": "gpt", "aliases": ["cheap"], "provider": "openai"},
        {"kind": "provided", "name": "desktop", "provider": "lm_studio"},
        {"kind": "routed", "name": "mixed", "targets": {"fast": 9, "gpt": 1}},
        {"kind": "provided", "name": "lost", "provider": "of-nobody"},
    ],
    "providers": [
        {"name": "openai", "kind": "openai", "url": None},
        {"name": "lm_studio", "kind": "openai_compatible", "url": "http://192.168.1.9:1234/v1"},
    ],
    "teams": [
        {"name": "legal", "models": None, "private": True},
        {"name": "b", "models": ["fast", "cheap"], "private": False},
    ],
}
ROUTES = Routes(Node(PLATFORM))


@pytest.mark.parametrize(
    ("name", "targets", "here", "leaves", "openly"),
    [
        ("llama", ["llama"], True, ["gpt of openai"], True),
        ("fast", ["llama"], True, ["gpt of openai"], False),
        ("qwen", ["qwen"], True, ["gpt of openai"], False),
        ("desktop", ["desktop"], False, [], False),
        ("gpt", ["gpt"], False, ["gpt of openai"], True),
        ("mixed", ["llama", "gpt"], True, ["gpt of openai"], False),
        ("lost", ["lost"], False, ["lost of of-nobody"], False),
        ("nothing", [], False, [], False),
    ],
)
def test_routes(name: str, targets: list[str], here: bool, leaves: list[str], openly: bool) -> None:
    assert ROUTES.targets(name) == targets
    assert ROUTES.is_here(name) is here
    assert list(ROUTES.leaves_by(name)) == leaves
    assert ROUTES.asked_openly(name) is openly


@pytest.mark.parametrize(
    ("provider", "own", "outside"),
    [
        ({"kind": "openai", "url": None}, (), True),
        ({"kind": "openai_compatible", "url": "http://10.0.0.1/v1"}, (), False),
        ({"kind": "openai_compatible", "url": "http://desk.lan:1234/v1"}, (), False),
        ({"kind": "openai_compatible", "url": "https://llm.example.com/v1"}, (), True),
        ({"kind": "openai_compatible", "url": "https://llm.example.com/v1"}, ("example.com",), False),
        ({"kind": "azure_openai", "url": "https://a.openai.azure.com"}, ("azure.com",), True),
    ],
)
def test_providers_beyond_ones_own_networks(provider: dict[str, Any], own: tuple[str, ...], outside: bool) -> None:
    assert is_outside(Node(provider), own) is outside


def test_an_address_that_is_not_known_may_be_anybodys() -> None:
    with pytest.raises(UnknownValueError):
        is_outside(Node({"url": UNKNOWN}))


def test_what_listens_and_which_gpus_are_taken() -> None:
    platform = Node(
        {
            "gateways": [{"name": "litellm"}],
            "models": [
                {"kind": "served", "instances": [{"machine": "a", "gpus": [0, 1]}, {"machine": "b", "gpus": []}]},
                {"kind": "served", "instances": UNKNOWN},
                {"kind": "provided", "instances": [{"machine": "c", "gpus": [7]}]},
            ],
        }
    )
    paths = [each.path for each in listeners(platform)]
    assert paths == ["gateways[0]", "models[0].instances[0]", "models[0].instances[1]", "models[1].instances"]
    taken = taken_gpus(platform)
    assert [next(taken), next(taken)] == [("a", 0), ("a", 1)]
    with pytest.raises(UnknownValueError):
        next(taken)

"""What two declarations differ in: every property that a reviewer would ask for, and nothing that stays."""

import copy
from typing import Any

import pytest

from slipway.deployment.declaration import declaration
from slipway.review import Kind
from slipway.review.declared import differences
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import GOOD_KEY, OTHER_KEY, REMOVED, THIRD_KEY, changed, many, with_changes

LLAMA = ("models", "llama-3.3-70b")


def everything() -> dict[str, Any]:
    return changed(many(), [*LLAMA, "replicas"], 2)


def declared(document: dict[str, Any]) -> dict[str, Any]:
    found = deployment(document)
    plain: dict[str, Any] = found.known(declaration(found))
    return plain


BEFORE = declared(everything())


def told(*changes: tuple[Any, Any]) -> dict[str, dict[str, tuple[str | None, str | None]]]:
    """Facts by label, by what they are of."""
    return {
        f"{each.what} {each.name} {each.kind}": {fact.label: (fact.before, fact.after) for fact in each.facts}
        for each in differences(BEFORE, declared(with_changes(everything(), *changes)))
    }


def test_nothing_differs_from_itself() -> None:
    assert differences(BEFORE, copy.deepcopy(BEFORE)) == ()


def test_from_nothing_all_is_added() -> None:
    found = differences({}, BEFORE)
    assert {each.kind for each in found} == {Kind.ADDED}
    assert {each.what for each in found} == {"pool", "machine", "model", "provider", "team", "gateway", "front"}
    assert {each.kind for each in differences(BEFORE, {})} == {Kind.REMOVED}


@pytest.mark.parametrize(
    ("path", "value", "of", "label", "sides"),
    [
        ([*LLAMA, "max_model_len"], 4096, "model llama-3.3-70b changed", "context window", ("8,192", "4,096")),
        ([*LLAMA, "fallbacks"], ["gpt-5", "desktop"], "model llama-3.3-70b changed", "fall-backs", ("gpt-5", "gpt-5, desktop")),
        ([*LLAMA, "aliases"], ["llama"], "model llama-3.3-70b changed", "aliases", ("llama, default", "llama")),
        ([*LLAMA, "engine", "quantization"], "fp8", "model llama-3.3-70b changed", "engine's options", None),
        ([*LLAMA, "engine", "flags", "swap-space"], 4, "model llama-3.3-70b changed", "engine's flags", None),
        (["models", "qwen-1.5b", "private"], False, "model qwen-1.5b changed", "private", ("yes", None)),
        (["models", "desktop", "model"], "qwen3-4b", "model desktop changed", "provider's name for it", ("qwen3-8b", "qwen3-4b")),
        (["models", "chat", "targets", "desktop"], 5, "model chat changed", "shared out over", None),
        (["providers", "lm-studio", "url"], "http://10.9.9.8:1234/v1", "provider lm-studio changed", "address", None),
        (["gateway", "teams", "legal", "private"], False, "team legal changed", "private", ("yes", None)),
        (["gateway", "teams", "assistant", "models"], ["llama"], "team assistant changed", "models", (None, "llama")),
        (["gateway", "teams", "assistant", "tokens_per_minute"], 5, "team assistant changed", "tokens a minute", ("90,000", "5")),
        (["gateway", "port"], 4444, "gateway litellm changed", "port", ("4000", "4444")),
        (["gateway", "request_timeout_s"], 60, "model llama-3.3-70b changed", "drain in seconds", ("450", "60")),
        (["front", "allowed_networks"], REMOVED, "front nginx changed", "admitted networks", ("10.0.0.0/8", None)),
        (["front", "server_name"], "other.example.com", "front nginx changed", "name", ("llm.example.com", "other.example.com")),
        (["pools", "cpu", "hosts", "cpu-1", "address"], "10.0.0.22", "machine cpu-1 changed", "address", None),
    ],
)  # fmt: skip
def test_a_change_is_told(
    path: list[str], value: Any, of: str, label: str, sides: tuple[str | None, str | None] | None
) -> None:
    facts = told((path, value))[of]
    assert label in facts
    assert facts[label][0] != facts[label][1]
    if sides is not None:
        assert facts[label] == sides


def test_where_a_model_runs_is_told_with_its_gpus() -> None:
    facts = told(([*LLAMA, "gpus"], 2))["model llama-3.3-70b changed"]
    assert facts["GPUs of each replica"] == ("4", "2")
    before, after = facts["runs on"]
    assert "gpu-1 GPU 0-3 port " in (before or "")
    assert "gpu-1 GPU 0-1 port " in (after or "")


def test_models_and_machines_come_and_go() -> None:
    found = told(
        (["models", "embedder"], REMOVED),
        (["gateway", "teams", "legal", "models"], ["llama"]),
        (["models", "bge"], {"task": "embedding", "pool": "cpu", "source": {"host_path": "/srv/bge"}}),
        (["pools", "cpu", "hosts", "cpu-2"], {"address": "10.0.0.23", "user": "ubuntu"}),
    )
    assert found["model embedder removed"]["task"] == ("embedding", None)
    assert found["model bge added"]["task"] == (None, "embedding")
    assert found["machine cpu-2 added"]["pool"] == (None, "cpu")


def test_no_secret_is_told() -> None:
    text = repr(differences({}, BEFORE))
    for secret in (GOOD_KEY, OTHER_KEY, THIRD_KEY, "sk-openai-canary", "hf-token"):
        assert secret not in text

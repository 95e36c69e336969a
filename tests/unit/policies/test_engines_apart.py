"""A platform with several engines and providers: what is known of one engine says nothing of another."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from policies.judge import judge
from policies.node import UNKNOWN, Node
from policies.resources import PLATFORM, Resource, Stack
from tests.stacks.documents import FOLDER, read

DOCUMENT = read(FOLDER / "good" / "slipway-engines.yaml")
ABOUT_VLLM = {"denied-releases", "prompt-logging", "tensor-parallel", "trust-remote-code", "version-compatibility"}


def fired(inputs: dict[str, Any]) -> set[tuple[str, str]]:
    """Rule and place of each violation of a platform; nothing may be open."""
    stack = Stack(name="models", resources=(Resource.plain(PLATFORM, "platform", inputs),))
    judgement = judge(stack, DOCUMENT.configuration())
    assert judgement.open == ()
    return {(found.rule.id, found.violation.where) for found in judgement.violations}


def platform() -> dict[str, Any]:
    return copy.deepcopy(DOCUMENT.resources[0]["inputs"])


def test_no_rule_about_vllm_touches_another_engine() -> None:
    assert fired(platform()) == set()


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        (1, {"denied-releases", "prompt-logging", "trust-remote-code"}),
        (2, {"tensor-parallel", "version-compatibility"}),
    ],
)
def test_the_same_said_of_vllm_is_told(model: int, rules: set[str]) -> None:
    """Else the test before would pass with rules that see nothing at all."""
    inputs = platform()
    inputs["models"][model]["engine"]["name"] = "vllm"
    found = fired(inputs)
    assert {rule for rule, _ in found} == rules
    assert rules <= ABOUT_VLLM
    assert all(where.startswith(f"models[{model}]") for _, where in found)


def test_a_fall_back_to_a_cloud_is_told_unless_only_private_teams_may_ask() -> None:
    inputs = platform()
    inputs["models"][0]["fallbacks"] = ["gpt-5-mini"]
    # Of the model itself and of the one that falls back to it.
    assert fired(inputs) == {("cloud-fallback", "models[0].fallbacks[0]"), ("cloud-fallback", "models[2].fallbacks[0]")}
    inputs["teams"][0] = {"name": "assistant", "models": ["gpt-5-mini"], "private": False}
    assert fired(inputs) == set()


def test_what_is_not_known_of_one_model_leaves_the_others_judged() -> None:
    inputs = platform()
    inputs["models"][1]["engine"] = UNKNOWN
    inputs["models"][2]["engine"]["program"]["sha256"] = None
    stack = Stack(name="models", resources=(Resource(PLATFORM, "platform", "urn", Node(inputs)),))
    judgement = judge(stack, DOCUMENT.configuration())
    assert {found.violation.where for found in judgement.violations} == {"models[2].engine.program.sha256"}
    assert {each.where for each in judgement.open} == {"models[1].engine"}

"""What rules say of a resource, without the secrets in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from policies import judge
from policies.configuration import Configuration
from policies.node import Node, Secret
from policies.resources import Resource, Stack
from policies.rule import About, Group, Level, Rule, Severity, Violation, violation

DEPLOYMENT = "kubernetes:apps/v1:Deployment"


def line(inputs: dict[str, Any], *keys: str | int, what: str, monkeypatch: pytest.MonkeyPatch, mend: str = "do") -> str:
    """What a user sees of a violation at `keys`."""

    def check(item: Node, about: About) -> Iterator[Violation]:
        yield violation(item, *keys, what=what, mend=mend)

    rule = Rule(
        id="said",
        title="It is so",
        group=Group.PACK,
        severity=Severity.LOW,
        reason="something happens with the container",
        mend="do",
        source="none",
        url="https://example.com",
        types=("*",),
        check=check,
    )
    monkeypatch.setattr(judge, "rules_for", lambda *_: [rule])
    configuration = Configuration(levels={"all": Level.MANDATORY})
    (found,) = judge.judge_resource(Resource.plain(DEPLOYMENT, "it", inputs), Stack(), configuration).violations
    return found.line


def test_a_key_in_clear_is_not_shown_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["vllm", "serve", "--api-key", "hunter2-plain-key", "--port", "8000"]
    said = line({"command": command}, "command", what="it says hunter2-plain-key", monkeypatch=monkeypatch)
    assert 'command (["vllm", "serve", "--api-key", "[secret]", "--port", "8000"]): it says [secret];' in said


def test_neither_are_a_password_of_an_address_a_variable_s_and_one_that_json_shows_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = [
        {"name": "URL", "value": "postgresql://llm:tiger1@db/llm"},
        {"name": "DB_PASSWORD", "value": 'ti"ger'},
    ]
    said = line({"env": env}, "env", what="tiger1 and tigers", mend="take tiger1 out", monkeypatch=monkeypatch)
    assert "llm:[secret]@db" in said
    assert 'ti\\"' not in said
    assert "[secret] and tigers" in said
    assert "take [secret] out" in said


def test_a_key_that_is_cut_off_is_not_shown_either(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["vllm", "serve", "meta-llama/Llama-3.1-8B-Instruct", "--api-key", "correct-horse-battery-staple"]
    said = line({"command": command}, "command", what="it is so", monkeypatch=monkeypatch)
    assert "correct" not in said
    assert '"--api-key", "[secret]…' in said


def test_nor_is_a_private_key_s_body(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIBszCCAVmgAwIBAgIU\n-----END PRIVATE KEY-----\n"
    assert "MIIB" not in line({"pem": key}, "pem", what="it is so", monkeypatch=monkeypatch)


@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode()])
def test_no_word_of_a_secret_is_told_where_the_violation_is_in_it(encode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"script": Secret(encode("login correcthorse in the container")), "other": 1}
    what = "correcthorse is told of the container"
    assert "[secret] is told of the container" in line(inputs, "script", what=what, monkeypatch=monkeypatch)
    assert "correcthorse is told of the container" in line(inputs, "other", what=what, monkeypatch=monkeypatch)


def test_the_keys_of_a_secret_document_may_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"data": {"config": Secret(json.dumps({"model": "llama", "list": [{"password": "correcthorse"}]}))}}
    said = line(inputs, "data", "config", what="model llama has correcthorse", monkeypatch=monkeypatch)
    assert "model [secret] has [secret]" in said


def test_a_path_that_only_begins_like_a_secret_s_is_not_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"script": Secret("correcthorse there"), "scripts": "x"}
    assert "correcthorse;" in line(inputs, "scripts", what="it is correcthorse", monkeypatch=monkeypatch)

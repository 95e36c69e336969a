"""Filters over whole requests and answers: every text is read, and what the API needs for itself is left alone."""

import asyncio
import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.gateways.test_filters import EVERY, MOBILE, rules
from tests.unit.roles.gateway_part import part

gate, bodies, answers = part("filters.gate"), part("bodies"), part("answers")
MASK = "[chinese_mobile]"
CALL = {
    "id": f"call_{MOBILE}",
    "type": "function",
    "function": {"name": "f", "arguments": json.dumps({"n": int(MOBILE)})},
}

REQUESTS: Mapping[str, dict[str, Any]] = {
    "chat, a text": {"messages": [{"role": "system", "content": MOBILE}, {"role": "user", "content": "hi"}]},
    "chat, parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": f"call {MOBILE}"}]}]},
    "chat, arguments": {"messages": [{"role": "assistant", "tool_calls": [CALL]}]},
    "chat, a tool's result": {"messages": [{"role": "tool", "tool_call_id": "x", "content": MOBILE}]},
    "chat, a tool's description": {"tools": [{"type": "function", "function": {"name": "f", "description": MOBILE}}]},
    "chat, who asks": {"user": MOBILE},
    "completions": {"prompt": MOBILE, "suffix": MOBILE},
    "completions, several": {"prompt": ["a", MOBILE]},
    "embeddings": {"input": ["a", MOBILE]},
    "rerank": {"query": MOBILE, "documents": ["a", MOBILE]},
    "responses": {"instructions": MOBILE, "input": MOBILE},
    "responses, items": {"input": [{"role": "user", "content": [{"type": "input_text", "text": MOBILE}]}]},
    "responses, a tool's result": {"input": [{"type": "function_call_output", "call_id": "x", "output": MOBILE}]},
    "messages, system": {"system": [{"type": "text", "text": MOBILE}]},
    "messages, a tool's use": {
        "messages": [{"content": [{"type": "tool_use", "id": "x", "input": {"id": int(MOBILE), "name": MOBILE}}]}]
    },
    "messages, a tool's result": {"messages": [{"content": [{"type": "tool_result", "content": MOBILE}]}]},
    "nobody thought of it": {"extra": {"deep": [[{"er": MOBILE}]]}},
}
"""A number in each place of a request where one can be."""


def asked(body: dict[str, Any], of: Any = EVERY) -> dict[str, Any]:
    raw = json.dumps(body).encode()
    passed: dict[str, Any] = json.loads(asyncio.run(gate.asked(of, bodies.Json(raw, body))).raw)
    return passed


def answered(body: Any, of: Any = EVERY, family: str = "chat") -> Any:
    return json.loads(asyncio.run(gate.answered(of, family, json.dumps(body).encode())))


def refused(body: dict[str, Any], of: Any) -> Any:
    with pytest.raises(answers.Refusal) as refusal:
        asked(body, of)
    return refusal.value


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_every_text_of_a_request_is_read(name: str) -> None:
    body = {"model": "m", **REQUESTS[name]}
    before = copy.deepcopy(body)
    passed = json.dumps(asked(body))
    assert MOBILE not in passed.replace(f"call_{MOBILE}", "")
    assert MASK in passed
    assert body == before
    refusal = refused(body, rules("in", chinese_mobile="block"))
    assert (refusal.status, refusal.code) == (400, "content_filtered")
    assert "chinese_mobile" in refusal.message
    assert MOBILE not in refusal.message
    counted = asked(body, rules("in", chinese_mobile="log"))
    assert counted == before


def test_arguments_stay_json() -> None:
    body = asked({"model": "m", **REQUESTS["chat, arguments"]})
    assert json.loads(body["messages"][0]["tool_calls"][0]["function"]["arguments"]) == {"n": MASK}


def test_what_the_api_needs_is_left_alone() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MOBILE}"}}
    sound = {"type": "input_audio", "input_audio": {"format": "wav", "data": MOBILE}}
    source = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": MOBILE}}
    content = [image, sound, source]
    body = {
        "model": MOBILE,
        "seed": int(MOBILE),
        "messages": [{"role": "user", "content": content, "tool_call_id": MOBILE}],
    }
    raw = json.dumps(body).encode()
    request = bodies.Json(raw, body)
    assert asyncio.run(gate.asked(EVERY, request)) is request
    assert asyncio.run(gate.asked(None, request)) is request


def test_a_text_that_only_looks_like_a_file_is_read() -> None:
    passed = json.dumps(asked({"model": "m", "messages": [{"content": f"data:image/png;base64, {MOBILE}"}]}))
    assert MOBILE not in passed
    passed = json.dumps(asked({"model": "m", "messages": [{"data": MOBILE, "url": f"https://x/{MOBILE}"}]}))
    assert MOBILE not in passed


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"input": [[1]]}, "input"),
        ({"tokens": [1]}, "tokens"),
        ({"prompt_embeds": "abc"}, "prompt_embeds"),
    ],
)
def test_a_text_in_another_form_than_letters_is_refused(body: dict[str, Any], field: str) -> None:
    refusal = refused({"model": "m", **body}, rules("in", email="mask"))
    assert (refusal.status, refusal.code, refusal.param) == (400, "content_filtered", field)
    assert asked({"model": "m", **body}, rules("in", email="log")) == {"model": "m", **body}


def test_a_form_is_filtered_in_its_fields() -> None:
    sound = bodies.File("a.wav", "audio/wav", MOBILE.encode())
    form = bodies.Form((("model", MOBILE), ("prompt", MOBILE), ("file", sound)))
    passed = asyncio.run(gate.asked(EVERY, form))
    assert passed.fields == (("model", MOBILE), ("prompt", MASK), ("file", sound))


@pytest.mark.parametrize("large", [0, 40_000])
def test_an_answer_is_filtered_wherever_it_says_something(large: int) -> None:
    message = {"role": "assistant", "content": "x" * large + MOBILE, "reasoning": MOBILE, "tool_calls": [CALL]}
    logprobs = {"content": [{"token": MOBILE}]}
    answer = {
        "id": MOBILE,
        "choices": [{"index": 0, "message": message, "logprobs": logprobs}],
        "prompt_token_ids": [1],
    }
    passed = answered(answer)
    message = passed["choices"][0]["message"]
    assert (message["content"], message["reasoning"]) == ("x" * large + MASK, MASK)
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"n": MASK}
    assert (passed["choices"][0]["logprobs"], passed["prompt_token_ids"], passed["id"]) == (None, None, MOBILE)
    assert answered(answer, rules("out", chinese_mobile="log")) == answer
    with pytest.raises(answers.Refusal) as refusal:
        answered(answer, rules("out", chinese_mobile="block"))
    assert (refusal.value.status, refusal.value.code) == (400, "content_filtered")


def test_an_answer_that_is_no_json_is_a_text() -> None:
    assert (
        asyncio.run(gate.answered(EVERY, "transcriptions", f"he said {MOBILE}".encode())) == f"he said {MASK}".encode()
    )


def test_vectors_are_not_read() -> None:
    raw = json.dumps({"data": [{"embedding": f"A{MOBILE}"}]}).encode()
    assert asyncio.run(gate.answered(EVERY, "embeddings", raw)) is raw


def test_what_takes_too_long_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "WHOLE_S", 0.1)
    of = rules("in", {"bad": {"pattern": "(a+)+b"}}, bad="mask")
    refusal = refused({"model": "m", "prompt": "a" * 5_000 + "!"}, of)
    assert (refusal.status, refusal.code) == (400, "content_filtered")
    assert "in time" in refusal.message


def test_a_body_that_is_nested_too_deep_is_refused() -> None:
    deep: Any = MOBILE
    for _ in range(2_000):
        deep = [deep]
    with pytest.raises(answers.Refusal) as refusal:
        asyncio.run(gate.asked(EVERY, bodies.Json(b"", {"model": "m", "x": deep})))
    assert refusal.value.status == 400

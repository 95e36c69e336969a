"""Ask an engine for everything that its API documents, and look after each request whether it still serves.

An engine must survive whatever a caller may send: one request that ends its process takes the answers of everybody with it,
for as long as it starts anew. Two tables are asked: `NAMED`, cases whose answer is known, and what `generated` makes of the
engine's own OpenAPI, so that a parameter which a new release brings is asked too. After each, a plain request is answered
with tokens, and the process is the one that it was.

Of what is refused only the status is looked at. Not done: load, and speed.

By hand, against an engine on this machine: `python -m tests.e2e.sweep http://127.0.0.1:8000 MODEL PID [TASK]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

OK = frozenset({200})
REFUSED = frozenset({400, 404, 422})
"""What a caller's mistake is answered with."""
EITHER = OK | REFUSED
"""Where releases may differ, and neither harms."""

SURVIVED = EITHER | {500, 503}
"""What vLLM 0.32.0 also answers mistakes with: 500 for values that its own code trips over and goes on, and 503 for more answers
at once than its queue holds. The front says it better; here it counts that the engine lives."""

LEFT_S = 60
"""In which work for callers who left has to end: much less than it would take to its own end, on a busy machine too."""

TIMEOUT_S = 120
"""Of one request, which generates a few tokens of a tiny model."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request."""

    path: str
    body: Mapping[str, Any]
    status: frozenset[int] = OK
    """What it may be answered with."""
    headers: Mapping[str, str] = field(default_factory=dict)


COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
BASES: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"prompt": "Hello", "max_tokens": 4},
    CHAT: {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4},
    "/v1/responses": {"input": "Hello", "max_output_tokens": 4, "store": False},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/embeddings": {"input": "Hello"},
    "/pooling": {"input": "Hello"},
    "/tokenize": {"prompt": "Hello"},
    "/detokenize": {"tokens": [5, 6, 7]},
}
"""The plainest body of each path; the model is added."""

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
GRAMMAR = 'root ::= "a" | "b" root'
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
NAMED_TOOL = {"type": "function", "function": {"name": "f"}}
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

BOTH: dict[str, tuple[dict[str, Any], frozenset[int]]] = {
    "temperature 0": ({"temperature": 0}, OK),
    "temperature 2": ({"temperature": 2}, OK),
    "temperature below 0": ({"temperature": -1}, REFUSED),
    "top_p": ({"top_p": 0.1}, OK),
    "top_p 0": ({"top_p": 0}, REFUSED),
    "top_k 1": ({"top_k": 1}, OK),
    "top_k all": ({"top_k": -1}, OK),
    "top_k beyond the vocabulary": ({"top_k": 10**6}, OK),
    "top_k and top_p": ({"top_k": 5, "top_p": 0.5, "temperature": 1}, OK),
    "min_p": ({"min_p": 0.5}, OK),
    "min_p over 1": ({"min_p": 2}, REFUSED),
    "presence": ({"presence_penalty": 2}, OK),
    "frequency": ({"frequency_penalty": -2}, OK),
    "frequency too high": ({"frequency_penalty": 3}, REFUSED),
    "repetition": ({"repetition_penalty": 1.5}, OK),
    "repetition 0": ({"repetition_penalty": 0}, REFUSED),
    "all penalties": ({"repetition_penalty": 1.2, "presence_penalty": 1, "frequency_penalty": 1, "min_tokens": 2}, OK),
    "logit_bias": ({"logit_bias": {"5": 100, "6": -100}}, OK),
    "logit_bias outside": ({"logit_bias": {"99999999": 1}}, REFUSED),
    "logit_bias of a word": ({"logit_bias": {"word": 1}}, REFUSED),
    "bad words": ({"bad_words": ["tana", "sola bima"]}, OK),
    "empty bad word": ({"bad_words": [""]}, EITHER),
    "stop": ({"stop": ["a"]}, OK),
    "several stops": ({"stop": ["q", "zz"], "include_stop_str_in_output": True}, OK),
    "empty stop": ({"stop": [""]}, EITHER),
    "stop tokens": ({"stop_token_ids": [5, 6, 7]}, OK),
    "stop token outside": ({"stop_token_ids": [10**8]}, EITHER),
    "stop token below 0": ({"stop_token_ids": [-5], "min_tokens": 2}, EITHER),
    "min tokens": ({"min_tokens": 4}, OK),
    "min over max tokens": ({"min_tokens": 5}, REFUSED),
    "one token": ({"max_tokens": 1}, OK),
    "more tokens than there is room": ({"max_tokens": 10**7}, EITHER),
    "tokens below 0": ({"max_tokens": -1}, REFUSED),
    "several": ({"n": 3, "temperature": 1}, OK),
    "several of one seed": ({"n": 2, "seed": 7}, OK),
    "none": ({"n": 0}, REFUSED),
    "seed": ({"seed": 7}, OK),
    "seed below 0": ({"seed": -1}, EITHER),
    "largest seed": ({"seed": 2**63 - 1, "temperature": 1}, EITHER),
    "seed too large": ({"seed": 2**64, "temperature": 1}, REFUSED),
    "allowed tokens": ({"allowed_token_ids": [5, 6]}, OK),
    "no token allowed": ({"allowed_token_ids": []}, EITHER),
    "allowed token outside": ({"allowed_token_ids": [10**8]}, REFUSED),
    "special tokens": ({"skip_special_tokens": False, "spaces_between_special_tokens": False}, OK),
    "ignore_eos": ({"ignore_eos": True}, OK),
    "token ids": ({"return_token_ids": True, "return_tokens_as_token_ids": True}, OK),
    "truncated": ({"truncate_prompt_tokens": 2}, OK),
    "truncated to all": ({"truncate_prompt_tokens": -1}, OK),
    "truncated beyond": ({"truncate_prompt_tokens": 10**8}, EITHER),
    "beams": ({"use_beam_search": True, "n": 2, "temperature": 0}, EITHER),
    "prompt logprobs": ({"prompt_logprobs": 3}, OK),
    "prompt logprobs 0": ({"prompt_logprobs": 0}, OK),
    "all prompt logprobs": ({"prompt_logprobs": -1}, EITHER),
    "too many prompt logprobs": ({"prompt_logprobs": 1000}, REFUSED),
    "streamed prompt logprobs": ({"prompt_logprobs": 1, "stream": True}, EITHER),
    "logprobs of tokens": ({"logprob_token_ids": [5, 6]}, EITHER),
    "logprobs of a token outside": ({"logprob_token_ids": [10**8]}, EITHER),
    "priority": ({"priority": 1}, EITHER),
    "cache salt": ({"cache_salt": "x"}, OK),
    "empty cache salt": ({"cache_salt": ""}, EITHER),
    "a request's name": ({"request_id": "r" * 300}, OK),
    "further arguments": ({"vllm_xargs": {"a": 1}}, EITHER),
    "transfer": ({"kv_transfer_params": {"do_remote_decode": True}}, EITHER),
    "thinking": ({"thinking_token_budget": 1}, EITHER),
    "repetition detection": (
        {"repetition_detection": {"max_pattern_size": 4, "min_pattern_size": 1, "min_count": 2}},
        EITHER,
    ),
    "repetition detection below 0": ({"repetition_detection": {"max_pattern_size": -4, "min_count": -2}}, REFUSED),
    "stream": ({"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, OK),
    "stream options without a stream": ({"stream_options": {"include_usage": True}}, EITHER),
    "json": ({"structured_outputs": {"json": SCHEMA}, "max_tokens": 40}, OK),
    "json as text": ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, OK),
    "json that is none": ({"structured_outputs": {"json": "{"}}, REFUSED),
    "json of no type": ({"structured_outputs": {"json": {"type": "nothing"}}}, EITHER),
    "json without end": (
        {"structured_outputs": {"json": {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}}},
        SURVIVED,
    ),
    "json with a dangling reference": ({"structured_outputs": {"json": {"$ref": "#/$defs/none"}}}, EITHER),
    "json from elsewhere": ({"structured_outputs": {"json": {"$ref": "http://127.0.0.1:9/a.json"}}}, EITHER),
    "json with what is not supported": (
        {"structured_outputs": {"json": {"type": "integer", "multipleOf": 3, "not": {"const": 6}}}},
        EITHER,
    ),
    "json with a bad pattern": ({"structured_outputs": {"json": {"type": "string", "pattern": "(["}}}, EITHER),
    "regex": ({"structured_outputs": {"regex": "[ab]{3}"}}, OK),
    "regex that is none": ({"structured_outputs": {"regex": "(["}}, REFUSED),
    "regex with a look ahead": ({"structured_outputs": {"regex": "(?=a)b"}}, EITHER),
    "regex with a back reference": ({"structured_outputs": {"regex": r"(a)\1"}}, EITHER),
    "empty regex": ({"structured_outputs": {"regex": ""}}, EITHER),
    "regex of characters that no token has": ({"structured_outputs": {"regex": "[\u4e00-\u9fff]+"}}, SURVIVED),
    "choice": ({"structured_outputs": {"choice": ["yes", "no"]}}, OK),
    "no choice": ({"structured_outputs": {"choice": []}}, EITHER),
    "empty choice": ({"structured_outputs": {"choice": [""]}}, EITHER),
    "quoted choice": ({"structured_outputs": {"choice": ['"\\', "\n"]}}, EITHER),
    "grammar": ({"structured_outputs": {"grammar": GRAMMAR}}, OK),
    "grammar that is none": ({"structured_outputs": {"grammar": "root ::= ["}}, REFUSED),
    "grammar without a root": ({"structured_outputs": {"grammar": 'a ::= "b"'}}, REFUSED),
    "grammar that calls itself": ({"structured_outputs": {"grammar": "root ::= root"}}, SURVIVED),
    "a json object": ({"structured_outputs": {"json_object": True}}, OK),
    "structural tag": (
        {
            "structured_outputs": {
                "structural_tag": json.dumps(
                    {
                        "type": "structural_tag",
                        "structures": [{"begin": "<f>", "schema": SCHEMA, "end": "</f>"}],
                        "triggers": ["<f>"],
                    }
                )
            }
        },
        EITHER,
    ),
    "structural tag that is none": ({"structured_outputs": {"structural_tag": "{}"}}, REFUSED),
    "two structures": ({"structured_outputs": {"json": SCHEMA, "regex": "a"}}, REFUSED),
    "no structure": ({"structured_outputs": {}}, EITHER),
    "structure by a backend of the caller's": ({"structured_outputs": {"regex": "a", "_backend": "none"}}, EITHER),
    "response_format object": ({"response_format": {"type": "json_object"}}, OK),
    "response_format schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": SCHEMA}}},
        OK,
    ),
    "response_format without a schema": ({"response_format": {"type": "json_schema"}}, EITHER),
    "response_format of no type": ({"response_format": {"type": "xml"}}, REFUSED),
    "structure, several, penalties and logprobs at once": (
        {
            "structured_outputs": {"regex": "[ab]{3}"},
            "n": 2,
            "temperature": 1,
            "frequency_penalty": 1,
            "logit_bias": {"5": 3},
            "bad_words": ["tana"],
            "seed": 3,
            "prompt_logprobs": 1,
        },
        OK,
    ),
}
"""For completions and for chat."""

ALONE: dict[str, dict[str, tuple[dict[str, Any], frozenset[int]]]] = {
    COMPLETIONS: {
        "logprobs 0": ({"logprobs": 0}, OK),
        "logprobs": ({"logprobs": 5}, OK),
        "all logprobs": ({"logprobs": -1}, EITHER),
        "too many logprobs": ({"logprobs": 1000}, REFUSED),
        "streamed logprobs": ({"logprobs": 2, "stream": True}, OK),
        "echo": ({"echo": True}, OK),
        "echo and nothing else": ({"echo": True, "max_tokens": 0}, OK),
        "echo with logprobs": ({"echo": True, "logprobs": 2}, OK),
        "streamed echo with logprobs": ({"echo": True, "logprobs": 2, "stream": True}, OK),
        "echo with prompt logprobs": (
            {"echo": True, "logprobs": 1, "prompt_logprobs": 1, "n": 2, "temperature": 1},
            OK,
        ),
        "suffix": ({"suffix": "end"}, EITHER),
        "empty prompt": ({"prompt": ""}, EITHER),
        "no prompt": ({"prompt": []}, REFUSED),
        "prompts": ({"prompt": ["a", "b", "c"], "n": 2, "temperature": 1}, OK),
        "tokens": ({"prompt": [5, 6, 7]}, OK),
        "prompts of tokens": ({"prompt": [[5, 6], [7]]}, OK),
        "tokens outside": ({"prompt": [10**6]}, REFUSED),
        "tokens below 0": ({"prompt": [-1]}, REFUSED),
        "largest token": ({"prompt": [2**62]}, REFUSED),
        "prompt of one byte each": ({"prompt": "\u4e00\U0001f600\ud7ff\x00"}, OK),
        "prompt too long": ({"prompt": "a " * 20000}, REFUSED),
        "prompt as embeddings": ({"prompt_embeds": "AAAA", "prompt": None}, REFUSED),
    },
    CHAT: {
        "logprobs": ({"logprobs": True}, OK),
        "top logprobs": ({"logprobs": True, "top_logprobs": 2}, OK),
        "top logprobs 0": ({"logprobs": True, "top_logprobs": 0}, OK),
        "all top logprobs": ({"logprobs": True, "top_logprobs": -1}, EITHER),
        "too many top logprobs": ({"logprobs": True, "top_logprobs": 1000}, REFUSED),
        "top logprobs alone": ({"top_logprobs": 2}, EITHER),
        "streamed top logprobs": ({"logprobs": True, "top_logprobs": 2, "stream": True, "n": 2, "temperature": 1}, OK),
        "echo": ({"echo": True}, OK),
        "echo with logprobs": ({"echo": True, "logprobs": True, "top_logprobs": 1}, OK),
        "streamed echo": ({"echo": True, "stream": True}, OK),
        "max_completion_tokens": ({"max_completion_tokens": 2, "max_tokens": None}, OK),
        "no message": ({"messages": []}, EITHER),
        "unknown role": ({"messages": [{"role": "nobody", "content": "a"}]}, EITHER),
        "parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}, OK),
        "content of null": ({"messages": [{"role": "assistant", "content": None}]}, EITHER),
        "continued": (
            {
                "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
                "continue_final_message": True,
                "add_generation_prompt": False,
            },
            OK,
        ),
        "continued and begun": ({"continue_final_message": True, "add_generation_prompt": True}, REFUSED),
        "a template of the caller's": ({"chat_template": "{{ messages }}"}, REFUSED),
        "a template's arguments": ({"chat_template_kwargs": {"enable_thinking": True}}, OK),
        "a template among its arguments": ({"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, EITHER),
        "a tokenizer's arguments": ({"chat_template_kwargs": {"tokenize": False}}, EITHER),
        "documents": ({"documents": [{"title": "a", "text": "b"}]}, OK),
        "reasoning": ({"reasoning_effort": "low", "include_reasoning": False}, OK),
        "image as data": (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}]},
            EITHER,
        ),
        "image from the engine's own machine": (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}],
                    }
                ]
            },
            EITHER,
        ),
        "image of a file": (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}
                ]
            },
            EITHER,
        ),
        "audio that is none": (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "x"}}],
                    }
                ]
            },
            EITHER,
        ),
        # Without a parser for tool calls the engine refuses the first.
        "tools": ({"tools": [TOOL], "tool_choice": "auto"}, EITHER),
        "no tool": ({"tools": [TOOL], "tool_choice": "none"}, OK),
        "tools required": ({"tools": [TOOL], "tool_choice": "required", "max_tokens": 60}, EITHER),
        "a tool by name": ({"tools": [TOOL], "tool_choice": NAMED_TOOL, "max_tokens": 60}, EITHER),
        "a tool that is not there": (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            REFUSED,
        ),
        "a tool without tools": ({"tool_choice": NAMED_TOOL}, REFUSED),
        "streamed tools": ({"tools": [TOOL], "tool_choice": NAMED_TOOL, "stream": True, "max_tokens": 60}, EITHER),
        "a tool with a schema that is none": (
            {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "nothing"}}}],
                "tool_choice": "required",
            },
            EITHER,
        ),
    },
    "/v1/responses": {
        "plain": ({}, OK),
        "stream": ({"stream": True}, OK),
        "logprobs": ({"top_logprobs": 2, "include": ["message.output_text.logprobs"]}, EITHER),
        "schema": ({"text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}}, EITHER),
        "an answer before that is not there": ({"previous_response_id": "resp_none"}, REFUSED),
        "in the background": ({"background": True}, EITHER),
        "a tool of the vendor's": ({"tools": [{"type": "web_search_preview"}]}, EITHER),
        "a tool on another server": (
            {"tools": [{"type": "mcp", "server_label": "x", "server_url": "http://127.0.0.1:9"}]},
            EITHER,
        ),
    },
    "/v1/messages": {
        "plain": ({}, OK),
        "stream": ({"stream": True}, OK),
        "system": ({"system": "Be short.", "stop_sequences": ["a"], "top_k": 3, "temperature": 1}, OK),
        "tools": (
            {
                "tools": [{"name": "f", "input_schema": SCHEMA}],
                "tool_choice": {"type": "tool", "name": "f"},
                "max_tokens": 60,
            },
            EITHER,
        ),
    },
    "/v1/messages/count_tokens": {"plain": ({}, OK)},
    "/tokenize": {
        "text": ({}, OK),
        "messages": ({"prompt": None, "messages": [{"role": "user", "content": "a"}]}, EITHER),
        "words": ({"return_token_strs": True, "add_special_tokens": False}, OK),
    },
    "/detokenize": {
        "tokens": ({}, OK),
        "no token": ({"tokens": []}, OK),
        "token outside": ({"tokens": [10**6]}, EITHER),
        "token below 0": ({"tokens": [-1]}, EITHER),
        "largest token": ({"tokens": [2**62]}, EITHER),
    },
}
"""By path."""

POOLED: dict[str, dict[str, tuple[dict[str, Any], frozenset[int]]]] = {
    "/v1/embeddings": {
        "plain": ({}, OK),
        "several": ({"input": ["a", "b", "c"]}, OK),
        "tokens": ({"input": [5, 6, 7]}, OK),
        "several of tokens": ({"input": [[5, 6], [7]]}, OK),
        "tokens outside": ({"input": [10**6]}, REFUSED),
        "nothing": ({"input": []}, REFUSED),
        "empty": ({"input": ""}, EITHER),
        "base64": ({"encoding_format": "base64"}, OK),
        "bytes": ({"encoding_format": "bytes"}, EITHER),
        "no format": ({"encoding_format": "xml"}, REFUSED),
        "of another type": ({"embed_dtype": "float16", "encoding_format": "base64"}, EITHER),
        "dimensions": ({"dimensions": 8}, EITHER),
        "no dimension": ({"dimensions": 0}, EITHER),
        "dimensions below 0": ({"dimensions": -1}, EITHER),
        "not normalised": ({"use_activation": False}, EITHER),
        "truncated": ({"truncate_prompt_tokens": 2, "input": "a b c d"}, EITHER),
        "too long": ({"input": "a " * 20000}, REFUSED),
        "messages": ({"input": None, "messages": [{"role": "user", "content": "a"}]}, EITHER),
    },
    "/pooling": {
        "plain": ({}, EITHER),
        "by token": ({"task": "token_embed"}, EITHER),
        "of no task": ({"task": "none"}, REFUSED),
    },
    "/tokenize": ALONE["/tokenize"],
    "/detokenize": ALONE["/detokenize"],
}
"""Of a model that makes embeddings, by path."""


def _cases(paths: Mapping[str, Mapping[str, tuple[dict[str, Any], frozenset[int]]]]) -> dict[str, Case]:
    return {
        f"{path}: {name}": Case(path=path, body=BASES[path] | more, status=status)
        for path, cases in paths.items()
        for name, (more, status) in cases.items()
    }


NAMED: dict[str, dict[str, Case]] = {
    "chat": _cases({COMPLETIONS: BOTH, CHAT: BOTH}) | _cases(ALONE),
    "embedding": _cases(POOLED),
}
"""By the task of the model."""

PLAIN: dict[str, Case] = {
    "chat": Case(path=COMPLETIONS, body=BASES[COMPLETIONS]),
    "embedding": Case(path="/v1/embeddings", body=BASES["/v1/embeddings"]),
}
"""What everybody else asks: it has to be answered after each of them."""

SWEPT: dict[str, tuple[str, ...]] = {
    "chat": (
        COMPLETIONS,
        CHAT,
        "/v1/responses",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/tokenize",
        "/detokenize",
    ),
    "embedding": ("/v1/embeddings", "/pooling", "/tokenize", "/detokenize"),
}
"""Paths whose parameters are taken from the engine's own OpenAPI."""

VALUES: dict[str, tuple[Any, ...]] = {
    "integer": (0, 1, -1, 2**31, 2**63, -(2**63), 2**64, 1.5),
    "number": (0, 1, -1, 0.5, 1e308, -1e308, 1e-300),
    "boolean": (True, False),
    "string": ("", "x", "\x00", "x" * 5000, "../../etc/passwd"),
    "array": ([], [None], ["x"], [0], [-1], [2**64], [[]], [{}], ["x"] * 300),
    "object": ({}, {"x": 1}, {"": None}, {"x": {"x": {"x": {}}}}),
    "null": (None,),
}
"""What is tried of each type that a parameter may have, and beyond."""
WRONG: tuple[Any, ...] = (None, "x", 7, [], {}, True)
"""What is tried of every parameter, whatever its type."""


def generated(document: Mapping[str, Any], task: str) -> Iterator[tuple[str, Case]]:
    """A case for each value of each parameter that the engine's OpenAPI has for its paths."""
    schemas = document["components"]["schemas"]
    for path in SWEPT[task]:
        if path not in document["paths"]:
            continue
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for name, kinds, choices in _parameters(content, schemas):
            tried = [*choices, *(value for kind in sorted(kinds) for value in VALUES.get(kind, ())), *WRONG]
            for value in _distinct(tried):
                body = {key: given for key, given in BASES[path].items() if key != name} | {name: value}
                # Whatever else is asked: few tokens, and so soon done.
                yield f"{path}: {name}={json.dumps(value)[:60]}", Case(path=path, body=body, status=SURVIVED)


def _parameters(
    schema: Mapping[str, Any], schemas: Mapping[str, Any]
) -> Iterator[tuple[str, frozenset[str], tuple[Any, ...]]]:
    """Of each parameter its name, the JSON types that it may have, and the values that are named."""
    for option in _options(schema, schemas):
        for name, one in option.get("properties", {}).items():
            if name == "model":
                continue
            kinds, choices = set(), []
            for each in _options(one, schemas):
                kinds.add(each.get("type", "object"))
                choices += each.get("enum", []) + ([each["const"]] if "const" in each else [])
            yield name, frozenset(kinds), tuple(choices)


def _options(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a schema stands for, its references and alternatives followed."""
    if "$ref" in schema:
        yield from _options(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    elif any(key in schema for key in ("anyOf", "oneOf", "allOf")):
        for key in ("anyOf", "oneOf", "allOf"):
            for each in schema.get(key, ()):
                yield from _options(each, schemas)
    else:
        yield schema


def _distinct(values: list[Any]) -> list[Any]:
    return list({json.dumps(value): value for value in values}.values())


class DeadEngineError(AssertionError):
    """The engine does not serve any more; what comes after would say nothing."""


def sweep(api: httpx.Client, model: str, pid: Callable[[], str], cases: Mapping[str, Case], plain: Case) -> list[str]:
    """Send each of `cases`; what was answered otherwise than it may be, one line each.

    Args:
        api: a client of the engine itself, with its key and without `/v1` in its address.
        model: the name under which the engine serves the model.
        pid: the engine's main process, asked after each case.
        cases: what is sent, by name.
        plain: what must be answered after each.

    Raises:
        DeadEngineError: after a case the plain request was not answered, or the process is another one.
    """
    before, found = pid(), []
    for name, case in cases.items():
        status = _status(api, model, case)
        if status not in case.status:
            found.append(f"{name}: {status}")
        # A connection on which the engine failed is closed: only a new one says whether it serves.
        after = _status(api, model, plain)
        after = after if after == 200 else _status(api, model, plain)
        if after != 200:
            raise DeadEngineError(f"after {name} ({status}) the engine answers a plain request with {after}")
        if pid() != before:
            raise DeadEngineError(f"after {name} ({status}) the engine is another process")
    return found


def _status(api: httpx.Client, model: str, case: Case) -> int | str:
    """What a request is answered with; of a stream, 200 only where no error is in it."""
    body = {"model": model, **case.body}
    try:
        # JSON by hand: the client would refuse a number that the engine has to refuse.
        answer = api.post(
            case.path,
            content=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **case.headers},
            timeout=TIMEOUT_S,
        )
    except httpx.HTTPError as error:
        return type(error).__name__
    if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        for line in answer.text.splitlines():
            if line.startswith("data: {"):
                error = json.loads(line.removeprefix("data: ")).get("error")
                if error:
                    return int(error.get("code") or 500) if isinstance(error, dict) else 500
    return answer.status_code


def fill_and_leave(
    api: httpx.Client, model: str, *, slots: int, queue: int, tokens: int
) -> tuple[httpx.Response, float]:
    """Fill an engine with requests that are not streamed, ask once more, and leave.

    Whoever else asks the engine meanwhile, or an answer that ends early, costs the time of one more request and no more: a
    caller who is answered asks again.

    Args:
        api: a client of the engine itself.
        model: the name under which the engine serves the model.
        slots: requests that it works on at once.
        queue: requests that may wait.
        tokens: of each answer; so many that few end by themselves meanwhile.

    Returns:
        What the full engine answered, and the seconds from the callers' leaving to the last request's end.

    Raises:
        AssertionError: it never said that it was full, or works on for `LEFT_S` after they left.
    """
    one = {"model": model, "prompt": "Hello", "max_tokens": tokens, "ignore_eos": True}
    most = 0

    async def fill() -> httpx.Response:
        nonlocal most
        # One connection each; several answers in one request would count as many.
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=api.base_url, headers=api.headers, timeout=TIMEOUT_S, limits=limits
        ) as many:

            async def keep_asking() -> None:
                while True:
                    # Who waits in a queue waits long; a connection that was closed meanwhile is opened anew.
                    with contextlib.suppress(httpx.HTTPError):
                        await many.post(COMPLETIONS, json=one, timeout=None)
                    await asyncio.sleep(0.1)

            callers = [asyncio.create_task(keep_asking()) for _ in range(slots + queue)]
            try:
                end = time.monotonic() + TIMEOUT_S
                while True:
                    assert time.monotonic() < end, f"not full within {TIMEOUT_S} s; at most {most} requests at once"
                    most = max(most, _unfinished((await many.get("/metrics")).text))
                    if most < slots + queue:
                        await asyncio.sleep(0.05)
                        continue
                    with contextlib.suppress(httpx.HTTPError):
                        # Room was made just then, where it does not answer at once.
                        full = await many.post(COMPLETIONS, json=one, timeout=10)
                        if full.status_code != 200:
                            return full
            finally:
                for caller in callers:
                    caller.cancel()
                ended = await asyncio.gather(*callers, return_exceptions=True)
                assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended

    full = asyncio.run(fill())
    start = time.monotonic()
    _until(lambda: _unfinished(api.get("/metrics", timeout=TIMEOUT_S).text) == 0, seconds=LEFT_S)
    return full, time.monotonic() - start


def started(api: httpx.Client) -> str:
    """When the engine's main process was started, by its own metrics; nothing where it does not answer."""
    try:
        text = api.get("/metrics", timeout=TIMEOUT_S).text
    except httpx.HTTPError:
        return ""
    return "".join(re.findall(r"^process_start_time_seconds (\S+)", text, re.MULTILINE))


def _unfinished(metrics: str) -> int:
    """Requests that run or wait, by vLLM's own metrics."""
    found = re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)", metrics, re.MULTILINE)
    return sum(int(float(number)) for number in found)


def _until(holds: Callable[[], bool], *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def process(pid: int) -> str:
    """The process's number and start, where it is alive; else nothing."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if stat[0] == "Z" else f"{pid} {stat[19]}"


def main() -> int:
    """Ask an engine on this machine."""
    address, model, pid = sys.argv[1:4]
    task = sys.argv[4] if len(sys.argv) > 4 else "chat"
    with httpx.Client(base_url=address) as api:
        document = api.get("/openapi.json", timeout=TIMEOUT_S).json()
        cases = NAMED[task] | dict(generated(document, task))
        try:
            found = sweep(api, model, lambda: process(int(pid)), cases, PLAIN[task])
        except DeadEngineError as dead:
            print(dead)
            return 1
    print("\n".join([*found, f"{len(cases)} requests, {len(found)} of them answered otherwise than they may be"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""curl, over the version of HTTP that is asked for: curl_program.py 1.1 | 2."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from cells import (
    BASE_URL,
    CALLS,
    CHAT_MODEL,
    EMBEDDING_MODEL,
    HELLO,
    KEY,
    PARIS,
    PROSE,
    RERANK_MODEL,
    SCHEMA,
    TEXTS,
    choice,
    functions,
    holds,
    run,
    said,
    same,
)

VERSION = {"1.1": ("--http1.1", "1.1"), "2": ("--http2", "2")}[sys.argv[1]]
asked = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": HELLO}]}


def ask(path: str, **body: Any) -> str:
    """The body of an answer with status 200 over the version that was asked for."""
    command = ["curl", "--silent", "--show-error", "--no-buffer", VERSION[0], "--max-time", "60", BASE_URL + path]
    command += ["--header", f"Authorization: Bearer {KEY}", "--header", "Content-Type: application/json"]
    command += ["--data", json.dumps(body), "--write-out", r"\n%{http_code} %{http_version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, _, status = done.stdout.rpartition("\n")
    same((status, text if status[:3] != "200" else ""), (f"200 {VERSION[1]}", ""))
    return text


def events(text: str) -> list[dict[str, Any]]:
    """The data of a stream that is whole."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def chat() -> None:
    said(json.loads(ask("/chat/completions", **asked))["choices"][0]["message"]["content"])


def stream() -> None:
    text = ask("/chat/completions", **asked, stream=True)
    holds(text.rstrip().endswith("data: [DONE]"), "the stream has no end")
    found = [one for event in events(text) for one in event["choices"]]
    said("".join(one["delta"].get("content") or "" for one in found))


def tools(ability: str) -> Callable[[], None]:
    text, wanted, calls = CALLS[ability]

    def call() -> None:
        more = {"tools": functions(), "tool_choice": choice(wanted)}
        body = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": text}], **more}
        message = json.loads(ask("/chat/completions", **body))["choices"][0]["message"]
        found = [each["function"] for each in message["tool_calls"]]
        same([(each["name"], json.loads(each["arguments"])) for each in found], calls)

    return call


def json_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
    answer = json.loads(ask("/chat/completions", **asked, response_format=form))
    same(json.loads(answer["choices"][0]["message"]["content"]), PARIS)


def logprobs() -> None:
    answer = json.loads(ask("/chat/completions", **asked, logprobs=True, top_logprobs=2))
    same(len(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]), 2)


def several() -> None:
    answer = json.loads(ask("/chat/completions", **asked, n=2))
    same([one["message"]["content"].strip() for one in answer["choices"]], [PROSE, PROSE])


def embeddings() -> None:
    answer = json.loads(ask("/embeddings", model=EMBEDDING_MODEL, input=TEXTS))
    same([len(entry["embedding"]) for entry in answer["data"]], [256, 256])


def rerank() -> None:
    answer = json.loads(ask("/rerank", model=RERANK_MODEL, query=TEXTS[1], documents=TEXTS))
    same(answer["results"][0]["index"], 1)


def responses() -> None:
    answer = json.loads(ask("/responses", model=CHAT_MODEL, input=HELLO))
    said(answer["output"][0]["content"][0]["text"])
    found = events(ask("/responses", model=CHAT_MODEL, input=HELLO, stream=True))
    said("".join(event["delta"] for event in found if event["type"] == "response.output_text.delta"))
    same(found[-1]["type"], "response.completed")


def messages() -> None:
    answer = json.loads(ask("/messages", **asked, max_tokens=100))
    said(answer["content"][0]["text"])
    found = events(ask("/messages", **asked, max_tokens=100, stream=True))
    said("".join(event["delta"].get("text", "") for event in found if event["type"] == "content_block_delta"))
    same(found[-1]["type"], "message_stop")


run(
    {
        "chat": chat,
        "stream": stream,
        **{ability: tools(ability) for ability in CALLS},
        "json_schema": json_schema,
        "logprobs": logprobs,
        "n": several,
        "embeddings": embeddings,
        "rerank": rerank,
        "responses": responses,
        "messages": messages,
    }
)

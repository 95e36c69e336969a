"""LiteLLM as a library."""

import asyncio
import json
from collections.abc import Callable

import litellm
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

litellm.suppress_debug_info = True
known = {"api_base": BASE_URL, "api_key": KEY, "num_retries": 0}
asked = {"model": f"openai/{CHAT_MODEL}", "messages": [{"role": "user", "content": HELLO}], **known}


def chat() -> None:
    answer = litellm.completion(**asked)
    said(answer.choices[0].message.content)
    holds(answer.usage.completion_tokens > 0, "no usage")


def stream() -> None:
    chunks = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
    said("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))


def tools(ability: str) -> Callable[[], None]:
    text, wanted, calls = CALLS[ability]
    more = {"tools": functions(), "tool_choice": choice(wanted), "parallel_tool_calls": len(calls) > 1}

    def ask() -> None:
        question = asked | {"messages": [{"role": "user", "content": text}]} | more
        found = litellm.completion(**question).choices[0].message.tool_calls
        same([(each.function.name, json.loads(each.function.arguments)) for each in found], calls)
        built = litellm.stream_chunk_builder(list(litellm.completion(**question, stream=True)))
        found = built.choices[0].message.tool_calls
        same([(each.function.name, json.loads(each.function.arguments)) for each in found], calls)

    return ask


def json_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
    same(json.loads(litellm.completion(**asked, response_format=form).choices[0].message.content), PARIS)


def logprobs() -> None:
    found = litellm.completion(**asked, logprobs=True, top_logprobs=2).choices[0].logprobs.content[0]
    same(len(found.top_logprobs), 2)


def several() -> None:
    same([one.message.content.strip() for one in litellm.completion(**asked, n=2).choices], [PROSE, PROSE])


def embeddings() -> None:
    answer = litellm.embedding(model=f"openai/{EMBEDDING_MODEL}", input=TEXTS, **known)
    same([len(entry["embedding"]) for entry in answer.data], [256, 256])


def rerank() -> None:
    answer = litellm.rerank(model=f"hosted_vllm/{RERANK_MODEL}", query=TEXTS[1], documents=TEXTS, **known)
    same(answer.results[0]["index"], 1)


def responses() -> None:
    answer = litellm.responses(model=f"openai/{CHAT_MODEL}", input=HELLO, **known)
    said(answer.output[0].content[0].text)
    events = list(litellm.responses(model=f"openai/{CHAT_MODEL}", input=HELLO, stream=True, **known))
    said("".join(event.delta for event in events if event.type == "response.output_text.delta"))


def messages() -> None:
    more = {"max_tokens": 100, "api_base": BASE_URL.removesuffix("/v1"), "api_key": KEY}
    question = asked["messages"]
    answer = asyncio.run(litellm.anthropic.messages.acreate(model=f"anthropic/{CHAT_MODEL}", messages=question, **more))
    said(answer["content"][0]["text"])


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

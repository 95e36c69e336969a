"""OpenAI's client for Python."""

import json
from collections.abc import Callable

import openai
from cells import (
    BASE_URL,
    CALLS,
    CHAT_MODEL,
    EMBEDDING_MODEL,
    HELLO,
    KEY,
    OSLO,
    PARIS,
    SCHEMA,
    TEXTS,
    WEATHER,
    choice,
    functions,
    holds,
    run,
    said,
    same,
)

client = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0)
asked = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": HELLO}]}


def chat() -> None:
    answer = client.chat.completions.create(**asked)
    said(answer.choices[0].message.content)
    same(answer.choices[0].finish_reason, "stop")
    holds(answer.usage.completion_tokens > 0, "no usage")
    same(client.models.retrieve(CHAT_MODEL).id, CHAT_MODEL)
    holds(CHAT_MODEL in [model.id for model in client.models.list()], "the model is not listed")


def stream() -> None:
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    said("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
    same(chunks[-1].choices, [])
    holds(chunks[-1].usage.completion_tokens > 0, "no usage")


def tools(ability: str) -> Callable[[], None]:
    text, wanted, calls = CALLS[ability]
    more = {"tools": functions(), "tool_choice": choice(wanted), "parallel_tool_calls": len(calls) > 1}
    question = {"role": "user", "content": text}

    def ask() -> None:
        whole = client.chat.completions.create(model=CHAT_MODEL, messages=[question], **more).choices[0].message
        same([(each.function.name, json.loads(each.function.arguments)) for each in whole.tool_calls], calls)
        with client.chat.completions.stream(model=CHAT_MODEL, messages=[question], **more) as events:
            found = events.get_final_completion().choices[0].message.tool_calls
        same([(each.function.name, json.loads(each.function.arguments)) for each in found], calls)
        results = [{"role": "tool", "tool_call_id": each.id, "content": "fine"} for each in whole.tool_calls]
        history = [question, whole.model_dump(exclude_none=True), *results]
        said(client.chat.completions.create(model=CHAT_MODEL, messages=history).choices[0].message.content)

    return ask


def json_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
    answer = client.chat.completions.create(**asked, response_format=form)
    same(json.loads(answer.choices[0].message.content), PARIS)


def logprobs() -> None:
    first = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2).choices[0].logprobs.content[0]
    same(first.token, " The")
    same(len(first.top_logprobs), 2)
    chunks = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2, stream=True)
    found = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices]
    holds([each for each in found if each and each.content], "no log probabilities in the stream")


def several() -> None:
    answer = client.chat.completions.create(**asked, n=2)
    for one in answer.choices:
        said(one.message.content)
    same([one.index for one in answer.choices], [0, 1])
    chunks = client.chat.completions.create(**asked, n=2, stream=True)
    ended = {one.index: one.finish_reason for chunk in chunks for one in chunk.choices if one.finish_reason}
    same(ended, {0: "stop", 1: "stop"})


def embeddings() -> None:
    for more in ({}, {"encoding_format": "float"}):
        answer = client.embeddings.create(model=EMBEDDING_MODEL, input=TEXTS, **more)
        same([len(entry.embedding) for entry in answer.data], [256, 256])


def responses() -> None:
    said(client.responses.create(model=CHAT_MODEL, input=HELLO, store=False).output_text)
    with client.responses.stream(model=CHAT_MODEL, input=HELLO, store=False) as events:
        said(events.get_final_response().output_text)
    flat = [{"type": "function", **tool["function"]} for tool in functions()]
    answer = client.responses.create(model=CHAT_MODEL, input=WEATHER, tools=flat, store=False)
    same([json.loads(item.arguments) for item in answer.output if item.type == "function_call"], [OSLO])
    form = {"format": {"type": "json_schema", "name": "place", "strict": True, "schema": SCHEMA}}
    same(json.loads(client.responses.create(model=CHAT_MODEL, input=HELLO, text=form).output_text), PARIS)


run(
    {
        "chat": chat,
        "stream": stream,
        **{ability: tools(ability) for ability in CALLS},
        "json_schema": json_schema,
        "logprobs": logprobs,
        "n": several,
        "embeddings": embeddings,
        "responses": responses,
    }
)

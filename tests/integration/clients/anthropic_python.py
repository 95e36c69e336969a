"""Anthropic's client for Python: all that it does goes to /v1/messages."""

import json
from collections.abc import Callable

import anthropic
from cells import BASE_URL, CALLS, CHAT_MODEL, HELLO, KEY, PARIS, SCHEMA, functions, holds, run, said, same

client = anthropic.Anthropic(base_url=BASE_URL.removesuffix("/v1"), api_key=KEY, max_retries=0)
asked = {"model": CHAT_MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": HELLO}]}
TOOLS = [
    {"name": tool["function"]["name"], "description": tool["function"]["description"], "input_schema": SCHEMA}
    for tool in functions()
]
CHOICES = {"auto": {"type": "auto"}, "required": {"type": "any"}, "clock": {"type": "tool", "name": "clock"}}


def stream() -> None:
    with client.messages.stream(**asked) as events:
        said("".join(events.text_stream))
        message = events.get_final_message()
    same(message.stop_reason, "end_turn")
    holds(message.usage.input_tokens > 0, "no input tokens")
    holds(message.usage.output_tokens > 0, "no output tokens")


def tools(ability: str) -> Callable[[], None]:
    text, wanted, calls = CALLS[ability]

    def ask() -> None:
        question = {"role": "user", "content": text}
        more = {**asked, "tools": TOOLS, "tool_choice": CHOICES[wanted]}
        whole = client.messages.create(**more | {"messages": [question]})
        same([(part.name, part.input) for part in whole.content if part.type == "tool_use"], calls)
        with client.messages.stream(**more | {"messages": [question]}) as events:
            message = events.get_final_message()
        same([(part.name, part.input) for part in message.content if part.type == "tool_use"], calls)
        used = [part for part in whole.content if part.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": part.id, "content": "fine"} for part in used]
        history = [
            question,
            {"role": "assistant", "content": [part.model_dump(exclude_none=True) for part in used]},
            {"role": "user", "content": results},
        ]
        said(client.messages.create(**asked | {"messages": history}).content[0].text)

    return ask


def json_schema() -> None:
    answer = client.messages.create(**asked, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    same(json.loads(answer.content[0].text), PARIS)


def messages() -> None:
    answer = client.messages.create(**asked, system="Be brief.", stop_sequences=["##"], metadata={"user_id": "u"})
    said(answer.content[0].text)
    holds(answer.usage.output_tokens > 0, "no usage")
    said(client.beta.messages.create(**asked, betas=["context-1m-2025-08-07"]).content[0].text)
    holds(CHAT_MODEL in [model.id for model in client.models.list()], "the model is not listed")
    holds(client.messages.count_tokens(model=CHAT_MODEL, messages=asked["messages"]).input_tokens > 0, "no count")


run(
    {
        "stream": stream,
        **{ability: tools(ability) for ability in CALLS},
        "json_schema": json_schema,
        "messages": messages,
    }
)

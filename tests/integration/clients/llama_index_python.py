"""LlamaIndex, with its parts for servers that are like OpenAI's."""

import json
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
    SCHEMA,
    TEXTS,
    choice,
    run,
    said,
    same,
)
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike


def model(**more: Any) -> OpenAILike:
    known = {"api_base": BASE_URL, "api_key": KEY, "is_chat_model": True, "max_retries": 0}
    return OpenAILike(model=CHAT_MODEL, is_function_calling_model=True, **known, **more)


def weather(city: str) -> str:
    """Tells the weather of a city."""
    return city


def clock(city: str) -> str:
    """Tells the time in a city."""
    return city


def chat() -> None:
    said(model().chat([ChatMessage(role="user", content=HELLO)]).message.content)


def stream() -> None:
    said("".join(part.delta or "" for part in model().stream_chat([ChatMessage(role="user", content=HELLO)])))


def tools(ability: str) -> Callable[[], None]:
    text, wanted, calls = CALLS[ability]

    def ask() -> None:
        llm = model()
        answer = llm.chat_with_tools(
            [FunctionTool.from_defaults(weather), FunctionTool.from_defaults(clock)],
            user_msg=text,
            allow_parallel_tool_calls=len(calls) > 1,
            tool_choice=choice(wanted),
        )
        found = llm.get_tool_calls_from_response(answer)
        same([(call.tool_name, call.tool_kwargs) for call in found], calls)

    return ask


def json_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
    llm = model(additional_kwargs={"response_format": form})
    same(json.loads(llm.chat([ChatMessage(role="user", content=HELLO)]).message.content), PARIS)


def logprobs() -> None:
    answer = model(logprobs=True, top_logprobs=2).chat([ChatMessage(role="user", content=HELLO)])
    same(len(answer.logprobs[0]), 2)


def embeddings() -> None:
    vectors = OpenAILikeEmbedding(model_name=EMBEDDING_MODEL, api_base=BASE_URL, api_key=KEY, max_retries=0)
    same([len(vector) for vector in vectors.get_text_embedding_batch(TEXTS)], [256, 256])


run(
    {
        "chat": chat,
        "stream": stream,
        **{ability: tools(ability) for ability in CALLS},
        "json_schema": json_schema,
        "logprobs": logprobs,
        "embeddings": embeddings,
    }
)

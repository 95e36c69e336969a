"""LangChain, with its parts for OpenAI."""

from collections.abc import Callable

from cells import (
    BASE_URL,
    CALLS,
    CHAT_MODEL,
    EMBEDDING_MODEL,
    HELLO,
    KEY,
    PARIS,
    PROSE,
    SCHEMA,
    TEXTS,
    functions,
    holds,
    run,
    said,
    same,
)
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

KNOWN = {"base_url": BASE_URL, "api_key": KEY, "max_retries": 0}
model = ChatOpenAI(model=CHAT_MODEL, **KNOWN)


def chat() -> None:
    answer = model.invoke(HELLO)
    said(answer.content)
    holds(answer.usage_metadata["output_tokens"] > 0, "no usage")


def stream() -> None:
    chunks = list(model.stream(HELLO, stream_usage=True))
    said("".join(chunk.content for chunk in chunks))
    holds([chunk for chunk in chunks if chunk.usage_metadata], "no usage")


def tools(ability: str) -> Callable[[], None]:
    text, wanted, calls = CALLS[ability]

    def ask() -> None:
        bound = model.bind_tools(functions(), tool_choice=wanted, parallel_tool_calls=len(calls) > 1)
        answer = bound.invoke(text)
        same([(call["name"], call["args"]) for call in answer.tool_calls], calls)
        results = [ToolMessage("fine", tool_call_id=call["id"]) for call in answer.tool_calls]
        said(model.invoke([HumanMessage(text), answer, *results]).content)
        whole = None
        for chunk in bound.stream(text):
            whole = chunk if whole is None else whole + chunk
        same([(call["name"], call["args"]) for call in whole.tool_calls], calls)

    return ask


def json_schema() -> None:
    form = {"title": "place", "description": "A place.", **SCHEMA}
    same(model.with_structured_output(form, method="json_schema", strict=True).invoke(HELLO), PARIS)


def logprobs() -> None:
    found = model.bind(logprobs=True, top_logprobs=2).invoke(HELLO).response_metadata["logprobs"]["content"]
    same(len(found[0]["top_logprobs"]), 2)


def several() -> None:
    found = ChatOpenAI(model=CHAT_MODEL, n=2, **KNOWN).generate([[HumanMessage(HELLO)]]).generations[0]
    same([one.text.strip() for one in found], [PROSE, PROSE])


def embeddings() -> None:
    # Sends lists of tokens of OpenAI's own models, unless it is told not to.
    vectors = OpenAIEmbeddings(model=EMBEDDING_MODEL, check_embedding_ctx_length=False, **KNOWN).embed_documents(TEXTS)
    same([len(vector) for vector in vectors], [256, 256])


def responses() -> None:
    said(ChatOpenAI(model=CHAT_MODEL, use_responses_api=True, **KNOWN).invoke(HELLO).text)
    said("".join(part.text for part in ChatOpenAI(model=CHAT_MODEL, use_responses_api=True, **KNOWN).stream(HELLO)))


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

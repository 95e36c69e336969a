"""Asks an endpoint with the clients that people really use, and prints what each got as one JSON object.

Run in an environment of its own (requirements.txt). Usage: ask.py BASE_URL CA_FILE CHAT_MODEL EMBEDDING_MODEL, with the key in
SLIPWAY_KEY.
"""

import json
import os
import ssl
import sys
from typing import Any

import anthropic
import httpx
import httpx2
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

TEXTS = ["the ship is in the harbour", "a tree"]


def main() -> None:
    """Ask with each client."""
    base_url, ca_file, chat_model, embedding_model = sys.argv[1:]
    key = os.environ["SLIPWAY_KEY"]
    trust = ssl.create_default_context(cafile=ca_file)
    http, asynchronous = httpx.Client(verify=trust), httpx.AsyncClient(verify=trust)
    answers: dict[str, Any] = {}

    chat = ChatOpenAI(
        model=chat_model,
        base_url=base_url,
        api_key=key,
        http_client=http,
        http_async_client=asynchronous,
        max_tokens=16,
    )
    answers["langchain_chat"] = chat.invoke("Tell me a story.").content
    answers["langchain_stream"] = len([chunk for chunk in chat.stream("Tell me a story.") if chunk.content])
    # It sends lists of tokens unless it is told not to, and asks for vectors in base64.
    embeddings = OpenAIEmbeddings(
        model=embedding_model, base_url=base_url, api_key=key, http_client=http, check_embedding_ctx_length=False
    )
    answers["langchain_embedding"] = [len(vector) for vector in embeddings.embed_documents(TEXTS)]

    llama = OpenAILike(
        model=chat_model, api_base=base_url, api_key=key, http_client=http, is_chat_model=True, max_tokens=16
    )
    answers["llama_index_chat"] = llama.chat([ChatMessage(role="user", content="Tell me a story.")]).message.content
    index = OpenAILikeEmbedding(model_name=embedding_model, api_base=base_url, api_key=key, http_client=http)
    answers["llama_index_embedding"] = [len(vector) for vector in index.get_text_embedding_batch(TEXTS)]

    claude = anthropic.Anthropic(
        base_url=base_url.removesuffix("/v1"), api_key=key, http_client=httpx2.Client(verify=trust)
    )
    asked: Any = {"model": chat_model, "messages": [{"role": "user", "content": "Tell me a story."}]}
    message = claude.messages.create(max_tokens=16, **asked)
    answers["anthropic_text"] = message.content[0].text
    answers["anthropic_usage"] = message.usage.output_tokens
    answers["anthropic_count"] = claude.messages.count_tokens(**asked).input_tokens
    with claude.messages.stream(max_tokens=16, **asked) as stream:
        answers["anthropic_stream"] = len(list(stream.text_stream))
    print(json.dumps(answers))


if __name__ == "__main__":
    main()

"""Prints the fields that OpenAI's and Anthropic's clients know of a request, by path, as one JSON object."""

import json

from anthropic.types import message_count_tokens_params, message_create_params
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

REQUESTS = {
    "/v1/chat/completions": (
        chat_create_params.CompletionCreateParamsBase,
        chat_create_params.CompletionCreateParamsStreaming,
    ),
    "/v1/completions": (
        completion_create_params.CompletionCreateParamsBase,
        completion_create_params.CompletionCreateParamsStreaming,
    ),
    "/v1/embeddings": (embedding_create_params.EmbeddingCreateParams,),
    "/v1/responses": (
        response_create_params.ResponseCreateParamsBase,
        response_create_params.ResponseCreateParamsStreaming,
    ),
    "/v1/messages": (
        message_create_params.MessageCreateParamsBase,
        message_create_params.MessageCreateParamsStreaming,
    ),
    "/v1/messages/count_tokens": (message_count_tokens_params.MessageCountTokensParams,),
}

print(
    json.dumps(
        {path: sorted({name for one in kinds for name in one.__annotations__}) for path, kinds in REQUESTS.items()}
    )
)

"""A plain list of models, for tools that read ``models.json``: `providers` and `models` side by side.

The form is fixed by those who asked for it: each model has id, name, providerId, baseUrl, apiKeyEnvVar, contextWindow and
maxOutputTokens; what is not known is null. Written down on 2026-11-28.
"""

import json

from slipway.clients.base import Configuration, Tool


def _render(configuration: Configuration) -> str:
    document = {
        "providers": [
            {
                "id": configuration.provider,
                "name": configuration.provider,
                "baseUrl": configuration.base_url,
                "apiKeyEnvVar": configuration.key_variable,
            }
        ],
        "models": [
            {
                "id": model.id,
                "name": model.id,
                "providerId": configuration.provider,
                "baseUrl": configuration.base_url,
                "apiKeyEnvVar": configuration.key_variable,
                "contextWindow": model.context_window,
                "maxOutputTokens": model.max_output_tokens,
            }
            for model in configuration.chats
        ],
    }
    return json.dumps(document, indent=2) + "\n"


TOOL = Tool(
    name="models-json",
    file="models.json where the tool looks for it",
    render=_render,
    key="the key is taken from ${variable}",
    ca="trust the front's certificate: export NODE_EXTRA_CA_CERTS={file} or SSL_CERT_FILE={file}",
)

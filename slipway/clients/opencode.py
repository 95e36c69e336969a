"""opencode, a coding agent: ``opencode.json`` of a project, or ``~/.config/opencode/opencode.json``.

Source: https://opencode.ai/docs/providers (custom provider) and https://opencode.ai/docs/config (variables), read on 2026-11-28:
`{env:NAME}` takes a value from the environment; `limit` has both of `context` and `output`.
"""

import json
from typing import Any

from slipway.clients.base import Configuration, Model, Tool


def _render(configuration: Configuration) -> str:
    chats = configuration.chats
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": configuration.provider,
        "options": {"baseURL": configuration.base_url, "apiKey": f"{{env:{configuration.key_variable}}}"},
        "models": {model.id: _model(model) for model in chats},
    }
    document = {
        "$schema": "https://opencode.ai/config.json",
        "provider": {configuration.provider: provider},
        "model": f"{configuration.provider}/{chats[0].id}",
    }
    return json.dumps(document, indent=2) + "\n"


def _model(model: Model) -> dict[str, Any]:
    if model.context_window is None or model.max_output_tokens is None:
        return {"name": model.id}
    return {"name": model.id, "limit": {"context": model.context_window, "output": model.max_output_tokens}}


TOOL = Tool(
    name="opencode",
    file="opencode.json in the project's folder, or ~/.config/opencode/opencode.json",
    render=_render,
    key="opencode takes the key from ${variable}",
    ca="trust the front's certificate: export NODE_EXTRA_CA_CERTS={file}",
)

"""Continue, an extension of editors: ``~/.continue/config.yaml``.

Source: https://docs.continue.dev/reference (config.yaml), read on 2026-11-28: `name`, `version` and `schema` are
needed; models have `roles`; `${{ secrets.NAME }}` takes a value from ``~/.continue/.env``, or from ``.env`` in the
workspace.
"""

from typing import Any

import yaml

from slipway.clients.base import Configuration, Model, Tool, known

_ROLES = {"chat": ["chat", "edit", "apply", "summarize"], "completion": ["autocomplete"], "embedding": ["embed"]}
"""By task; its other roles ask in ways that are not OpenAI's."""


def _render(configuration: Configuration) -> str:
    # An error where there is none; models for other tasks come as well.
    _ = configuration.chats
    document = {
        "name": configuration.provider,
        "version": "1.0.0",
        "schema": "v1",
        "models": [_model(configuration, model) for model in configuration.of(*_ROLES)],
    }
    text: str = yaml.safe_dump(document, sort_keys=False, width=float("inf"))
    return text


def _model(configuration: Configuration, model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": model.id,
        "provider": "openai",
        "model": model.id,
        "apiBase": configuration.base_url,
        "apiKey": f"${{{{ secrets.{configuration.key_variable} }}}}",
        "roles": list(_ROLES[model.task]),
    }
    bounds = known(contextLength=model.context_window, maxTokens=model.max_output_tokens)
    if bounds and model.task != "embedding":
        found["defaultCompletionOptions"] = bounds
    if configuration.ca_file is not None:
        found["requestOptions"] = {"caBundlePath": configuration.ca_file}
    return found


TOOL = Tool(
    name="continue",
    file="~/.continue/config.yaml",
    render=_render,
    key="put the key as {variable}=… into ~/.continue/.env",
)

"""aider, pair programming in a terminal: ``.aider.conf.yml`` at home or in the repository.

Source: https://aider.chat/docs/llms/openai-compat.html and https://aider.chat/docs/config/options.html, read on
2026-11-28: models of an OpenAI-compatible server are called `openai/NAME`; the key is OPENAI_API_KEY, and no other
variable can be named.
"""

from typing import Any

import yaml

from slipway.clients.base import Configuration, Tool


def _render(configuration: Configuration) -> str:
    chats = configuration.chats
    document: dict[str, Any] = {
        "openai-api-base": configuration.base_url,
        "model": f"openai/{chats[0].id}",
        # A colon parts an alias from its model, so a name with one can't be one.
        "alias": [f"{model.id}:openai/{model.id}" for model in chats if ":" not in model.id],
        # aider looks every model up in a list of its own, which has none of these.
        "show-model-warnings": False,
    }
    if configuration.ca_file is not None:
        document["set-env"] = [f"SSL_CERT_FILE={configuration.ca_file}"]
    text: str = yaml.safe_dump(document, sort_keys=False, width=float("inf"))
    return text


TOOL = Tool(
    name="aider",
    file="~/.aider.conf.yml, or .aider.conf.yml in the repository",
    render=_render,
    key='aider reads one variable alone: export OPENAI_API_KEY="${variable}"',
)

"""pi, a coding agent: ``~/.pi/agent/models.json``.

Source: https://github.com/earendil-works/pi, packages/coding-agent/docs/models.md, read on 2026-11-28: providers by name, each
with `baseUrl`, `api`, `apiKey` (`$NAME` takes it from the environment; a plain name would be a literal) and `models`.
"""

import json

from slipway.clients.base import Configuration, Tool, known


def _render(configuration: Configuration) -> str:
    provider = {
        "baseUrl": configuration.base_url,
        "api": "openai-completions",
        "apiKey": f"${configuration.key_variable}",
        # Templates of open models know no role `developer`.
        "compat": {"supportsDeveloperRole": False, "supportsReasoningEffort": False},
        "models": [
            known(id=model.id, contextWindow=model.context_window, maxTokens=model.max_output_tokens)
            for model in configuration.chats
        ],
    }
    return json.dumps({"providers": {configuration.provider: provider}}, indent=2) + "\n"


TOOL = Tool(
    name="pi",
    file="~/.pi/agent/models.json",
    render=_render,
    key="pi takes the key from ${variable}",
    ca="trust the front's certificate: export NODE_EXTRA_CA_CERTS={file}",
)

"""Visual Studio Code's chat: ``chatLanguageModels.json``, which "Chat: Manage Language Models" opens.

Source: https://code.visualstudio.com/docs/agent-customization/language-models (custom endpoint, from 1.122 on), read on
2026-11-28: the URL has the whole path; `${input:NAME}` is a value that the editor asks for and keeps in its secret
store; agents offer only models with `toolCalling`; the two bounds together are the context window.
"""

import json

from slipway.clients.base import Configuration, Tool, known


def _render(configuration: Configuration) -> str:
    provider = {
        "name": configuration.provider,
        "vendor": "customendpoint",
        "apiKey": f"${{input:{configuration.key_variable}}}",
        "apiType": "chat-completions",
        "models": [
            {
                "id": model.id,
                "name": model.id,
                "url": f"{configuration.base_url}/chat/completions",
                "toolCalling": True,
                "vision": False,
                **known(maxInputTokens=model.max_input_tokens, maxOutputTokens=model.max_output_tokens),
            }
            for model in configuration.chats
        ],
    }
    return json.dumps([provider], indent=2) + "\n"


TOOL = Tool(
    name="vscode",
    file='chatLanguageModels.json: the command "Chat: Manage Language Models" opens it',
    render=_render,
    key="the editor asks for the key once ({variable}) and keeps it in its secret store",
    ca="trust the front's certificate: put {file} into the system's store",
)

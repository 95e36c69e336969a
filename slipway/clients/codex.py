"""Codex CLI, a coding agent: ``~/.codex/config.toml``.

Source: https://developers.openai.com/codex/config-reference and openai/codex, codex-rs/core/config.schema.json, read on
2026-11-28: `env_key` names the variable with the key, and `wire_api` can only be `responses`. Keys stand before tables.
"""

import json

from slipway.clients.base import Configuration, Tool


def _render(configuration: Configuration) -> str:
    first, *others = configuration.chats
    lines = [
        f"model = {_text(first.id)}",
        *(f"# model = {_text(model.id)}" for model in others),
        f"model_provider = {_text(configuration.provider)}",
    ]
    if first.context_window is not None:
        lines.append(f"model_context_window = {first.context_window}")
    lines += [
        "",
        f"[model_providers.{_text(configuration.provider)}]",
        f"name = {_text(configuration.provider)}",
        f"base_url = {_text(configuration.base_url)}",
        f"env_key = {_text(configuration.key_variable)}",
        'wire_api = "responses"',
    ]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    # Of what can stand in a name or URL, JSON's strings are TOML's.
    return json.dumps(value)


TOOL = Tool(
    name="codex",
    file="~/.codex/config.toml",
    render=_render,
    key="Codex takes the key from ${variable}",
    ca="trust the front's certificate: export SSL_CERT_FILE={file}",
)

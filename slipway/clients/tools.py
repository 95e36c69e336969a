"""Which tools there are. To add one: a module here with `TOOL`, and its name in the list."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from slipway.clients.base import Tool

_MODULES = {
    "pi": "pi",
    "opencode": "opencode",
    "continue": "continue_dev",
    "aider": "aider",
    "codex": "codex",
    "claude-code": "claude_code",
    "vscode": "vscode",
    "openai-env": "openai_env",
    "models-json": "models_json",
}


@cache
def tools() -> Mapping[str, Tool]:
    """By name."""
    return {name: import_module(f"slipway.clients.{module}").TOOL for name, module in _MODULES.items()}


def names() -> tuple[str, ...]:
    """Those that `tools` has, without importing them."""
    return tuple(_MODULES)

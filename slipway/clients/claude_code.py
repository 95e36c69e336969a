"""Claude Code, a coding agent: ``~/.claude/settings.json``.

Source: https://code.claude.com/docs/en/llm-gateway and /env-vars, read on 2026-11-28: it adds /v1/messages to
ANTHROPIC_BASE_URL itself; `env` holds plain values, so the key comes from `apiKeyHelper`, a command whose output is
sent as bearer token.
"""

import json

from slipway.clients.base import Configuration, Tool


def _render(configuration: Configuration) -> str:
    first, *others = configuration.chats
    small = others[-1] if others else first
    environment = {
        "ANTHROPIC_BASE_URL": configuration.host_url,
        "ANTHROPIC_MODEL": first.id,
        # What its own names for models stand for; the last one is asked for small things.
        "ANTHROPIC_DEFAULT_OPUS_MODEL": first.id,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": first.id,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": small.id,
    }
    if first.max_output_tokens is not None:
        environment["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(first.max_output_tokens)
    if configuration.ca_file is not None:
        environment["NODE_EXTRA_CA_CERTS"] = configuration.ca_file
    document = {"apiKeyHelper": f"printenv {configuration.key_variable}", "env": environment}
    return json.dumps(document, indent=2) + "\n"


TOOL = Tool(
    name="claude-code",
    file="~/.claude/settings.json",
    render=_render,
    key="Claude Code takes the key from ${variable}; ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN must not be set",
)

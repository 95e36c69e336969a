"""Variables that OpenAI's own clients and most others read: lines for a POSIX shell.

Source: https://github.com/openai/openai-python and openai-node (OPENAI_BASE_URL, OPENAI_API_KEY), and
https://docs.python.org/3/library/ssl.html (SSL_CERT_FILE), read on 2026-11-28.
"""

import shlex

from slipway.clients.base import Configuration, Tool


def _render(configuration: Configuration) -> str:
    variable = configuration.key_variable
    lines = [
        f"export OPENAI_BASE_URL={shlex.quote(configuration.base_url)}",
        f'export OPENAI_API_KEY="${{{variable}:?export the key of team {configuration.team} under this name}}"',
    ]
    if configuration.ca_file is not None:
        path = shlex.quote(configuration.ca_file)
        lines += [f"export SSL_CERT_FILE={path}", f"export NODE_EXTRA_CA_CERTS={path}"]
    lines += [f"# {model.task}: {model.id}" for model in configuration.models]
    return "\n".join(lines) + "\n"


TOOL = Tool(
    name="openai-env",
    file="a file that your shell reads: . FILE",
    render=_render,
    key="the key is taken from ${variable}",
)

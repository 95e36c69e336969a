"""A streamed completion through the front, with the official OpenAI client and TLS verification on."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from slipway.cli.engine import PulumiStack
from slipway.cli.environment import stack_environment
from slipway.cli.errors import UserError
from slipway.paths import STACKS


def ask(stack: str, prompt: str, *, max_tokens: int, as_json: bool) -> None:
    """Ask `stack`'s endpoint and print the answer as it arrives, or what was measured as JSON.

    Raises:
        SettingsError: no such stack.
        UserError: the stack isn't up, its key isn't known here, or no answer came.
    """
    outputs = PulumiStack(stack).outputs()
    if "client" not in outputs:
        raise UserError(f"stack {stack} is not up; run `slipway up {stack}`")
    client = keep_client_files(stack, outputs)
    key = key_for(stack, client)
    if key is None:
        variable = next(iter(client["key_variables"].values()))
        raise UserError(f"the environment variable {variable} is not set; export the team's key under that name")
    figures = converse(client, key, prompt, max_tokens=max_tokens, quiet=as_json)
    if as_json:
        print(json.dumps(figures))


def keep_client_files(stack: str, outputs: dict[str, Any]) -> dict[str, Any]:
    """Write the CA certificate and the client configuration to files; the configuration, with the CA file's path."""
    folder = STACKS / stack
    folder.mkdir(parents=True, exist_ok=True)
    client: dict[str, Any] = dict(outputs["client"])
    if outputs["ca_certificate"]:
        ca_file = folder / "ca.pem"
        ca_file.write_text(outputs["ca_certificate"], encoding="ascii")
        client["ca_file"] = str(ca_file)
    (folder / "client.json").write_text(json.dumps(client, indent=2) + "\n", encoding="utf-8")
    return client


def key_for(stack: str, client: dict[str, Any]) -> str | None:
    """The first team's key, from the environment or from where `slipway env` keeps it; None when it is in neither."""
    variable: str = next(iter(client["key_variables"].values()))
    return os.environ.get(variable) or stack_environment(stack).get(variable)


def converse(client: dict[str, Any], key: str, prompt: str, *, max_tokens: int, quiet: bool) -> dict[str, Any]:
    """Stream one completion; the answer is printed as it arrives unless `quiet`.

    Returns:
        ``model``, ``text``, ``deltas``, ``ttft_ms`` (milliseconds), ``tokens_per_second``.

    Raises:
        UserError: no answer, or one without a token.
    """
    figures = _stream(client, key, prompt, max_tokens, quiet=quiet)
    print(
        f"\nTTFT {figures['ttft_ms']:.0f} ms, {figures['deltas']} deltas, {figures['tokens_per_second']:.1f} tokens/s",
        file=sys.stderr,
    )
    return figures


def _stream(client: dict[str, Any], key: str, prompt: str, max_tokens: int, *, quiet: bool) -> dict[str, Any]:
    import ssl

    import httpx2
    import openai

    trust = ssl.create_default_context(cafile=client.get("ca_file"))
    api = openai.OpenAI(
        base_url=client["base_url"], api_key=key, http_client=openai.DefaultHttpxClient(verify=trust, timeout=120)
    )
    start = time.perf_counter()
    first: float | None = None
    deltas = 0
    text = ""
    try:
        with api:
            stream = api.chat.completions.create(
                model=client["model"],
                messages=[{"role": "user", "content": prompt}],
                max_tokens=max_tokens,
                stream=True,
            )
            for chunk in stream:
                delta = chunk.choices[0].delta.content if chunk.choices else None
                if not delta:
                    continue
                first = first or time.perf_counter()
                deltas += 1
                text += delta
                if not quiet:
                    print(delta, end="", flush=True)
    except (openai.APIError, httpx2.HTTPError) as error:  # a stream that breaks off is not wrapped by the client
        raise UserError(f"{client['base_url']}: {error}; see the acceptance layer's output", status=1) from error
    end = time.perf_counter()
    if first is None:
        raise UserError(f"{client['base_url']}: the answer held no token; the engine's journal says why", status=1)
    return {
        "model": client["model"],
        "text": text,
        "deltas": deltas,
        "ttft_ms": round((first - start) * 1000, 1),
        "tokens_per_second": round((deltas - 1) / max(end - first, 1e-9), 1),
    }


def example(client: dict[str, Any]) -> str:
    """A Python program that asks the endpoint, complete as it is."""
    variable = next(iter(client["key_variables"].values()))
    ca_file = client.get("ca_file")
    verify = f"ssl.create_default_context(cafile={str(Path(ca_file))!r})" if ca_file else "True"
    return f"""\
import os, ssl, openai

client = openai.OpenAI(
    base_url={client["base_url"]!r},
    api_key=os.environ[{variable!r}],
    http_client=openai.DefaultHttpxClient(verify={verify}),
)
with client:
    for chunk in client.chat.completions.create(
        model={client["model"]!r},
        messages=[{{"role": "user", "content": "Hello"}}],
        max_tokens=64,
        stream=True,
    ):
        print(chunk.choices[0].delta.content or "", end="", flush=True)
"""

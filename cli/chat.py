"""A streamed completion through the front, with the official OpenAI client and TLS verification on."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.environment import stack_environment
from cli.errors import UserError
from cli.pulumi import PulumiStack
from slipway.paths import STACKS


@dataclass(frozen=True, kw_only=True)
class Client:
    """All that one team's client needs to ask one model."""

    team: str
    base_url: str
    key_variable: str
    model: str
    ca_file: str | None
    """What it must trust (PEM); None where it does anyway."""


def ask(stack: str, prompt: str, *, model: str | None, team: str | None, max_tokens: int, as_json: bool) -> None:
    """Ask `stack`'s endpoint and print the answer as it arrives, or what was measured as JSON.

    Raises:
        SettingsError: no such stack.
        UserError: the stack isn't up, it has no such model or team, the key isn't known here, or no answer came.
    """
    outputs = PulumiStack(stack).outputs()
    if "clients" not in outputs:
        raise UserError(f"stack {stack} is not up; run `slipway up {stack}`")
    client = client_for(stack, outputs, model=model, team=team)
    key = key_for(stack, client)
    if key is None:
        raise UserError(
            f"the environment variable {client.key_variable} is not set; export the key of team {client.team} under that name"
        )
    figures = converse(client, key, prompt, max_tokens=max_tokens, quiet=as_json)
    if as_json:
        print(json.dumps(figures))


def client_for(stack: str, outputs: Mapping[str, Any], *, model: str | None = None, team: str | None = None) -> Client:
    """The client of `team` for `model`; by default the first chat model, and the first team that may ask it.

    The CA certificate is kept in a file.

    Raises:
        UserError: there is no such team or chat model.
    """
    offered = list(_chats(outputs))
    teams = [name for name in outputs["clients"] if team in {None, name}]
    if not teams:
        raise UserError(f"stack {stack} has no team {team!r}; its teams: {', '.join(outputs['clients'])}")
    fitting = [(of, id_) for of, id_, called in offered if of in teams and (model is None or model in called)]
    if not fitting:
        known = ", ".join(dict.fromkeys(id_ for of, id_, _ in offered if of in teams)) or "none"
        what = "chat model" if model is None else f"chat model {model!r}"
        raise UserError(f"stack {stack} has no {what} that {team or 'a team'} may ask; the chat models: {known}")
    # What is served here first: a provider's answer costs money, and proves nothing of the stack.
    of, id_ = min(fitting, key=lambda pair: not outputs["models"][pair[1]]["instances"])
    entry = outputs["clients"][of]
    return Client(
        team=of,
        base_url=entry["base_url"],
        key_variable=entry["key_variable"],
        model=model or id_,
        ca_file=keep_ca(stack, outputs),
    )


def _chats(outputs: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Team, model, and all names of the model, for every chat model of every team."""
    for team, entry in outputs["clients"].items():
        for model in entry["models"]:
            if model["task"] == "chat":
                yield team, model["id"], (model["id"], *model["aliases"])


def keep_ca(stack: str, outputs: Mapping[str, Any]) -> str | None:
    """Write the CA certificate to a file; its path, or None where clients trust the front anyway."""
    if not outputs["ca_certificate"]:
        return None
    file = STACKS / stack / "ca.pem"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(outputs["ca_certificate"], encoding="ascii")
    return str(file)


def key_for(stack: str, client: Client) -> str | None:
    """The team's key, from the environment or from where `slipway env` keeps it; None when it is in neither."""
    return os.environ.get(client.key_variable) or stack_environment(stack).get(client.key_variable)


def converse(client: Client, key: str, prompt: str, *, max_tokens: int, quiet: bool) -> dict[str, Any]:
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


def _stream(client: Client, key: str, prompt: str, max_tokens: int, *, quiet: bool) -> dict[str, Any]:
    import ssl

    import httpx2
    import openai

    trust = ssl.create_default_context(cafile=client.ca_file)
    api = openai.OpenAI(
        base_url=client.base_url, api_key=key, http_client=openai.DefaultHttpxClient(verify=trust, timeout=120)
    )
    start = time.perf_counter()
    first: float | None = None
    deltas = 0
    text = ""
    try:
        with api:
            stream = api.chat.completions.create(
                model=client.model,
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
        raise UserError(f"{client.base_url}: {error}; see the acceptance layer's output", status=1) from error
    end = time.perf_counter()
    if first is None:
        raise UserError(f"{client.base_url}: the answer held no token; the engine's journal says why", status=1)
    return {
        "model": client.model,
        "text": text,
        "deltas": deltas,
        "ttft_ms": round((first - start) * 1000, 1),
        "tokens_per_second": round((deltas - 1) / max(end - first, 1e-9), 1),
    }


def example(client: Client) -> str:
    """A Python program that asks the endpoint, complete as it is."""
    verify = f"ssl.create_default_context(cafile={str(Path(client.ca_file))!r})" if client.ca_file else "True"
    return f"""\
import os, ssl, openai

client = openai.OpenAI(
    base_url={client.base_url!r},
    api_key=os.environ[{client.key_variable!r}],
    http_client=openai.DefaultHttpxClient(verify={verify}),
)
with client:
    for chunk in client.chat.completions.create(
        model={client.model!r},
        messages=[{{"role": "user", "content": "Hello"}}],
        max_tokens=64,
        stream=True,
    ):
        print(chunk.choices[0].delta.content or "", end="", flush=True)
"""

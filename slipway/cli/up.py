"""`slipway up` and `slipway down`: everything around `pulumi up` that a newcomer would otherwise do by hand."""

import json
import sys
from typing import Any

from slipway.cli.chat import converse, example, keep_client_files, key_for
from slipway.cli.engine import PulumiStack
from slipway.cli.lab import hosts_down, hosts_up, lab_stacks, made_by_lab
from slipway.cli.phases import Phases
from slipway.paths import MODELS, ROOT
from slipway.settings import Settings
from slipway.settings.load import read_public

_TINY_MODEL = MODELS / "tiny-llama"
_PROMPT = "Tell me a story about a slipway."


def take_up(stack: str, *, as_json: bool, chat_after: bool) -> None:
    """Take `stack` up and show how to use it. Safe to repeat, and to run again after a kill at any point.

    Raises:
        SettingsError: the stack's settings were refused; nothing was touched.
        UserError: a phase failed; the message says which, and what to do.
    """
    settings = read_public(stack, ROOT)
    on_lab = made_by_lab(settings)
    phases = Phases(total=2 + on_lab + _wants_tiny_model(settings) + chat_after)
    if _wants_tiny_model(settings):
        with phases.phase("tiny model", mend=f"remove {_TINY_MODEL} and repeat"):
            _make_tiny_model()
    if on_lab:
        with phases.phase("lab hosts", mend="`slipway lab down` throws the lab's hosts away; then repeat"):
            hosts_up(stack)
    pulumi = PulumiStack(stack)
    with phases.phase("pulumi up", mend=f"mend what is named above, then repeat `slipway up {stack}`: it goes on"):
        pulumi.select()
        pulumi.up(to_stderr=as_json)
    with phases.phase("client files", mend="repeat"):
        outputs = pulumi.outputs()
        client = keep_client_files(stack, outputs)
    figures = None
    if chat_after:
        with phases.phase("a streamed completion", mend=f"`pulumi up --refresh --stack {stack}` mends a changed host"):
            key = key_for(stack, client)
            if key is None:
                print("its key is not known here, so nobody asks; acceptance has asked already", file=sys.stderr)
            else:
                figures = converse(client, key, _PROMPT, max_tokens=64, quiet=as_json)
    if as_json:
        print(json.dumps({**outputs, "client": client, "chat": figures, "phases_s": phases.seconds}))
    else:
        _show(stack, outputs, client)


def take_down(stack: str | None) -> None:
    """Take `stack` down, or every stack on lab hosts together with all lab hosts.

    Raises:
        SettingsError: no such stack.
        UserError: the engine failed.
    """
    if stack is not None and not made_by_lab(read_public(stack, ROOT)):
        pulumi = PulumiStack(stack)
        pulumi.select()
        pulumi.destroy()
        return
    # Throwing the hosts away undoes all that was installed on them; only the memory of it must go too.
    hosts_down([] if stack is None else [host.name for host in read_public(stack, ROOT).hosts])
    for name in [stack] if stack is not None else lab_stacks():
        pulumi = PulumiStack(name)
        if pulumi.exists():
            pulumi.select()
            pulumi.forget()


def _wants_tiny_model(settings: Settings) -> bool:
    return settings.model.source.path == _TINY_MODEL


def _make_tiny_model() -> None:
    from tools.lab.model import make_tiny_llama

    make_tiny_llama(_TINY_MODEL)


def _show(stack: str, outputs: dict[str, Any], client: dict[str, Any]) -> None:
    variable = next(iter(client["key_variables"].values()))
    figures = outputs["acceptance"]
    print(f"""
endpoint        {outputs["endpoint"]}
model           {client["model"]} (context {client["context_window"]}, output {client["max_output_tokens"]} tokens)
CA certificate  {client.get("ca_file", "the site's own")}
key             in ${variable}: eval "$(.venv/bin/slipway env {stack})"
acceptance      TTFT {figures.get("ttft_ms")} ms, {figures.get("tokens_per_second")} tokens/s
again           .venv/bin/slipway chat --stack {stack} "your question"

A client to copy, in Python:

{example(client)}""")

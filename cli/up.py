"""`slipway up` and `slipway down`: everything around `pulumi up` that a newcomer would otherwise do by hand."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cli.chat import Client, client_for, converse, example, key_for
from cli.errors import UserError
from cli.lab import hosts_down, hosts_up, lab_stacks, made_by_lab
from cli.phases import Phases
from cli.pulumi import PulumiStack
from slipway.paths import MACHINE, MODELS, ROOT
from slipway.settings.load import read_public
from slipway.settings.models import Task
from slipway.settings.platform import Settings

_TINY, _TINY_GGUF = MODELS / "tiny-llama", MODELS / "tiny-llama.gguf"
"""The lab's model, as a folder and as one file: made where a stack names it."""
_OLLAMA = MACHINE / "programs" / "ollama"
_PROMPT = "Tell me a story about a slipway."
_MEASURED = (("ttft_ms", "TTFT", " ms"), ("tokens_per_second", "tokens/s", ""), ("dimensions", "dimensions", ""))
"""What acceptance measures of a model, by what it does."""


def take_up(stack: str, *, as_json: bool, chat_after: bool) -> None:
    """Take `stack` up and show how to use it. Safe to repeat, and to run again after a kill at any point.

    Raises:
        SettingsError: the stack's settings were refused; nothing was touched.
        UserError: a phase failed; the message says which, and what to do.
    """
    settings = read_public(stack, ROOT)
    on_lab = made_by_lab(settings)
    tiny = _tiny_models(settings)
    builds = _wants_ollama(settings)
    phases = Phases(total=1 + on_lab + bool(tiny) + builds + (chat_after and _chats(settings)))
    if tiny:
        with phases.phase("tiny model", mend=f"remove {' and '.join(map(str, sorted(tiny)))} and repeat"):
            _make_tiny_models(tiny)
    if builds:
        with phases.phase("Ollama", mend=f"remove {_OLLAMA} and repeat"):
            _build_ollama()
    if on_lab:
        with phases.phase("lab hosts", mend="`slipway lab down` throws the lab's hosts away; then repeat"):
            hosts_up(stack)
    pulumi = PulumiStack(stack)
    with phases.phase("pulumi up", mend=f"mend what is named above, then repeat `slipway up {stack}`: it goes on"):
        pulumi.select()
        pulumi.up(to_stderr=as_json)
    outputs = pulumi.outputs()
    asks = any(route["task"] == "chat" for route in outputs["models"].values())
    client = client_for(stack, outputs) if asks else None
    figures = None
    if chat_after and client is not None:
        with phases.phase("a streamed completion", mend=f"`pulumi up --refresh --stack {stack}` mends a changed host"):
            key = key_for(stack, client)
            if key is None:
                print("its key is not known here, so nobody asks; acceptance has asked already", file=sys.stderr)
            else:
                figures = converse(client, key, _PROMPT, max_tokens=64, quiet=as_json)
    if as_json:
        told = None if client is None else asdict(client)
        print(json.dumps({**outputs, "client": told, "chat": figures, "phases_s": phases.seconds}))
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
    hosts_down([] if stack is None else list(read_public(stack, ROOT).machines))
    for name in [stack] if stack is not None else lab_stacks():
        pulumi = PulumiStack(name)
        if pulumi.exists():
            pulumi.select()
            pulumi.forget()


def _tiny_models(settings: Settings) -> set[Path]:
    named = {model.source.path for model in settings.served.values() if model.source.path is not None}
    return named & {_TINY, _TINY_GGUF}


def _make_tiny_models(wanted: set[Path]) -> None:
    from tools.lab.model import make_tiny_gguf, make_tiny_llama

    if _TINY in wanted:
        make_tiny_llama(_TINY)
    if _TINY_GGUF in wanted:
        make_tiny_gguf(_TINY_GGUF)


def _wants_ollama(settings: Settings) -> bool:
    sources = [getattr(model.engine, "program", None) for model in settings.served.values()]
    return any(source is not None and source.path == _OLLAMA for source in sources)


def _build_ollama() -> None:
    """Build it unless it is there, and have the place that stacks name lead to it."""
    from tools.gobuild import BuildError
    from tools.ollama.build import ensure

    try:
        program = ensure()
    except BuildError as error:
        raise UserError(str(error), status=1) from error
    _OLLAMA.parent.mkdir(parents=True, exist_ok=True)
    part = _OLLAMA.with_name(f".{_OLLAMA.name}.{os.getpid()}")
    part.symlink_to(program)
    part.replace(_OLLAMA)


def _chats(settings: Settings) -> bool:
    return any(settings.task_of(name) is Task.CHAT for name in settings.models)


def _show(stack: str, outputs: Mapping[str, Any], client: Client | None) -> None:
    lines = [("endpoint", outputs["endpoint"])]
    lines += [
        ("model", _model(name, model, outputs["acceptance"].get(name))) for name, model in outputs["models"].items()
    ]
    lines += [("team", f"{team}, its key in ${entry['key_variable']}") for team, entry in outputs["clients"].items()]
    lines += [("missing", f"{name}: {reason}") for name, reason in outputs["missing"].items()]
    lines.append(("keys", f'eval "$(.venv/bin/slipway env {stack})" exports those that Slipway made'))
    lines.append(("clients", f".venv/bin/slipway clients {stack} --for TOOL writes a tool's configuration"))
    if client is not None:
        lines.append(("CA certificate", client.ca_file or "the site's own"))
        lines.append(("again", f'.venv/bin/slipway chat --stack {stack} "your question"'))
    print("\n" + "\n".join(f"{name:16}{text}" for name, text in lines))
    if client is not None:
        print(f"\nA client to copy, in Python:\n\n{example(client)}")


def _model(name: str, model: Mapping[str, Any], proved: Mapping[str, Any] | None) -> str:
    """One line: what it is for, its bounds, where it runs, and what acceptance measured."""
    parts = [f"{name} ({model['task']}"]
    if model["context_window"]:
        parts.append(f"context {model['context_window']}")
    if model["task"] in {"chat", "completion"} and model["max_output_tokens"]:
        parts.append(f"output {model['max_output_tokens']} tokens")
    told = f"{', '.join(parts)})"
    for key, instance in model["instances"].items():
        gpus = f" on GPU {', '.join(map(str, instance['gpus']))}" if instance["gpus"] else ""
        told += f"; {key}{gpus}, port {instance['port']}"
        for part, its in (instance.get("parts") or {}).items():
            gpus = f" on GPU {', '.join(map(str, its['gpus']))}" if its["gpus"] else ""
            told += f", with {part}{gpus}"
    measured = proved or {}
    figures = [f"{label} {measured[key]}{unit}" for key, label, unit in _MEASURED if measured.get(key) is not None]
    return f"{told}; {', '.join(figures)}" if figures else told

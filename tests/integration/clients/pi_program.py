"""pi, with the models.json that `slipway clients --for pi` writes: pi_program.py FOLDER NODE CLI."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cells import CHAT_MODEL, HELLO, holds, run, said, same

folder, node, cli = Path(sys.argv[1]), sys.argv[2], sys.argv[3]


def ask(*arguments: str) -> list[dict[str, Any]]:
    """Its events."""
    command = [
        node,
        cli,
        "--offline",
        "--no-session",
        "--no-approve",
        "--no-context-files",
        "--no-skills",
        "--mode",
        "json",
    ]
    command += ["--model", CHAT_MODEL, *arguments, "--print", HELLO]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"HOME": str(folder), "NODE_EXTRA_CA_CERTS": os.environ["SSL_CERT_FILE"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    holds(done.returncode == 0, f"{done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def text(message: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in message["content"])


def stream() -> None:
    events = ask("--no-tools")
    deltas = [event.get("assistantMessageEvent", {}) for event in events if event["type"] == "message_update"]
    said("".join(delta["delta"] for delta in deltas if delta["type"] == "text_delta"))
    usage = [
        event["message"]["usage"] for event in events if event["type"] == "message_end" and "usage" in event["message"]
    ]
    holds(usage[-1]["output"] > 0, f"no usage: {usage}")


def tools() -> None:
    """It has the model call its tool `bash`, runs that, and gives back what it printed."""
    events = ask("--tools", "read,bash")
    results = [event["result"] for event in events if event["type"] == "tool_execution_end"]
    same([text(result).strip() for result in results], ["slipway"])
    said(text([event["message"] for event in events if event["type"] == "message_end"][-1]))


run({"stream": stream, "tools auto": tools})

"""aider, with the file that `slipway clients --for aider` writes, in a folder of its own: aider_program.py FOLDER."""

import os
import subprocess
import sys
from pathlib import Path

from cells import HELLO, KEY, PROSE, holds, run

folder = Path(sys.argv[1])
# It looks for newer releases, for models' prices and for whoever counts its users; nothing of that is there.
OFFLINE = ("--no-check-update", "--analytics-disable", "--no-show-release-notes", "--no-detect-urls", "--no-gui")
PLAIN = (
    "--no-git",
    "--yes-always",
    "--no-pretty",
    "--map-tokens",
    "0",
    "--no-fancy-input",
    "--no-suggest-shell-commands",
)


def ask(*arguments: str) -> None:
    """What it prints is the answer among lines of its own."""
    command = [sys.executable, "-m", "aider", *OFFLINE, *PLAIN, *arguments, "--chat-mode", "ask", "--message", HELLO]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"HOME": str(folder), "OPENAI_API_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    holds(PROSE in done.stdout, f"{done.returncode}: {done.stdout[-400:]} {done.stderr[-400:]}")


run({"chat": lambda: ask("--no-stream"), "stream": lambda: ask("--stream")})

"""Run the system's own tools, and report a failure in one line."""

import os
import shlex
import subprocess
from collections.abc import Mapping

from tools.lab.errors import LabError

# sbin: a user's PATH on Debian lacks it, and sudo may keep that PATH.
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
_SHOWN = 160


def run(*command: str, text: str | None = None, timeout: float = 60) -> str:
    """Run `command` with `text` on its standard input and return its standard output.

    It speaks English, so that its messages can be looked up.

    Raises:
        LabError: it is not installed, took longer than `timeout` seconds, or failed; with its last words.
    """
    done = attempt(*command, text=text, timeout=timeout)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise LabError(f"`{_shown(command)}` failed with status {done.returncode}: {' / '.join(words)}")
    return done.stdout


def attempt(
    *command: str, text: str | None = None, timeout: float = 60, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Like `run`, for commands that may fail: the caller looks at the status. `more` is added to its environment."""
    try:
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            env={**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", **(more or {})},
            **({"stdin": subprocess.DEVNULL} if text is None else {"input": text}),
        )
    except FileNotFoundError as error:
        raise LabError(f"`{command[0]}` is not installed on this machine; the lab needs it") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{_shown(command)}` did not end within {timeout:.0f} s") from error


def _shown(command: tuple[str, ...]) -> str:
    text = shlex.join(command)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

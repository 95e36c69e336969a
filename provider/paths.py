"""Where the plugin keeps things: folders for a run in memory, state that outlives a command in the user's home."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from pathlib import Path

import psutil

_PREFIX = "slipway-playbook-"


def state_folder() -> Path:
    """The folder of known hosts and of the log; made when it is missing."""
    folder = Path.home() / ".local" / "state" / "slipway"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def known_hosts() -> Path:
    """Where the keys of hosts without a pinned `hostKey` are remembered."""
    return state_folder() / "known_hosts"


def log_file() -> Path:
    """The plugin's own log."""
    given = os.environ.get("SLIPWAY_PLAYBOOK_LOG")
    return Path(given).expanduser() if given else state_folder() / "playbook.log"


def remote_folder() -> str:
    """Ansible's temporary folder on hosts: the same for all runs from here, not to be guessed by the hosts' users.

    Who knows the name before the folder exists could make it first in `/tmp`, and swap what is executed from it.
    """
    file = state_folder() / "remote-tmp"
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(secrets.token_hex(8))
    return f"/tmp/.slipway-{file.read_text().strip() or 'ansible'}"  # noqa: S108 -- see above


def scratch_base() -> Path:
    """A place in memory where there is one: what Ansible writes while it runs then never reaches a disk."""
    for candidate in (os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm"):  # noqa: S108 -- mkdtemp inside
        if candidate and os.access(candidate, os.W_OK | os.X_OK) and Path(candidate).is_dir():
            return Path(candidate)
    return Path(tempfile.gettempdir())


def make_scratch() -> Path:
    """A folder for this process alone (0700), whose name says whose it is."""
    me = psutil.Process()
    name = f"{_PREFIX}{me.pid}-{int(me.create_time())}-"
    return Path(tempfile.mkdtemp(prefix=name, dir=scratch_base()))


def sweep() -> None:
    """Removes folders whose processes were killed before they could do it themselves."""
    for folder in scratch_base().glob(f"{_PREFIX}*"):
        pid, started = (*folder.name.removeprefix(_PREFIX).split("-"), "", "")[:2]
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.getuid() and not _lives(pid, started):
                shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: str, started: str) -> bool:
    try:
        return str(int(psutil.Process(int(pid)).create_time())) == started
    except (psutil.Error, ValueError):
        return False

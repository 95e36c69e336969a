"""Waiting for a host: it is ready when its user can log in and systemd has finished booting."""

import time
from collections.abc import Callable

from tools.lab.errors import LabError
from tools.lab.hosts import USER, Machine
from tools.lab.places import Places, write_atomically
from tools.lab.shell import attempt

_QUESTION = "sudo -n true && systemctl is-system-running --wait"
_PAUSE = 0.3


def wait_until_ready(machine: Machine, key: str, places: Places, alive: Callable[[], bool], patience: float) -> None:
    """Return when `machine`, whose public host key is `key`, lets the user in and has booted.

    Raises:
        LabError: it ended, or `patience` seconds passed; with what it printed last.
    """
    # The key is known before the host runs, so that even this first connection is to the right machine.
    known = machine.folder / "known_hosts"
    write_atomically(known, f"{machine.address} {key}\n")
    deadline = time.monotonic() + patience
    while True:
        answer = attempt(
            *("ssh", "-F", "none", "-i", str(places.key), "-o", "BatchMode=yes", "-o", "ConnectTimeout=2"),
            *(
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                f'UserKnownHostsFile="{known}"',
                "-o",
                "GlobalKnownHostsFile=none",
            ),
            *("-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", f"{USER}@{machine.address}", _QUESTION),
            timeout=max(deadline - time.monotonic(), 1) + 5,
        )
        if answer.stdout.strip() in {"running", "degraded"}:
            return
        if not alive():
            raise LabError(f"lab host {machine.name} ended while booting; its last words:\n{machine.last_words()}")
        if time.monotonic() > deadline:
            reason = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1:]
            raise LabError(
                f"lab host {machine.name} ({machine.address}) was not ready after {patience:.0f} s: "
                f"{''.join(reason) or 'no answer'}. `slipway lab down {machine.name}` throws it away, then repeat. "
                f"Its last words ({machine.console}):\n{machine.last_words()}"
            )
        time.sleep(_PAUSE)

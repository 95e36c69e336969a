"""One command on a machine of a stack, over SSH as root, as the `up` reaches it."""

from __future__ import annotations

import subprocess

from cli.errors import UserError
from provider.paths import known_hosts
from slipway.deployment.references import public
from slipway.deployment.types import Deployment, Machine


class RemoteError(UserError):
    """The machine can't be asked: which, and why."""


def on_machine(
    deployment: Deployment, machine: Machine, command: str, *, given: str | None = None, timeout_s: float
) -> str:
    """What `command` prints there.

    Args:
        deployment: the machine's.
        machine: where.
        command: a line for the login's shell; sudo goes before it.
        given: what it reads on stdin.
        timeout_s: the most that it may take, in seconds.

    Raises:
        RemoteError: there is no such machine yet, it does not answer, or the command fails.
    """
    address = deployment.known(public(machine.name))
    if address is None:
        raise RemoteError(f"{machine.name} is made by the `up`; ask again once it is there")
    options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-p", str(machine.port)]
    # A host that is gone is noticed within a minute, however long the command may take.
    options += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
    if machine.key_file is not None:
        options += ["-i", str(machine.key_file)]
    if machine.host_key is None:
        # Where an `up` keeps them: a person's own file may have another key of a host that was made anew since.
        options += ["-o", "StrictHostKeyChecking=accept-new", "-o", f'UserKnownHostsFile="{known_hosts()}"']
    else:
        # As the stack names it, and no other.
        known = address if machine.port == 22 else f"[{address}]:{machine.port}"
        options += ["-o", f"KnownHostsCommand=/bin/echo {known} {machine.host_key}", "-o", "UserKnownHostsFile=none"]
    target = f"{machine.user}@{address}" if machine.user else address
    try:
        done = subprocess.run(
            ["ssh", *options, target, f"sudo -n {command}"],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise RemoteError(f"{machine.name} ({address}) did not answer within {timeout_s:g} s") from None
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RemoteError(f"{machine.name} ({address}) can't be asked: {reason}")
    return done.stdout

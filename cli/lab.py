"""`slipway lab`: the bridge from stacks and commands to the lab's hosts."""

import ipaddress
import json
import os
import subprocess
import sys
from pathlib import Path

from cli.errors import UserError
from slipway.paths import ROOT
from slipway.settings.errors import SettingsError
from slipway.settings.load import read_public, stack_names
from slipway.settings.platform import Settings


def made_by_lab(settings: Settings) -> bool:
    """Whether the hosts are lab hosts, which their addresses tell.

    Raises:
        UserError: some are and some are not.
    """
    from tools.lab import SUBNET

    inside = [_within(machine.address, SUBNET) for machine in settings.machines.values()]
    if any(inside) and not all(inside):
        raise UserError(
            f"pools: some hosts' addresses lie in the lab's network {SUBNET} and some do not; use one kind in a stack"
        )
    return all(inside)


def lab_stacks() -> list[str]:
    """The stacks whose hosts are lab hosts."""
    found = []
    for name in stack_names(ROOT):
        try:
            if made_by_lab(read_public(name, ROOT)):
                found.append(name)
        except (SettingsError, UserError):
            # A stack that can't be read can't have been taken up as it is; it must not keep others from being taken down.
            print(f"stack {name}: passed over, its settings are refused", file=sys.stderr)
    return found


def hosts_up(stack: str, release: str = "") -> None:
    """Make and boot the hosts that `stack` names, of a release such as trixie; of the machine's own without one.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UserError: its hosts are no lab hosts, or a host did not come up.
    """
    settings = read_public(stack, ROOT)
    if not made_by_lab(settings):
        raise UserError(f"the hosts of stack {stack} are your own; only addresses in the lab's network are made here")
    if os.geteuid() != 0:
        _as_root("lab", "up", stack, *(["--release", release] if release else []))
        return
    from tools.lab import HostSpec, Lab, LabError

    try:
        specs = [HostSpec(name, machine.address or "", release) for name, machine in settings.machines.items()]
        Lab().up(specs, _progress)
    except LabError as error:
        raise UserError(str(error), status=1) from error


def hosts_down(names: list[str]) -> None:
    """Throw away the lab hosts called `names`, or all.

    Raises:
        UserError: something of a host could not be removed.
    """
    if os.geteuid() != 0:
        _as_root("lab", "down", *names)
        return
    from tools.lab import Lab, LabError

    try:
        Lab().down(names or None)
    except LabError as error:
        raise UserError(str(error), status=1) from error


def show_hosts(*, as_json: bool) -> None:
    """Print the lab hosts as a table or as JSON."""
    from dataclasses import asdict

    from tools.lab import Lab

    hosts = [asdict(host) for host in Lab().list()]
    if as_json:
        print(json.dumps(hosts, default=str))
        return
    if not hosts:
        print("no lab hosts; `slipway lab up` makes one")
    for host in hosts:
        print("  ".join(f"{value!s:14}" for value in host.values()).rstrip())


def _progress(line: str) -> None:
    print(f"      {line}", file=sys.stderr, flush=True)


def _within(address: str | None, network: str) -> bool:
    """Whether an address that is known lies in `network`."""
    if address is None:
        return False
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network)
    except ValueError:
        return False


def _as_root(*arguments: str) -> None:
    """Run one command of ours through sudo: hosts need mounts and network devices, all else runs as the user."""
    command = ["sudo", f"HOME={Path.home()}", sys.executable, "-m", "cli.main", *arguments]
    if subprocess.run(command, check=False).returncode != 0:
        raise UserError(f"`{' '.join(command)}` failed; lab hosts need root: see the message above", status=1)

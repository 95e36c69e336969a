"""The base system of every host: made once with debootstrap, kept in the cache, never changed."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tools.lab.apt import Distribution
from tools.lab.errors import LabError
from tools.lab.hosts import USER
from tools.lab.locks import locked
from tools.lab.outer import put
from tools.lab.places import make_folder
from tools.lab.roots import remove_tree
from tools.lab.shell import attempt, run

# Part of the key: raise it when `_furnish` below changes what it makes.
RECIPE = 1
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "python3-venv",
    "iproute2",
    "sudo",
    "ca-certificates",
    "libpam-systemd",
    "procps",
)
_TIMEOUT = 1800
_SSHD = """\
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UseDNS no
"""


def base_key(distribution: Distribution, architecture: str) -> str:
    """The name of a base system: what it was made of, and how."""
    recipe = json.dumps([RECIPE, PACKAGES, distribution.components])
    return f"{distribution.suite}-{architecture}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ensure_base(cache: Path, distribution: Distribution, progress: Callable[[str], None]) -> Path:
    """The folder of the base system; made where it is missing (about a minute).

    It appears under its name only when it is whole. A making that was killed left no process, and the next one starts
    afresh.

    Raises:
        LabError: debootstrap failed.
    """
    architecture = run("dpkg", "--print-architecture").strip()
    bases = make_folder(cache / "base")
    base = bases / base_key(distribution, architecture)
    if base.is_dir():
        return base
    with locked(bases / ".lock", lambda: progress("waiting for the base system that another process makes")):
        if not base.is_dir():
            progress(f"making the base system: {distribution.identity} {distribution.suite}, about a minute, once")
            making = bases / f".making-{base.name}"
            remove_tree(making)
            _debootstrap(distribution, making, bases / f"{base.name}.log")
            _furnish(making)
            making.rename(base)
    return base


def _debootstrap(distribution: Distribution, root: Path, log: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise LabError("debootstrap is not installed: `apt-get install debootstrap`, then repeat")
    command = (
        # All of it dies with this process, and its mounts with it: nothing half-made stays busy.
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *(f"--components={','.join(distribution.components)}", distribution.suite, str(root), distribution.mirror),
    )
    # debootstrap fetches with wget, which knows nothing of apt's proxy.
    proxy = run("apt-config", "shell", "proxy", "Acquire::http::Proxy").partition("=")[2].strip().strip("'")
    more = {"http_proxy": proxy} if proxy and "http_proxy" not in os.environ else {}
    done = attempt(*command, timeout=_TIMEOUT, more=more)
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        last = " / ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise LabError(
            f"debootstrap of {distribution.suite} from {distribution.mirror} failed: {last}. "
            f"The whole log is {log}; check that the mirror answers from here, then repeat"
        )
    log.unlink()


def _furnish(root: Path) -> None:
    """What every host has: the user, its rights, the network service; and nothing that must be unique to a host."""

    def inside(*command: str) -> None:
        run("chroot", str(root), *command)

    inside("useradd", "--create-home", "--shell", "/bin/bash", USER)
    put(root, f"etc/sudoers.d/{USER}", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    put(root, f"etc/ssh/sshd_config.d/{USER}.conf", _SSHD)
    inside("systemctl", "enable", "systemd-networkd.service", "ssh.service")
    # They take apt's lock some minutes after boot: a failure that comes and goes, and says nothing about a role.
    inside("systemctl", "mask", "apt-daily.timer", "apt-daily-upgrade.timer")
    for unique in (*(root / "etc/ssh").glob("ssh_host_*"), root / "etc/machine-id", root / "var/lib/dbus/machine-id"):
        unique.unlink(missing_ok=True)
    inside("apt-get", "clean")

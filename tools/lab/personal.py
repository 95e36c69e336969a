"""What makes a copy of the base system a host of its own: name, address, identity, keys."""

import os
import uuid
from pathlib import Path

from tools.lab.hosts import USER, Machine
from tools.lab.network import GATEWAY, NETWORK
from tools.lab.outer import Outer, carry, put
from tools.lab.shell import run

_HOST_KEY = "etc/ssh/ssh_host_ed25519_key.pub"


def personalise(machine: Machine, public_key: str, outer: Outer) -> None:
    """Write all that is the host's own into its root folder."""
    root = machine.root
    carry(outer, root)
    put(root, "etc/hostname", f"{machine.name}\n")
    put(root, "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{machine.address} {machine.name}\n")
    put(root, "etc/machine-id", f"{uuid.uuid4().hex}\n", 0o444)
    put(
        root,
        "etc/systemd/network/10-host0.network",
        "[Match]\nName=host0\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        f"Address={machine.address}/{NETWORK.prefixlen}\nGateway={GATEWAY}\n",
    )
    run("ssh-keygen", "-q", "-A", "-f", str(root))
    (root / "etc/uv").mkdir(exist_ok=True)
    (root / "var/cache/slipway-uv").mkdir(exist_ok=True)
    _authorize(root, public_key)


def host_key(machine: Machine) -> str:
    """The host's public key, without the comment."""
    return " ".join((machine.root / _HOST_KEY).read_text().split()[:2])


def _authorize(root: Path, public_key: str) -> None:
    home = root / "home" / USER
    owner = home.stat()
    file = put(root, f"home/{USER}/.ssh/authorized_keys", public_key, 0o600)
    file.parent.chmod(0o700)
    for path in (file.parent, file):
        os.chown(path, owner.st_uid, owner.st_gid)

"""What a lab host is to its callers, and what the lab remembers of it."""

import hashlib
import ipaddress
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from tools.lab.errors import LabError
from tools.lab.network import GATEWAY, NETWORK, SUBNET
from tools.lab.places import write_atomically

USER = "slipway"
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_INTERFACE_ROOM = 12  # 15 characters are an interface's name; `vb-` takes three


def check_name(name: str) -> str:
    """Return `name` if it is a DNS label; it becomes a folder's and an interface's name.

    Raises:
        LabError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise LabError(f"lab host {name!r}: a name is lower-case letters, digits and hyphens, 63 at most")
    return name


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A host to make: a DNS label, an IPv4 address in the lab's network, and the release that it runs."""

    name: str
    address: str
    release: str = ""
    """Such as trixie; empty for the machine's own, and for whatever a host that is there has."""

    def __post_init__(self) -> None:
        check_name(self.name)
        try:
            address = ipaddress.IPv4Address(self.address)
        except ValueError as error:
            raise LabError(f"lab host {self.name}: {self.address!r} is no IPv4 address") from error
        taken = {NETWORK.network_address, NETWORK.broadcast_address, ipaddress.IPv4Address(GATEWAY)}
        if address not in NETWORK or address in taken:
            raise LabError(f"lab host {self.name}: {address} is not free in the lab's network {SUBNET} (.2 to .254)")


@dataclass(frozen=True, slots=True)
class Host:
    """A host that runs and lets `user` in; `host_key` is its public key (`ssh-ed25519 AAAA…`)."""

    name: str
    address: str
    port: int
    user: str
    key_file: Path
    host_key: str


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A host on this machine: `state` is running, stopped or half-made; `since` is UTC, ISO 8601."""

    name: str
    address: str
    state: str
    driver: str
    pid: int | None
    since: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a host: `made` tells a whole system from one whose making was cut off."""

    address: str
    driver: str
    base: str
    made: bool

    @property
    def release(self) -> str:
        """What the host runs, such as trixie."""
        return self.base.partition("-")[0]

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The record in a host's folder; None where there is none, or not a whole one."""
        try:
            return cls(**json.loads((folder / "host.json").read_text()))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Keep the record in a host's folder."""
        write_atomically(folder / "host.json", json.dumps(asdict(self)) + "\n")


@dataclass(frozen=True, slots=True)
class Machine:
    """A host as a driver sees it."""

    name: str
    address: str
    folder: Path
    uv_cache: Path

    @property
    def identity(self) -> str:
        """A name short enough for an interface, and still the host's own."""
        if len(self.name) <= _INTERFACE_ROOM:
            return self.name
        return f"{self.name[:6]}-{hashlib.sha256(self.name.encode()).hexdigest()[:5]}"

    @property
    def interface(self) -> str:
        """The outer end of the host's network cable."""
        return f"vb-{self.identity}"

    @property
    def system(self) -> Path:
        """What only root may enter: the parts of the host's file system."""
        return self.folder / "system"

    @property
    def root(self) -> Path:
        """The host's root folder, seen from outside."""
        return self.system / "root"

    @property
    def console(self) -> Path:
        """What the host printed while booting."""
        return self.folder / "console.log"

    def last_words(self, lines: int = 12) -> str:
        """The end of the console, for an error message."""
        try:
            text = self.console.read_text(errors="replace")
        except FileNotFoundError:
            return "(no console output)"
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f]", "", text)
        return "\n".join([line for line in plain.splitlines() if line.strip()][-lines:]) or "(no console output)"

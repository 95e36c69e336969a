"""Looks a host over before anything is installed on it, and says everything that stands in the way.

It only reads. All problems are returned together, each as one line that says what, where, and what to do. Problems with the
login itself (no SSH, no sudo) show before any of this can run.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.slipway_firewall import check_firewall
from ansible.module_utils.slipway_system_checks import HOSTS, check_python, check_roles, check_system
from ansible.module_utils.slipway_systems import find, read_release

GIB = 1024**3
# A host that is sold with 64 GiB shows less: firmware and kernel keep some.
MEMORY_TOLERANCE = 0.93
# Certificates are made some minutes back, and a slow connection takes its seconds too.
MAX_SKEW = 300
LISTENING = "0A"
FOLDERS = ("/opt/slipway", "/var/lib/slipway")


@dataclass(frozen=True)
class Listener:
    """A process that listens on a port."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})" if self.pid else self.name


class Host:
    """The host as its files show it; `root` makes it testable."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def text(self, path: str) -> str:
        """Content of a file; empty when it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def glob(self, pattern: str) -> list[Path]:
        """Paths below the root that match, in order."""
        return sorted(self.root.glob(pattern.lstrip("/")))

    def release(self) -> dict[str, str]:
        """The fields of os-release."""
        return read_release(self.text("/etc/os-release"))

    def identity(self) -> str:
        """What no other host has: its SSH host key, as ssh-keygen shows it; empty where there is none."""
        for file in self.glob("/etc/ssh/ssh_host_*_key.pub"):
            parts = self.text(str(file.relative_to(self.root))).split()
            with contextlib.suppress(ValueError, IndexError):
                digest = hashlib.sha256(base64.b64decode(parts[1])).digest()
                return f"the SSH host key SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
        return ""

    def boots_systemd(self) -> bool:
        """Whether systemd is what runs the host."""
        return (self.root / "run/systemd/system").is_dir()

    def memory(self) -> int:
        """Bytes of memory that the kernel manages."""
        match = re.search(r"^MemTotal:\s+(\d+) kB", self.text("/proc/meminfo"), re.MULTILINE)
        return int(match.group(1)) * 1024 if match else 0

    def sockets(self) -> dict[int, set[str]]:
        """Ports that something listens on, with the inodes of the sockets."""
        found: dict[int, set[str]] = {}
        for line in f"{self.text('/proc/net/tcp')}\n{self.text('/proc/net/tcp6')}".splitlines():
            fields = line.split()
            if len(fields) > 9 and fields[3] == LISTENING:
                found.setdefault(int(fields[1].rpartition(":")[2], 16), set()).add(fields[9])
        return found

    def holders(self, inodes: set[str]) -> list[Listener]:
        """Processes that hold one of the sockets."""
        wanted = {f"socket:[{inode}]" for inode in inodes}
        return [
            Listener(process, self.text(f"/proc/{process}/comm").strip() or "a program")
            for process in self.processes()
            if self.handles(process) & wanted
        ]

    def handles(self, process: int) -> set[str]:
        """What a process has open; nothing where it has ended, or is not ours to look into.

        A busy process closes some while they are read; those alone are left out.
        """
        found = set()
        with contextlib.suppress(OSError):
            for handle in (self.root / "proc" / str(process) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    found.add(str(handle.readlink()))
        return found

    def instances(self) -> set[str]:
        """Units of role `service` that are on the host."""
        files = self.glob("/etc/systemd/system/slipway-*.service")
        return {file.name for file in files if "\nX-Slipway-Claims=" in self.text(f"/etc/systemd/system/{file.name}")}

    def processes(self) -> Iterator[int]:
        """Numbers of all processes."""
        yield from sorted(int(entry.name) for entry in self.glob("/proc/[0-9]*") if entry.name.isdigit())

    def parents(self, pid: int) -> Iterator[int]:
        """A process and its parents, up to the first."""
        while pid > 0:
            yield pid
            # The name in brackets may hold blanks and brackets itself.
            fields = self.text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            pid = int(fields[1]) if len(fields) > 1 else 0

    def belongs(self, pid: int, unit: str, main_pid: int) -> bool:
        """Whether a process is of a unit: by control group where there is one, else by descent."""
        if any(
            line.endswith(f"/{unit}") or f"/{unit}/" in line for line in self.text(f"/proc/{pid}/cgroup").splitlines()
        ):
            return True
        return main_pid > 1 and main_pid in self.parents(pid)


def check_disk(need_gib: float, spaces: list[tuple[str, int, int]]) -> Iterator[str]:
    """Disk space; `spaces` are (folder, free bytes, bytes that Slipway uses there), one per file system."""
    free, used = sum(space[1] for space in spaces), sum(space[2] for space in spaces)
    if free + used < need_gib * GIB:
        where = " and ".join(folder for folder, _, _ in spaces)
        yield (
            f"only {free / GIB:.1f} GiB are free for {where}; the stack needs {need_gib:g} GiB there, "
            f"{used / GIB:.1f} of which are in use by Slipway: free some space or mount a larger disk there"
        )


def check_memory(need_gib: float, have: int, hosts: str = HOSTS) -> Iterator[str]:
    """Memory, with a tolerance for what firmware and kernel keep."""
    if have < need_gib * GIB * MEMORY_TOLERANCE:
        yield (
            f"the host has {have / GIB:.1f} GiB of memory; the stack needs {need_gib:g} GiB: "
            f"add memory, choose a smaller model or name another host in {hosts}"
        )


def check_clock(there: float, here: float) -> Iterator[str]:
    """The clock against the controller's; 0 for unknown."""
    skew = there - here
    if here and abs(skew) > MAX_SKEW:
        shown = dt.datetime.fromtimestamp(there, dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        yield (
            f"the clock says {shown}, {dt.timedelta(seconds=round(abs(skew)))} {'ahead of' if skew > 0 else 'behind'} "
            f"the machine that runs Slipway; certificates would be refused: "
            f"set one of the two clocks right (timedatectl set-ntp true)"
        )


def check_ports(host: Host, ports: list[dict[str, Any]], main_pid: dict[str, int]) -> Iterator[str]:
    """Ports that something else than our own units listens on."""
    sockets, instances = host.sockets(), host.instances()
    for wanted in ports:
        port, unit = int(wanted["port"]), str(wanted["unit"])
        if port not in sockets:
            continue
        holders = host.holders(sockets[port])
        # Our own instances make way for one another; role vacate sees to that.
        ours = {unit, *instances}
        strangers = [
            holder
            for holder in holders
            if not any(host.belongs(holder.pid, name, main_pid.get(name, 0)) for name in ours)
        ]
        # A stranger beside our own process has inherited the socket from it.
        if holders and len(strangers) < len(holders):
            continue
        who = strangers[0] if strangers else Listener(0, "an unknown program")
        what, setting = wanted.get("purpose") or unit, wanted.get("setting")
        mend = f"set {setting} in the stack" if setting else "choose another port in the stack"
        yield f"port {port} is already used by {who}; {what} needs it: stop that program or {mend}"


def check_paths(host: Host, paths: list[dict[str, Any]]) -> Iterator[str]:
    """Paths that have to be there."""
    for wanted in paths:
        path = str(wanted["path"])
        if not (host.root / path.lstrip("/")).exists():
            purpose = wanted.get("purpose") or "the model's files"
            setting = wanted.get("setting") or "its path"
            yield f"{path} is not there; it is needed for {purpose}: put it there or change {setting} in the stack"


def disk_usage(folder: Path) -> int:
    """Bytes that a tree takes on the disk."""
    total = 0
    for current, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                total += Path(current, name).lstat().st_blocks * 512
            except OSError:
                continue
    return total


def spaces(need_gib: float) -> list[tuple[str, int, int]]:
    """Free and used bytes of the file systems that Slipway's folders are, or will be, on."""
    found: dict[int, tuple[str, int, int]] = {}
    for name in FOLDERS:
        folder = Path(name)
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        device = existing.stat().st_dev
        statistics = os.statvfs(existing)
        free = statistics.f_bavail * statistics.f_frsize
        # Counting files takes a while, so only where it decides.
        used = disk_usage(folder) if folder.is_dir() and free < need_gib * GIB else 0
        before = found.get(device)
        found[device] = (f"{before[0]} and {name}", free, before[2] + used) if before else (name, free, used)
    return list(found.values())


def python_version() -> tuple[int, ...]:
    """Version of the system's Python; empty when there is none."""
    try:
        command = ("/usr/bin/python3", "-I", "-c", "import sys; print(*sys.version_info[:2])")
        return tuple(
            int(word) for word in subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        )
    except OSError:
        return tuple(sys.version_info[:2]) if sys.executable == "/usr/bin/python3" else ()


def venv_possible() -> bool:
    """Whether virtual environments can be made now, or after base has installed the package for it."""
    try:
        if not subprocess.run(
            ("/usr/bin/python3", "-I", "-c", "import ensurepip, venv"), capture_output=True, check=False
        ).returncode:
            return True
        if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
            return True  # a fresh image: base refreshes the lists first
        policy = subprocess.run(
            ("apt-cache", "policy", "python3-venv"), capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return False
    return "Candidate:" in policy and "Candidate: (none)" not in policy


def main_pids(units: set[str]) -> dict[str, int]:
    """The main processes of units, as systemd knows them."""
    found = {}
    for unit in units if shutil.which("systemctl") else ():
        command = ("systemctl", "show", "--property=MainPID", "--value", unit)
        answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        found[unit] = int(answer) if answer.isdigit() else 0
    return found


def survey(order: dict[str, Any]) -> dict[str, Any]:
    """Surveys the host that this runs on.

    Args:
        order: the arguments of module `host_survey`, all of them.

    Returns:
        ``{"problems": […], "host": {"system", "processors", "memory_gib", "identity"}}``.
    """
    host, hosts = Host(), order["hosts_setting"]
    release = host.release()
    system = find(release)
    problems = [
        *check_system(release, systemd=host.boots_systemd(), hosts=hosts),
        *check_roles(release, order["roles"]),
        *check_python(system, python_version(), venv=venv_possible(), hosts=hosts),
        *check_disk(order["min_disk_gib"], spaces(order["min_disk_gib"])),
        *check_memory(order["min_memory_gib"], host.memory(), hosts),
        *check_ports(
            host,
            order["ports"],
            main_pids({str(wanted["unit"]) for wanted in order["ports"]} | host.instances()),
        ),
        *check_firewall(order["ports"]),
        *check_clock(time.time(), order["time"]),
        *check_paths(host, order["paths"]),
    ]
    if os.geteuid() != 0:
        problems.insert(
            0,
            "the login does not become root: allow it to use sudo without a password, "
            f"or set another user for the host in {hosts}",
        )
    facts = {
        "system": release.get("PRETTY_NAME", ""),
        "processors": os.cpu_count() or 0,
        "memory_gib": round(host.memory() / GIB, 1),
        "identity": host.identity(),
    }
    return {"problems": problems, "host": facts}

"""What a host's own files say of its GPUs, without any program of the vendor: PCI bus, driver, device nodes, kernel log.

`root` is the folder that all paths are below: tests give another.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NVIDIA, AMD = "0x10de", "0x1002"
_DISPLAY = ("0x0300", "0x0302", "0x0380", "0x1200")
"""PCI classes of GPUs: VGA, 3D, other display controllers, processing accelerators."""
_BRIDGE = "0x0680"
_ADDRESS = re.compile(r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
_EXTENDED, _WHOLE, _ACS = 0x100, 4096, 0x000D
"""Where the extended capabilities of a PCI device begin, where they end, and the number of Access Control Services."""
_ACS_PEERS = 0x01 | 0x04 | 0x08 | 0x10
"""Of ACS' control word: source validation, redirection of requests and of completions, upstream forwarding."""
_DCGM_S = 90
_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_XID = re.compile(r"NVRM: Xid \(PCI:(?P<bus>[0-9a-fA-F:.]+)\): (?P<code>\d+)(?:, (?P<text>.*))?$")
_CLAIMS = re.compile(r"^X-Slipway-Claims=(.*)$", re.MULTILINE)
_CLAIMED = re.compile(r"\bgpu:(\d+)=")
_ISO = re.compile(r"^\d{4}-\d\d-\d\dT\S+")


@dataclass(frozen=True)
class Pci:
    """A device on the PCI bus."""

    bus_id: str
    vendor: str
    device: str
    kind: str


@dataclass(frozen=True)
class Xid:
    """One of the driver's errors in the kernel log."""

    time: float
    """Seconds since 1970."""
    bus_id: str
    code: int
    text: str


class Machine:
    """The host as its files show it."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def text(self, path: str) -> str:
        """Content of a file; empty where it can't be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        """Whether there is something at a path."""
        return (self.root / path.lstrip("/")).exists()

    def pci(self, vendors: tuple[str, ...] = (NVIDIA, AMD)) -> Iterator[Pci]:
        """All devices of some vendors; of those of GPUs unless others are given."""
        for folder in sorted((self.root / "sys/bus/pci/devices").glob("*")):
            vendor = self.text(f"/sys/bus/pci/devices/{folder.name}/vendor").strip()
            if vendor in vendors:
                device = self.text(f"/sys/bus/pci/devices/{folder.name}/device").strip()
                kind = self.text(f"/sys/bus/pci/devices/{folder.name}/class").strip()
                yield Pci(folder.name, vendor, device.replace("0x", "", 1), kind)

    def gpus(self, vendor: str = NVIDIA) -> list[Pci]:
        """GPUs of a vendor on the PCI bus, in the order of their addresses."""
        return [each for each in self.pci() if each.vendor == vendor and each.kind.startswith(_DISPLAY)]

    def switches(self) -> list[Pci]:
        """NVSwitches on the PCI bus. Those of B200 systems are not there."""
        return [each for each in self.pci() if each.vendor == NVIDIA and each.kind.startswith(_BRIDGE)]

    def translated(self, bus_id: str) -> str | None:
        """How the IOMMU treats a device: ``identity``, or a kind of translation such as ``DMA-FQ``; None without one."""
        return self.text(f"/sys/bus/pci/devices/{bus_id}/iommu_group/type").strip() or None

    def redirecting(self, bus_id: str) -> list[str] | None:
        """Bridges above a device whose ACS sends what its peers tell it through the CPU; None where they can't be read."""
        found = []
        for bridge in (self.root / "sys/bus/pci/devices" / bus_id).resolve().parent.parts:
            if not _ADDRESS.match(bridge):
                continue
            try:
                space = (self.root / "sys/bus/pci/devices" / bridge / "config").read_bytes()
            except OSError:
                return None
            # Of a bridge, others than root are shown 64 bytes; one without extended capabilities has 256.
            if len(space) < _EXTENDED:
                return None
            if _acs(space) & _ACS_PEERS:
                found.append(bridge)
        return found

    def nccl(self, patterns: list[str]) -> str | None:
        """The NCCL of an engine that is installed here; None where none is."""
        found = (sorted(self.root.glob(pattern.lstrip("/"))) for pattern in patterns)
        return next((str(files[-1]) for files in found if files), None)

    def diagnostic(self) -> list[str] | None:
        """What DCGM's quick diagnostic finds wrong; None where DCGM is not on the host.

        Raises:
            OSError: it could not be asked: why.
        """
        program = self.root / "usr/bin/dcgmi"
        if not program.exists():
            return None
        try:
            done = subprocess.run(
                (str(program), "diag", "-r", "1", "--json"),
                capture_output=True,
                text=True,
                check=False,
                timeout=_DCGM_S,
            )
            said = json.loads(done.stdout[done.stdout.index("{") :])
        except subprocess.TimeoutExpired:
            raise OSError(f"dcgmi diag did not end within {_DCGM_S} s") from None
        except ValueError:
            lines = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
            raise OSError(f"dcgmi diag said: {lines[-1]}") from None
        failed = list(dict.fromkeys(_failed(said)))
        # Tests that were skipped, an error instead of tests, or an answer of another shape prove nothing.
        if not failed and not {"pass", "fail"} & set(_told(said, "status")):
            why = "".join(f": {each}" for each in _told(said, "runtime_error"))
            raise OSError(f"dcgmi diag ended with {done.returncode} and told no test{why}")
        if not failed and done.returncode:
            raise OSError(f"dcgmi diag ended with {done.returncode}, and no test failed")
        return failed

    def module(self) -> str:
        """Version of the kernel module that is loaded, such as ``580.173.02``; empty without one."""
        return self.text("/sys/module/nvidia/version").strip()

    def nodes(self, gpus: int) -> list[str]:
        """Device nodes that CUDA needs and that are not there."""
        wanted = ["nvidiactl", "nvidia-uvm", *(f"nvidia{number}" for number in range(gpus))]
        return [f"/dev/{name}" for name in wanted if not self.exists(f"/dev/{name}")]

    @property
    def virtual(self) -> bool:
        """Whether this is a virtual machine, as the processor says."""
        return bool(re.search(r"^flags\s.*\bhypervisor\b", self.text("/proc/cpuinfo"), re.MULTILINE))

    def running(self, unit: str) -> bool:
        """Whether a system service has processes; by its control group, in either version of them."""
        groups = (f"/sys/fs/cgroup/{version}system.slice/{unit}/cgroup.procs" for version in ("", "systemd/"))
        return any(self.text(group).strip() for group in groups)

    def installed(self, unit: str) -> bool:
        """Whether there is such a unit."""
        return any(self.exists(f"{folder}/{unit}") for folder in _UNITS)

    def enabled(self, unit: str) -> bool:
        """Whether a unit starts at boot."""
        return any((self.root / "etc/systemd/system").glob(f"*.wants/{unit}"))

    def engines(self) -> dict[str, list[int]]:
        """Instances that have GPUs for themselves, with the GPUs' indices: their units say so (role service)."""
        found = {}
        for file in sorted((self.root / "etc/systemd/system").glob("slipway-*.service")):
            claims = _CLAIMS.search(self.text(f"/etc/systemd/system/{file.name}"))
            gpus = [int(each) for each in _CLAIMED.findall(claims.group(1))] if claims else []
            if gpus:
                found[file.name[len("slipway-") : -len(".service")]] = gpus
        return found

    def xids(self, since: float) -> list[Xid] | None:
        """The driver's errors since this boot that are not older than `since` (seconds since 1970); None without a kernel log."""
        lines = self._journal() or self._syslog()
        found = [xid for time, line in lines if time >= since for xid in _xids(time, line)]
        return found if lines else None

    def _journal(self) -> list[tuple[float, str]]:
        if self.root != Path("/"):
            return []
        said = _said("journalctl", "--dmesg", "--boot", "--output=short-unix", "--no-pager")
        entries = [line.partition(" ") for line in said.splitlines()]
        return [(float(time), rest) for time, _, rest in entries if time.replace(".", "", 1).isdigit()]

    def _syslog(self) -> list[tuple[float, str]]:
        """The kernel's lines since this boot, where a syslog daemon keeps them and the journal has none."""
        booted = self._booted()
        stamped = [(_ISO.match(line), line) for line in self.text("/var/log/kern.log").splitlines()]
        timed = [(_seconds(stamp.group()), line) for stamp, line in stamped if stamp]
        return [(time, line) for time, line in timed if time >= booted]

    def _booted(self) -> float:
        found = re.search(r"^btime (\d+)", self.text("/proc/stat"), re.MULTILINE)
        return float(found.group(1)) if found else 0.0


def _acs(space: bytes) -> int:
    """The control word of Access Control Services in a PCI configuration space; 0 without them."""
    place = _EXTENDED
    # Each capability names the next one, at a place that is a multiple of 4.
    for _ in range((_WHOLE - _EXTENDED) // 4):
        if place < _EXTENDED or place + 8 > len(space):
            return 0
        (header,) = struct.unpack_from("<I", space, place)
        if header & 0xFFFF == _ACS:
            control: int = struct.unpack_from("<H", space, place + 6)[0]
            return control
        place = header >> 20 & 0xFFC
    return 0


def _failed(said: object, name: str = "") -> Iterator[str]:
    """Tests that failed in the diagnostic's answer, whose shape differs between releases of DCGM, with what is said of them."""
    if isinstance(said, list):
        for each in said:
            yield from _failed(each, name)
    elif isinstance(said, dict):
        name = str(said.get("name", name))
        if str(said.get("status", "")).lower() == "fail":
            where = said.get("entity_id", said.get("gpu_ids", said.get("gpu_id")))
            told = [each.get("warning", each) if isinstance(each, dict) else each for each in _several(said)]
            yield f"{name or 'a test'}{'' if where is None else f' of GPU {where}'}: {'; '.join(map(str, told)) or 'failed'}"
        for key, inner in said.items():
            if key != "test_summary":
                yield from _failed(inner, name)


def _told(said: object, key: str) -> Iterator[str]:
    """What the diagnostic's answer has under a key, anywhere but in summaries; a status in small letters."""
    if isinstance(said, list):
        for each in said:
            yield from _told(each, key)
    elif isinstance(said, dict):
        for name, inner in said.items():
            if name == key:
                yield str(inner).lower() if key == "status" else str(inner)
            elif name != "test_summary":
                yield from _told(inner, key)


def _several(said: dict[str, object]) -> list[object]:
    told = said.get("warnings", said.get("info", []))
    return told if isinstance(told, list) else [told]


def _xids(time: float, line: str) -> Iterator[Xid]:
    found = _XID.search(line)
    if found:
        bus = found.group("bus").lower()
        yield Xid(time, bus if "." in bus else f"{bus}.0", int(found.group("code")), found.group("text") or "")


def _seconds(stamp: str) -> float:
    # Before Python 3.11, fromisoformat knows no Z.
    return dt.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""

#!/usr/bin/python
"""Ansible module: look at a host before an NVIDIA driver is installed on it, and say everything that stands in the way.

It only reads. All problems are returned together, each as one line that says what, where, and what to do; deciding to fail
is the role's.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gpu_host.machine import AMD, Machine
from ansible.module_utils.slipway_kernels import broken_from, next_boot
from ansible.module_utils.slipway_systems import read_release

DOCUMENTATION = r"""
module: driver_survey
short_description: Say what stands in the way of an NVIDIA driver on this host
description:
  - Reads system, PCI bus, kernels, loaded modules, secure boot, and drivers that somebody else installed; changes nothing.
options:
  source:
    description: Where the driver is to come from; automatic is the archive on Ubuntu, and elsewhere the vendor's repository.
    type: str
    choices: [automatic, vendor, distribution, mirror]
    required: true
  branch:
    description: The driver's branch.
    type: str
    required: true
  broken_kernels:
    description: Kernels that its modules do not build for, as C(system), C(first) and C(below).
    type: list
    elements: dict
    default: []
  kernels:
    description: Kernels that modules are for; by default the running one and that of the next boot.
    type: list
    elements: str
    default: []
  setting:
    description: The driver's section in the stack, for messages.
    type: str
    default: driver
  folder:
    description: Where the records of module owned_packages lie.
    type: path
    default: /var/lib/slipway/packages
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Look at the host
  driver_survey:
    source: automatic
    branch: "580"
"""

RETURN = r"""
problems:
  description: What stands in the way, one line each; empty when nothing does.
  type: list
  returned: always
host:
  description: What was seen (system, source, running, kernels, gpus, nvswitch, loaded, nouveau, secure_boot, ports).
  type: dict
  returned: always
manages:
  description: What another look would see otherwise, for the plugin's record (docs/reference/playbook-resource.md).
  type: list
  returned: always
"""

MELLANOX = "0x15b3"
NVSWITCHES = ("1af1", "22a3")
"""PCI device ids of NVSwitches of A100 and H100 systems; those of B200 are managed through a ConnectX-7."""
MANAGES_SWITCHES = b"SW_MNG"
"""In the vital product data of such a ConnectX-7 (`SMDL=SW_MNG`)."""
SYSTEMS = {
    ("debian", "12"): "debian-12",
    ("debian", "13"): "debian-13",
    ("ubuntu", "22.04"): "ubuntu-22.04",
    ("ubuntu", "24.04"): "ubuntu-24.04",
}
SHOWN = "Debian 12 and 13, Ubuntu 22.04 and 24.04, RHEL 9 and its rebuilds"
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
KEYS = ("/var/lib/dkms/mok.pub", "/var/lib/shim-signed/mok/MOK.der")
"""Certificates that DKMS signs with, where Debian and Ubuntu make them."""
UNINSTALLER = "/usr/bin/nvidia-uninstall"
DRIVERS = (
    "cuda-drivers*",
    "kmod-nvidia*",
    "libcuda1*",
    "libnvidia-compute*",
    "linux-modules-nvidia-*",
    "nvidia-dkms-*",
    "nvidia-driver",
    "nvidia-driver-[0-9]*",
    "nvidia-driver-cuda*",
    "nvidia-fabricmanager*",
    "nvidia-headless-*",
    "nvidia-kernel-dkms",
    "nvidia-kernel-open-dkms",
    "nvidia-open*",
    "nvidia-smi",
    "nvidia-utils-*",
)
"""Packages of which a driver consists, whoever made them."""
OWNERS = ("nvidia_driver", "nvidia_fabricmanager", "nvidia_pinning")
RPMS = "/etc/slipway/nvidia/rpms"
"""The list that the role writes before dnf installs anything."""
LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/libcuda.so.*.*",
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.*.*",
    "/usr/lib64/libcuda.so.*.*",
    "/usr/lib64/libnvidia-ml.so.*.*",
    "/usr/local/lib/libcuda.so.*.*",
)
LISTENING = "0A"
NAMED = 8
"""Packages that a message names at most."""


class Host(Machine):
    """The host as its files show it, and as programs of its system tell."""

    def path(self, path: str) -> Path:
        """A path of the host."""
        return self.root / path.lstrip("/")

    def data(self, path: str) -> bytes:
        """Content of a file; empty when it cannot be read."""
        try:
            return self.path(path).read_bytes()
        except OSError:
            return b""

    def glob(self, pattern: str) -> list[Path]:
        """Paths below the root that match, in order."""
        return sorted(self.root.glob(pattern.lstrip("/")))

    def run(self, *command: str) -> tuple[int, str]:
        """Exit status and output of a command that only looks; 127 where it is not there."""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return 127, ""
        return done.returncode, done.stdout + done.stderr

    def glob_all(self, patterns: tuple[str, ...]) -> list[Path]:
        """Paths that match one of several patterns."""
        return [path for pattern in patterns for path in self.glob(pattern)]

    def system(self) -> str:
        """Which of the known systems it is; empty for none."""
        release = read_release(self.text("/etc/os-release"))
        known = SYSTEMS.get((release.get("ID", ""), release.get("VERSION_ID", "")))
        family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
        if known is None and "rhel" in family and release.get("VERSION_ID", "").partition(".")[0] == "9":
            return "redhat-9"
        return known or ""

    def nvswitch(self) -> str:
        """`pci` or `infiniband` where the GPUs are joined by switches that a fabric manager has to set up; else empty."""
        if any(each.device in NVSWITCHES for each in self.switches()):
            return "pci"
        managers = (self.data(f"/sys/bus/pci/devices/{each.bus_id}/vpd") for each in self.pci((MELLANOX,)))
        return "infiniband" if any(MANAGES_SWITCHES in data for data in managers) else ""

    def loaded(self) -> str:
        """The version of the NVIDIA driver in the kernel; empty for none."""
        match = re.search(r"Module.*?\s(\d{3}\.\d+(?:\.\d+)?)\s", self.text("/proc/driver/nvidia/version"))
        return match.group(1) if match else ""

    def running_kernel(self) -> str:
        """The running kernel's release."""
        return self.text("/proc/sys/kernel/osrelease").strip()

    def next_boot(self) -> str:
        """The release of the kernel that the next boot takes; empty where that is not known."""
        return next_boot(self.root, self.run)

    def kernels(self, given: list[str]) -> list[str]:
        """Kernels that need modules, each once."""
        return list(dict.fromkeys(given or [name for name in (self.running_kernel(), self.next_boot()) if name]))

    def secure_boot(self) -> bool:
        """Whether the firmware lets nothing into the kernel that is not signed."""
        variable = self.data(SECURE_BOOT)
        if variable:
            return variable[-1] == 1
        return "SecureBoot enabled" in self.run("mokutil", "--sb-state")[1]

    def enrolled(self) -> bool:
        """Whether the firmware knows a key that DKMS signs with."""
        return any(
            "is already enrolled" in self.run("mokutil", "--test-key", key)[1]
            for key in KEYS
            if self.path(key).exists()
        )

    def packages(self) -> list[str]:
        """Installed packages, by dpkg or rpm."""
        status, said = self.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\n")
        if status == 0:
            pairs = (line.split("\t") for line in said.splitlines() if "\t" in line)
            return sorted({name for state, name in pairs if state[1:2] not in ("n", "c")})
        status, said = self.run("rpm", "-qa", "--qf", "%{NAME}\n")
        return sorted(set(said.split())) if status == 0 else []

    def ours(self, folder: str) -> set[str]:
        """Packages that the role installed, or was about to."""
        found = set(self.text(RPMS).split())
        for owner in OWNERS:
            text = self.text(f"{folder}/{owner}.json")
            if text:
                record = json.loads(text)
                found |= {name for key in ("packages", "planned", "requested") for name in record.get(key, [])}
        return {name.partition("=")[0].partition(":")[0] for name in found}

    def owned(self, name: str) -> bool:
        """Whether a package brought a file."""
        answers = [self.run("dpkg-query", "-S", name)[0], self.run("rpm", "-qf", name)[0]]
        return 0 in answers or answers == [127, 127]

    def ports(self) -> list[int]:
        """Ports on which running instances of role service listen."""
        claimed = set()
        for file in self.glob("/etc/systemd/system/slipway-*.service"):
            claims = re.search(r"^X-Slipway-Claims=(.*)$", self.text(f"/etc/systemd/system/{file.name}"), re.MULTILINE)
            if claims and self.run("systemctl", "is-active", file.name)[1].strip() == "active":
                claimed |= {int(port) for port in re.findall(r"\bport:(\d+)=", claims.group(1))}
        lines = f"{self.text('/proc/net/tcp')}\n{self.text('/proc/net/tcp6')}".splitlines()
        fields = [line.split() for line in lines]
        listening = {int(each[1].rpartition(":")[2], 16) for each in fields if len(each) > 3 and each[3] == LISTENING}
        return sorted(claimed & listening)


def check_system(system: str, setting: str) -> Iterator[str]:
    """The system is one whose packages are known."""
    if not system:
        yield (
            f"the system is none of those on which Slipway installs drivers ({SHOWN}); "
            f"install the driver yourself and set {setting}.source to present"
        )


def check_gpus(host: Host, setting: str) -> Iterator[str]:
    """There is something to drive."""
    if host.gpus():
        return
    if host.gpus(AMD):
        yield (
            f"the GPUs on the PCI bus are AMD's, and Slipway installs NVIDIA's driver alone (no ROCm): "
            f"name a host with NVIDIA GPUs, or set gpus to 0 beside {setting}"
        )
    else:
        yield (
            "the PCI bus shows no NVIDIA GPU (vendor 10de), so a driver would have nothing to drive: "
            f"check the hardware (lspci -d 10de:), or set gpus to 0 beside {setting}"
        )


def check_foreign(host: Host, folder: str, setting: str) -> Iterator[str]:
    """Nobody else's driver is here: two of them overwrite each other's files, and neither works."""
    stay = f"to keep it, set {setting}.source to present"
    if host.path(UNINSTALLER).exists():
        yield f"a driver from NVIDIA's .run file is installed ({UNINSTALLER}); remove it with that program, or {stay}"
        return
    files = [f"/{file.relative_to(host.root)}" for file in host.glob_all(LIBRARIES) if not file.is_symlink()]
    stray = [file for file in files if not host.owned(file)]
    if stray:
        yield f"{stray[0]} is of no package, so a driver was copied here by hand; remove it, or {stay}"
    ours = host.ours(folder)
    others = [
        name
        for name in host.packages()
        if name not in ours and any(fnmatch.fnmatchcase(name, pattern) for pattern in DRIVERS)
    ]
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        yield (
            f"packages of a driver are installed that Slipway did not bring ({', '.join(others[:NAMED])}{more}), and drivers of "
            f"two sources do not mix: purge them, or {stay}"
        )


def check_kernels(
    system: str, kernels: list[str], broken: list[dict[str, str]], branch: str, setting: str
) -> Iterator[str]:
    """The modules build: where they don't, dpkg is left half configured, and every later run of apt tries again."""
    for kernel in kernels:
        first = broken_from(kernel, system, broken)
        if first:
            yield (
                f"the modules of branch {branch} do not build for kernel {kernel} (known from {first} on), and the "
                f"package manager would be left half way: set {setting}.branch to a newer one, or keep an older kernel"
            )


def check_secure_boot(host: Host, *, signed: bool, setting: str) -> Iterator[str]:
    """The kernel will take the modules."""
    if host.secure_boot() and not signed and not host.enrolled():
        yield (
            "secure boot is on, and no key is enrolled that modules built here are signed with; the kernel would refuse them. "
            f"On Ubuntu use its signed modules ({setting}.source: distribution). Else enrol a key: install dkms, "
            f"`dkms generate_mok && mokutil --import {KEYS[0]}`, reboot, "
            "and confirm it at the console; or turn secure boot off in the firmware"
        )


def look(host: Host, arguments: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """All problems, and what was seen."""
    setting, system = arguments["setting"], host.system()
    source = arguments["source"]
    if source == "automatic":
        source = "distribution" if system.startswith("ubuntu") else "vendor"
    kernels = host.kernels(arguments["kernels"])
    problems = [
        *check_system(system, setting),
        *check_gpus(host, setting),
        *check_foreign(host, arguments["folder"], setting),
        *check_kernels(system, kernels, arguments["broken_kernels"], arguments["branch"], setting),
        *check_secure_boot(host, signed=system.startswith("ubuntu") and source == "distribution", setting=setting),
    ]
    seen = {
        "system": system,
        "source": source,
        "running": host.running_kernel(),
        "kernels": kernels,
        "gpus": len(host.gpus()),
        "nvswitch": host.nvswitch(),
        "loaded": host.loaded(),
        "nouveau": host.path("/sys/module/nouveau").exists(),
        "secure_boot": host.secure_boot(),
        "ports": host.ports(),
    }
    return problems, seen


MANAGES = [
    {"kind": "command", "argv": ["uname", "-r"]},
    {"kind": "command", "argv": ["cat", "/proc/driver/nvidia/version"]},
    {"kind": "names", "paths": ["/boot"], "patterns": ["vmlinuz-*"], "type": "file"},
    {"kind": "path", "path": UNINSTALLER, "look": "presence"},
    {"kind": "packages", "names": list(DRIVERS)},
]


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "choices": ["automatic", "vendor", "distribution", "mirror"], "required": True},
            "branch": {"type": "str", "required": True},
            "broken_kernels": {"type": "list", "elements": "dict", "default": []},
            "kernels": {"type": "list", "elements": "str", "default": []},
            "setting": {"type": "str", "default": "driver"},
            "folder": {"type": "path", "default": "/var/lib/slipway/packages"},
        },
        supports_check_mode=True,
    )
    problems, seen = look(Host(), module.params)
    module.exit_json(changed=False, problems=problems, host=seen, manages=MANAGES)


if __name__ == "__main__":
    main()

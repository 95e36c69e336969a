"""The kernel modules of an NVIDIA driver: which there are for a kernel, what DKMS makes of it, and what is wrong with them.

It installs no packages, and it loads nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("nvidia", "nvidia-current-open", "nvidia-current")
"""What the module's file is called: Debian's own packages have more than one beside another."""
LOGS = "/var/lib/dkms/{name}/{version}/build/make.log"
BUILD_S = 3600


def run(*command: str) -> tuple[int, str]:
    """Exit status and output of a command in the C locale; 127 where it is not there."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=BUILD_S)
    except FileNotFoundError:
        return 127, ""
    return done.returncode, done.stdout + done.stderr


def module_of(kernel: str) -> tuple[str, str] | None:
    """The kernel that the module was built for, and its version; None where there is none."""
    for name in NAMES:
        status, magic = run("modinfo", "-k", kernel, "-F", "vermagic", name)
        if status == 0 and magic.strip():
            return magic.split()[0], run("modinfo", "-k", kernel, "-F", "version", name)[1].strip()
    return None


def upstream(package: str) -> str:
    """NVIDIA's version of an installed package; empty where it is not there."""
    for query in (("dpkg-query", "-W", "-f", "${Version}", package), ("rpm", "-q", "--qf", "%{VERSION}", package)):
        status, said = run(*query) if package else (1, "")
        match = re.search(r"\d{3}\.\d+(?:\.\d+)?", said.rpartition(":")[2])
        if status == 0 and match:
            return match[0]
    return ""


def sources() -> list[tuple[str, str]]:
    """Name and version of each NVIDIA driver that DKMS knows."""
    found = []
    for line in run("dkms", "status")[1].splitlines():
        # `nvidia/580.65.06, 6.1.0-56-amd64, x86_64: installed`, or without kernel: `nvidia/580.65.06: added`.
        match = re.match(r"(nvidia[\w-]*)[/,]\s*([\d.]+)", line)
        if match and (match[1], match[2]) not in found:
            found.append((match[1], match[2]))
    return found


def log_of(name: str, version: str) -> str:
    """The lines of a failed build that say why."""
    try:
        lines = Path(LOGS.format(name=name, version=version)).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line.strip() for line in lines if "error:" in line or "Error" in line]
    return " / ".join((errors or [line.strip() for line in lines if line.strip()])[:3])


def compiler_said() -> str:
    """Why the last build of the newest driver failed, by its log; empty where that tells of no error."""
    said = log_of(*sources()[-1]) if sources() else ""
    return said if "error" in said.lower() else ""


def build(kernel: str, *options: str) -> str:
    """Have DKMS build the driver's modules for a kernel, with such options; why it could not, else empty."""
    known = sources()
    if not known:
        return "DKMS knows no NVIDIA driver"
    name, version = known[-1]
    status, said = run("dkms", "install", f"{name}/{version}", "-k", kernel, *options)
    if status == 0:
        return ""
    last = " / ".join(line.strip() for line in said.splitlines() if line.strip())[-300:]
    return log_of(name, version) or last or f"dkms ended with {status}"


def wrong(kernel: str, found: tuple[str, str] | None, arguments: dict[str, Any], why: str) -> Iterator[str]:
    """What is wrong with the module of one kernel."""
    setting = arguments["setting"]
    if found is None:
        yield (
            f"there is no NVIDIA module for kernel {kernel} ({why or 'nobody built it'}); its GPUs would be without a driver: "
            f"install the kernel's headers, or set another {setting}.branch"
        )
        return
    built_for, version = found
    if built_for != kernel:
        yield (
            f"the NVIDIA module of kernel {kernel} was built for {built_for}, so it can't be loaded: "
            f"run `dkms autoinstall -k {kernel}`"
        )
    exact, branch = arguments["version"], arguments["branch"]
    if version != exact if exact else version.partition(".")[0] != branch:
        yield (
            f"the NVIDIA module of kernel {kernel} is of version {version or 'unknown'}, and {exact or branch} was asked for: "
            f"look at `dkms status` and at the source's packages, or set {setting}.version to what it has"
        )
    library = upstream(arguments["library"])
    if library and version != library:
        yield (
            f"the NVIDIA module of kernel {kernel} is of version {version}, and {arguments['library']} is {library}; NVML and "
            f"CUDA refuse such a pair: set {setting}.version to one that the source has of both, or try {setting}.modules of "
            "the other kind"
        )

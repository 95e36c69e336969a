"""A double of a GPU on a lab host, for the driver's role: what the PCI bus and a loaded module show.

Both are bind mounts over /sys/bus/pci and /proc/driver within the host, which a unit of the test makes at each boot.
"""

from tests.e2e.roles import RoleHost
from tests.e2e.stack import ssh
from tools.lab import HostSpec

FAKE = "/opt/fake-gpu"
PLUG = f"""#!/bin/sh
# The double of a GPU and of a kernel that loads its module, made by a test.
set -eu
mountpoint -q /sys/bus/pci || mount --bind {FAKE}/pci /sys/bus/pci
kernel=$(cat {FAKE}/kernel)
version=$(modinfo -k "$kernel" -F version nvidia-current 2>/dev/null) ||
  version=$(modinfo -k "$kernel" -F version nvidia-current-open 2>/dev/null) || exit 0
mkdir -p {FAKE}/driver/nvidia
echo "NVRM version: NVIDIA UNIX x86_64 Kernel Module  $version  (a double)" >{FAKE}/driver/nvidia/version
mountpoint -q /proc/driver || mount --bind {FAKE}/driver /proc/driver
"""
UNIT = f"""[Unit]
Description=The double of a GPU
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={FAKE}/plug
[Install]
WantedBy=sysinit.target
"""


def put(path: str, text: str, mode: str = "644") -> str:
    return f"sudo install -D -m {mode} /dev/stdin {path} <<'TEXT'\n{text}TEXT\n"


def device(place: str, kind: str, number: str) -> str:
    folder = f"{FAKE}/pci/devices/{place}"
    return "".join(
        put(f"{folder}/{name}", f"{text}\n")
        for name, text in (("class", kind), ("vendor", "0x10de"), ("device", number))
    )


def with_drivers(host: HostSpec) -> None:
    """Have the host's apt know the components in which Debian keeps the driver."""
    ssh(
        host.address,
        "sudo sed -i 's/^Components: main$/Components: main contrib non-free non-free-firmware/' "
        "/etc/apt/sources.list.d/slipway-lab.sources && sudo apt-get update -q",
    )


def plug_in(host: RoleHost, kernel: str) -> None:
    """Put a GPU on the host's bus, for which `kernel` has loaded the driver once there are modules for it."""
    host.ssh(
        put(f"{FAKE}/plug", PLUG, "755")
        + put(f"{FAKE}/kernel", f"{kernel}\n")
        + put("/etc/systemd/system/fake-gpu.service", UNIT)
        + device("0000:17:00.0", "0x030200", "0x20b5")
        + "sudo systemctl enable --now fake-gpu.service"
    )

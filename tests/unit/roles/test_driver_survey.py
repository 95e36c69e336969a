"""What the role nvidia_driver says of a host before it changes anything, and what it sees."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.loading import load

survey = load("library/driver_survey.py")
H100, A100_SWITCH = ("0x030200", "0x10de", "0x2330"), ("0x068000", "0x10de", "0x1af1")
BROKEN = [
    {"system": "debian", "first": "6.1.0-53", "below": "6.2"},
    {"system": "debian", "first": "6.12.107", "below": "6.13"},
]


class Machine:
    """A host made of files, with the commands that it answers."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.host = survey.Host(root)
        self.answers: dict[tuple[str, ...], tuple[int, str]] = {}
        self.packages: list[str] = []
        monkeypatch.setattr(self.host, "run", self.run)
        self.write("/etc/os-release", 'ID=debian\nVERSION_ID="12"\n')
        self.write("/proc/sys/kernel/osrelease", "6.1.0-50-amd64\n")
        self.device("0000:17:00.0", *H100)

    def run(self, *command: str) -> tuple[int, str]:
        if command[:2] == ("dpkg-query", "-W"):
            return 0, "".join(f"ii \t{name}\n" for name in self.packages)
        return self.answers.get(command, (127, ""))

    def write(self, path: str, content: str | bytes) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def device(self, place: str, kind: str, vendor: str, device: str) -> None:
        for name, text in (("class", kind), ("vendor", vendor), ("device", device)):
            self.write(f"/sys/bus/pci/devices/{place}/{name}", f"{text}\n")

    def secure(self, *, on: bool) -> None:
        self.write(survey.SECURE_BOOT, b"\x06\x00\x00\x00" + (b"\x01" if on else b"\x00"))

    def problems(self, **more: Any) -> list[str]:
        return self.look(**more)[0]

    def seen(self, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.look(**more)[1]
        return found

    def look(self, **more: Any) -> Any:
        arguments = {
            "source": "automatic",
            "branch": "550",
            "broken_kernels": BROKEN,
            "kernels": [],
            "setting": "pools.gpu.driver",
            "folder": "/var/lib/slipway/packages",
        }
        return survey.look(self.host, {**arguments, **more})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_a_bare_host_has_nothing_against_a_driver(machine: Machine) -> None:
    assert machine.problems() == []
    assert machine.seen() == {
        "system": "debian-12",
        "source": "vendor",
        "running": "6.1.0-50-amd64",
        "kernels": ["6.1.0-50-amd64"],
        "gpus": 1,
        "nvswitch": "",
        "loaded": "",
        "nouveau": False,
        "secure_boot": False,
        "ports": [],
    }


@pytest.mark.parametrize(
    ("release", "system", "source"),
    [
        ('ID=debian\nVERSION_ID="13"\n', "debian-13", "vendor"),
        ('ID=ubuntu\nVERSION_ID="22.04"\n', "ubuntu-22.04", "distribution"),
        ('ID=ubuntu\nVERSION_ID="24.04"\n', "ubuntu-24.04", "distribution"),
        ('ID="rhel"\nVERSION_ID="9.7"\nID_LIKE="fedora"\n', "redhat-9", "vendor"),
        ('ID="rocky"\nVERSION_ID="9.6"\nID_LIKE="rhel centos fedora"\n', "redhat-9", "vendor"),
        ('ID="rocky"\nVERSION_ID="10.0"\nID_LIKE="rhel centos fedora"\n', "", "vendor"),
        ('ID=debian\nVERSION_ID="11"\n', "", "vendor"),
    ],
)
def test_systems(machine: Machine, release: str, system: str, source: str) -> None:
    machine.write("/etc/os-release", release)
    assert (machine.seen()["system"], machine.seen()["source"]) == (system, source)
    refused = [line for line in machine.problems() if "the system is none of those" in line]
    assert len(refused) == (not system)


def test_no_gpu_and_another_makers(machine: Machine) -> None:
    machine.device("0000:17:00.0", "0x020000", "0x8086", "0x1572")
    assert machine.problems()[0].startswith("the PCI bus shows no NVIDIA GPU (vendor 10de), ")
    machine.device("0000:18:00.0", "0x038000", "0x1002", "0x74a1")
    assert machine.problems()[0].startswith(
        "the GPUs on the PCI bus are AMD's, and Slipway installs NVIDIA's driver alone"
    )


@pytest.mark.parametrize(
    ("kernel", "broken"),
    [
        ("6.1.0-52-amd64", False),
        ("6.1.0-53-amd64", True),
        ("6.1.0-56-amd64", True),
        ("6.12.106+deb13-amd64", False),
        ("6.12.107+deb13-amd64", True),
        ("6.12.118+deb13-cloud-amd64", True),
        ("6.13.1-amd64", False),
        ("6.9.0-1-amd64", False),
    ],
)
def test_complaint_open_gpu_kernel_modules_1272_is_known_before_anything_is_installed(
    machine: Machine, kernel: str, broken: bool
) -> None:
    machine.write("/proc/sys/kernel/osrelease", f"{kernel}\n")
    problems = machine.problems()
    assert bool(problems) is broken
    if broken:
        assert problems[0].startswith(f"the modules of branch 550 do not build for kernel {kernel} (known from 6.1")
        assert problems[0].endswith("set pools.gpu.driver.branch to a newer one, or keep an older kernel")
    machine.write("/etc/os-release", 'ID=ubuntu\nVERSION_ID="24.04"\n')
    assert machine.problems() == []


def test_the_kernel_of_the_next_boot_counts_too(machine: Machine) -> None:
    for kernel in ("6.1.0-9-amd64", "6.1.0-56-amd64"):
        machine.write(f"/boot/vmlinuz-{kernel}", "")
    assert machine.seen()["kernels"] == ["6.1.0-50-amd64", "6.1.0-56-amd64"]
    assert "6.1.0-56-amd64" in machine.problems()[0]
    (machine.root / "vmlinuz").symlink_to("boot/vmlinuz-6.1.0-9-amd64")
    assert machine.seen()["kernels"] == ["6.1.0-50-amd64", "6.1.0-9-amd64"]
    machine.answers["grubby", "--default-kernel"] = (0, "/boot/vmlinuz-5.14.0-570.el9.x86_64\n")
    assert machine.seen()["kernels"][1] == "5.14.0-570.el9.x86_64"
    assert machine.seen(kernels=["a"])["kernels"] == ["a"]


def test_a_run_file_is_refused(machine: Machine) -> None:
    machine.write(survey.UNINSTALLER, "")
    assert machine.problems() == [
        "a driver from NVIDIA's .run file is installed (/usr/bin/nvidia-uninstall); remove it with that program, or "
        "to keep it, set pools.gpu.driver.source to present"
    ]


def test_a_library_of_no_package_is_refused(machine: Machine) -> None:
    library = "/usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06"
    machine.write(library, "")
    machine.answers["dpkg-query", "-S", library] = (1, "no path found matching pattern")
    assert machine.problems()[0].startswith(
        f"{library} is of no package, so a driver was copied here by hand; remove it"
    )
    machine.answers["dpkg-query", "-S", library] = (0, "libcuda1: x")
    assert machine.problems() == []


def test_another_sources_packages_are_refused_and_ones_own_are_not(machine: Machine) -> None:
    machine.packages = ["bash", "nvidia-container-toolkit", "libcuda1", "nvidia-headless-570-server"]
    (problem,) = machine.problems()
    assert problem.startswith(
        "packages of a driver are installed that Slipway did not bring (libcuda1, nvidia-headless-570-server), and drivers of "
        "two sources do not mix: purge them, or "
    )
    # Of a run that was cut off: planned and not yet recorded as brought.
    record = {"planned": ["libcuda1"], "packages": ["nvidia-headless-570-server"], "requested": []}
    machine.write("/var/lib/slipway/packages/nvidia_driver.json", json.dumps(record))
    assert machine.problems() == []


@pytest.mark.parametrize(
    ("system", "source", "enrolled", "refused"),
    [
        ("debian", "vendor", False, True),
        ("debian", "vendor", True, False),
        ("ubuntu", "automatic", False, False),
        ("ubuntu", "vendor", False, True),
    ],
)
def test_secure_boot_needs_signed_modules_or_a_key(
    machine: Machine, system: str, source: str, enrolled: bool, refused: bool
) -> None:
    machine.write("/etc/os-release", f'ID={system}\nVERSION_ID="{"12" if system == "debian" else "24.04"}"\n')
    machine.write("/var/lib/dkms/mok.pub", "")
    said = "is already enrolled" if enrolled else "is not enrolled"
    machine.answers["mokutil", "--test-key", "/var/lib/dkms/mok.pub"] = (0, f"/var/lib/dkms/mok.pub {said}\n")
    machine.secure(on=False)
    assert machine.problems(source=source) == []
    machine.secure(on=True)
    assert machine.seen()["secure_boot"] is True
    problems = machine.problems(source=source)
    assert [line.partition(",")[0] for line in problems] == ["secure boot is on"] * refused
    assert all("mokutil --import" in line and "pools.gpu.driver.source" in line for line in problems)


def test_switches_are_seen_where_there_are_any(machine: Machine) -> None:
    """Error 802 (huggingface_hub#4128, gpustack#4154) and the fabric manager without an NVSwitch."""
    machine.device("0000:05:00.0", "0x068000", "0x10de", "0x1234")
    assert machine.seen()["nvswitch"] == ""
    machine.device("0000:06:00.0", *A100_SWITCH)
    assert machine.seen()["nvswitch"] == "pci"
    assert machine.seen()["gpus"] == 1


def test_switches_that_are_managed_through_infiniband(machine: Machine) -> None:
    machine.device("0000:07:00.0", "0x020700", "0x15b3", "0x1021")
    assert machine.seen()["nvswitch"] == ""
    machine.write("/sys/bus/pci/devices/0000:07:00.0/vpd", b"\x82\x10\x00ConnectX-7\x90SMDL=SW_MNG\x78")
    assert machine.seen()["nvswitch"] == "infiniband"


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.309.01  Sun Mar 1 2026\n", "535.309.01"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.173.02  Release Build  (dvs-builder@U22)\n",
            "580.173.02",
        ),
        ("", ""),
    ],
)
def test_the_loaded_driver(machine: Machine, line: str, version: str) -> None:
    machine.write("/proc/driver/nvidia/version", line)
    assert machine.seen()["loaded"] == version


def test_what_listens_before_a_reboot(machine: Machine) -> None:
    machine.write("/etc/systemd/system/slipway-m.service", "X-Slipway-Claims=gpu:0=0.9 port:8101=1\n")
    machine.write("/etc/systemd/system/slipway-n.service", "X-Slipway-Claims=port:8102=1\n")
    machine.write("/etc/systemd/system/slipway-o.service", "X-Slipway-Claims=port:8103=1\n")
    for name, state in (("m", "active"), ("n", "inactive"), ("o", "active")):
        machine.answers["systemctl", "is-active", f"slipway-{name}.service"] = (0, f"{state}\n")
    head = "  sl  local_address rem_address   st\n"
    listening = "".join(f"   0: 00000000:{port:04X} 00000000:0000 0A\n" for port in (8101, 8102, 22))
    machine.write("/proc/net/tcp", head + listening)
    # The engine of 8103 is still loading its weights.
    assert machine.seen()["ports"] == [8101]

"""What the role nvidia_driver installs and writes on each system, from each source. Nothing here was installed: the vendor's
repository, Ubuntu and RHEL are not at hand, so this is what is asked of them, and not that they have it.
"""

import re
import subprocess
from functools import cache
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader

from tests.unit.roles.loading import PLAYBOOKS
from tests.unit.roles.rendering import Variables, shown, start_ansible, unit

ROLE = PLAYBOOKS / "roles/nvidia_driver"
APT = ("debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04")
KERNEL = {"debian-12": "6.1.0-56-amd64", "redhat-9": "5.14.0-570.12.1.el9_6.x86_64"}
CPU_KERNEL = "6.8.0-45-generic"


@cache
def system_variables(system: str) -> Variables:
    start_ansible()
    loaded: Variables = DataLoader().load_from_file(str(ROLE / f"vars/{system}.yml"), trusted_as_template=True)
    return loaded


def rendered(system: str, source: str, what: str, *, nvswitch: str = "", **more: Any) -> Any:
    """An expression or template of the role on a system, with a driver of a source."""
    seen = {
        "system": system,
        "source": source,
        "running": KERNEL.get(system, CPU_KERNEL),
        "kernels": [KERNEL.get(system, CPU_KERNEL)],
        "gpus": 8,
        "nvswitch": nvswitch,
        "loaded": "",
        "nouveau": False,
        "secure_boot": False,
        "ports": [],
    }
    variables: Variables = {
        **system_variables(system),
        "nvidia_driver_survey": {"host": seen},
        "nvidia_driver_vendor_version": "580.173.02",
        "nvidia_driver_built": {"version": "580.173.02"},
        **more,
    }
    return shown("nvidia_driver", what, **variables)


@cache
def task(file: str, name: str) -> dict[str, Any]:
    """A task of the role by its name, wherever it stands in a file."""
    start_ansible()
    todo = list(DataLoader().load_from_file(str(ROLE / f"tasks/{file}.yml"), trusted_as_template=True))
    while todo:
        each = todo.pop(0)
        if each["name"] == name:
            return dict(each)
        todo += each.get("block", [])
    raise AssertionError(name)


def expression(text: str) -> str:
    return re.sub(r"^\{\{\s*|\s*\}\}\s*$", "", str(text).strip(), flags=re.DOTALL)


def names(system: str, source: str, **more: Any) -> list[str]:
    """What `owned_packages` is asked for."""
    asked = task("apt", "Install the driver, and hold it with the kernel")["owned_packages"]["names"]
    found: list[str] = rendered(system, source, expression(asked), **more)
    return found


@pytest.mark.parametrize(
    ("system", "source", "more", "expected"),
    [
        (
            "debian-12",
            "vendor",
            {},
            ["nvidia-kernel-open-dkms=580.173.02-*", "nvidia-driver-cuda=580.173.02-*", "nvidia-persistenced"],
        ),
        (
            "debian-13",
            "mirror",
            {"nvidia_driver_modules": "proprietary", "nvidia_driver_persistence": False},
            ["nvidia-kernel-dkms=580.173.02-*", "nvidia-driver-cuda=580.173.02-*"],
        ),
        (
            "debian-12",
            "distribution",
            {"nvidia_driver_branch": "535", "nvidia_driver_modules": "proprietary"},
            ["nvidia-kernel-dkms=535.*", "libcuda1=535.*", "nvidia-smi=535.*", "nvidia-persistenced"],
        ),
        (
            "debian-13",
            "distribution",
            {"nvidia_driver_branch": "550", "nvidia_driver_version": "550.163.01"},
            [
                "nvidia-open-kernel-dkms=550.163.01-*",
                "libcuda1=550.163.01-*",
                "nvidia-smi=550.163.01-*",
                "nvidia-persistenced",
            ],
        ),
        (
            "ubuntu-24.04",
            "distribution",
            {},
            [
                "nvidia-headless-no-dkms-580-server-open=580.*",
                "nvidia-utils-580-server=580.*",
                f"linux-modules-nvidia-580-server-open-{CPU_KERNEL}",
            ],
        ),
        (
            "ubuntu-22.04",
            "distribution",
            {"nvidia_driver_branch": "535", "nvidia_driver_modules": "proprietary"},
            [
                "nvidia-headless-no-dkms-535-server=535.*",
                "nvidia-utils-535-server=535.*",
                f"linux-modules-nvidia-535-server-{CPU_KERNEL}",
            ],
        ),
        ("ubuntu-24.04", "vendor", {}, ["nvidia-open=580.173.02-*"]),
    ],
)
def test_packages(system: str, source: str, more: Variables, expected: list[str]) -> None:
    assert names(system, source, **more) == expected


@pytest.mark.parametrize("system", APT)
def test_signed_modules_need_no_headers_and_built_ones_do(system: str) -> None:
    kernel = KERNEL.get(system, CPU_KERNEL)
    assert rendered(system, "vendor", "nvidia_driver_headers") == [f"linux-headers-{kernel}"]
    expected = [] if system.startswith("ubuntu") else [f"linux-headers-{kernel}"]
    assert rendered(system, "distribution", "nvidia_driver_headers") == expected


@pytest.mark.parametrize("system", [*APT, "redhat-9"])
def test_the_vendors_repository_is_the_systems_and_its_key_is_pinned(system: str) -> None:
    folder = {"redhat-9": "rhel9"}.get(system, system.replace("-", "").replace(".", ""))
    url = rendered(system, "vendor", "nvidia_driver_repository")
    assert url == f"https://developer.download.nvidia.com/compute/cuda/repos/{folder}/x86_64/"
    fingerprint = rendered(system, "vendor", "nvidia_driver_key_wanted")
    assert re.fullmatch("[0-9A-F]{40}", fingerprint)
    # NVIDIA calls the file after the end of the fingerprint.
    key = rendered(system, "vendor", "nvidia_driver_vendor_key_url")
    assert key.casefold() == f"{url}{fingerprint[-8:]}.pub".casefold()
    mirror = {"nvidia_driver_mirror_url": "https://m.test/x/", "nvidia_driver_key_fingerprint": "A" * 40}
    assert rendered(system, "mirror", "nvidia_driver_repository", **mirror) == "https://m.test/x/"
    assert rendered(system, "mirror", "nvidia_driver_key_wanted", **mirror) == "A" * 40


@pytest.mark.parametrize("system", APT)
def test_what_apt_reads(system: str) -> None:
    sources = rendered(system, "vendor", "sources.j2")
    assert "\nTypes: deb\nURIs: https://developer.download.nvidia.com/" in sources
    assert sources.endswith("/x86_64/\nSuites: /\nSigned-By: /etc/apt/keyrings/slipway-nvidia.asc\n")
    preferences = rendered(system, "vendor", "preferences.j2")
    assert preferences.endswith("Pin: version 580.173.02-*\nPin-Priority: 1001\n")
    pinning = rendered(system, "vendor", "nvidia_driver_pinning[nvidia_driver_kind]")
    assert pinning == ["nvidia-driver-pinning-580"]
    assert rendered(system, "distribution", "nvidia_driver_pinning[nvidia_driver_kind]") == []


@pytest.mark.parametrize(
    ("source", "version", "pinned"),
    [("vendor", "", True), ("distribution", "", False), ("distribution", "535.261.03", True)],
)
def test_whatever_has_a_version_is_pinned_with_all_it_depends_on(source: str, version: str, pinned: bool) -> None:
    """Else apt takes the rest in the newest version: Debian 12's open modules of 535 are not of that one."""
    for name, wanted in (("Pin the driver's version", pinned), ("Unpin the version of another time", not pinned)):
        assert rendered("debian-12", source, task("apt", name)["when"], nvidia_driver_version=version) is wanted


def test_what_dnf_reads() -> None:
    text = rendered("redhat-9", "vendor", "repository.j2")
    assert "gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-slipway-nvidia\n" in text
    install = expression(task("redhat", "Install the driver")["ansible.builtin.dnf"]["name"])
    assert rendered("redhat-9", "vendor", install) == [
        "kmod-nvidia-open-dkms-580.173.02",
        "nvidia-driver-cuda-580.173.02",
        "nvidia-persistenced",
    ]
    assert rendered("redhat-9", "vendor", "nvidia_driver_stream") == "580-open"
    assert rendered("redhat-9", "vendor", "nvidia_driver_headers") == [f"kernel-devel-{KERNEL['redhat-9']}"]


@pytest.mark.parametrize(
    ("system", "source", "branch", "nvswitch", "expected"),
    [
        ("debian-12", "vendor", "580", "pci", ["nvidia-fabricmanager=580.173.02-*"]),
        ("debian-13", "mirror", "570", "pci", ["nvidia-fabricmanager-570=580.173.02-*"]),
        ("ubuntu-24.04", "distribution", "580", "pci", ["nvidia-fabricmanager-580=580.173.02-*"]),
        ("ubuntu-22.04", "vendor", "595", "infiniband", ["nvidia-fabricmanager=580.173.02-*", "nvlsm"]),
    ],
)
def test_fabric_manager_is_of_the_drivers_very_version(
    system: str, source: str, branch: str, nvswitch: str, expected: list[str]
) -> None:
    asked = expression(
        task("fabric-apt", "Install fabric manager where there is an NVSwitch")["owned_packages"]["names"]
    )
    assert rendered(system, source, asked, nvidia_driver_branch=branch, nvswitch=nvswitch) == expected


@pytest.mark.parametrize("file", ["fabric-apt", "fabric-redhat"])
def test_fabric_manager_is_there_exactly_where_a_switch_is(file: str) -> None:
    there = task(file, "Install fabric manager where there is an NVSwitch")["when"]
    gone = task(file, "Remove fabric manager where there is none")["when"]
    for nvswitch in ("", "pci", "infiniband"):
        assert rendered("debian-12", "vendor", there, nvswitch=nvswitch) is bool(nvswitch)
        assert rendered("debian-12", "vendor", gone, nvswitch=nvswitch) is not bool(nvswitch)


@pytest.mark.parametrize(
    ("system", "source", "more", "refused"),
    [
        (
            "debian-12",
            "distribution",
            {},
            "the archive of debian-12 has branch 535 alone, and branch 580 is asked for; ",
        ),
        ("debian-13", "distribution", {"nvidia_driver_branch": "550"}, ""),
        ("redhat-9", "distribution", {}, "the archive of redhat-9 has no driver, and branch 580 is asked for; "),
        ("ubuntu-24.04", "distribution", {}, ""),
        (
            "debian-12",
            "vendor",
            {"nvidia_driver_vendor_version": ""},
            "no version of branch 580 is given, and an unpinned ",
        ),
        ("debian-12", "vendor", {}, ""),
        ("debian-12", "vendor", {"nvswitch": "pci", "nvidia_driver_dcgm": True}, ""),
        (
            "ubuntu-24.04",
            "distribution",
            {"nvidia_driver_dcgm": True},
            "the driver comes from the archive of ubuntu-24.04, which has no DCGM, ",
        ),
        (
            "debian-12",
            "distribution",
            {"nvswitch": "pci", "nvidia_driver_branch": "535"},
            "the GPUs are joined by NVSwitches, and the archive of debian-12 has no fabric manager, without which CUDA fails",
        ),
    ],
)
def test_what_is_refused_before_anything_is_changed(system: str, source: str, more: Variables, refused: str) -> None:
    start_ansible()
    said = [
        rendered(system, source, as_text(each["ansible.builtin.assert"]["fail_msg"]), **more)
        for each in DataLoader().load_from_file(str(ROLE / "tasks/refuse.yml"), trusted_as_template=True)
        if not rendered(system, source, each["ansible.builtin.assert"]["that"], **more)
    ]
    assert len(said) == bool(refused)
    assert not said or said[0].startswith(refused)
    assert all("driver.source to vendor" in line or "driver.version" in line for line in said)


def as_text(template: str) -> str:
    """A text with expressions in it, as one expression."""
    parts = re.split(r"\{\{(.*?)\}\}", str(template), flags=re.DOTALL)
    words = [f"({part})" if at % 2 else repr(part) for at, part in enumerate(parts)]
    return " ~ ".join(words)


@pytest.mark.parametrize(
    ("built", "loaded", "nouveau", "due"),
    [
        ("580.173.02", "580.173.02", False, False),
        ("580.173.02", "580.65.06", False, True),
        ("580.173.02", "", False, True),
        ("580.173.02", "", True, True),
        ("", "", False, True),  # a check of a bare host: the preview of a reboot
    ],
)
def test_when_a_reboot_is_due(built: str, loaded: str, nouveau: bool, due: bool) -> None:
    seen = {"loaded": loaded, "nouveau": nouveau}
    found = shown(
        "nvidia_driver",
        "nvidia_driver_due | bool",
        nvidia_driver_seen=seen,
        nvidia_driver_built={"version": built},
    )
    assert found is due


def test_driver_kernel_and_fabric_manager_are_held_together() -> None:
    import fnmatch

    held = rendered("debian-12", "vendor", "nvidia_driver_held")
    black = rendered("debian-12", "vendor", "unattended.j2")
    patterns = re.findall(r'^  "(.*)";$', black, re.MULTILINE)
    packages = (
        *(
            "libnvidia-ml1",
            "libcuda1",
            "nvidia-smi",
            "nvidia-kernel-open-dkms",
            "nvidia-fabricmanager-580",
            "nvidia-persistenced",
        ),
        *(
            "linux-image-6.1.0-56-amd64",
            "linux-image-amd64",
            "linux-headers-amd64",
            "linux-modules-nvidia-580-server-generic",
        ),
        *("linux-generic-hwe-22.04", "libnvidia-compute-580-server"),
    )
    for package in packages:
        assert any(fnmatch.fnmatchcase(package, pattern) for pattern in held), package
        assert any(re.match(pattern, package) for pattern in patterns), package
    for package in ("linux-libc-dev", "openssh-server", "libc6"):
        assert not any(fnmatch.fnmatchcase(package, pattern) for pattern in held), package
        assert not any(re.match(pattern, package) for pattern in patterns), package


def test_complaint_gpu_operator_2685_device_nodes_are_made_at_boot(tmp_path: Any) -> None:
    """nvidia-smi passes without /dev/nvidia-uvm, and CUDA does not."""
    script = rendered("debian-12", "vendor", "at-boot.j2", nvidia_driver_power_limit_w=300)
    for made in ("/dev/nvidia-uvm ", "/dev/nvidia-uvm-tools ", "/dev/nvidiactl "):
        assert f"node {made}" in script
    assert "--persistence-mode=1" in script
    assert "--power-limit=300" in script
    (tmp_path / "at-boot").write_text(script)
    assert subprocess.run(["sh", "-n", str(tmp_path / "at-boot")], check=False).returncode == 0
    bare = rendered("debian-12", "vendor", "at-boot.j2", nvidia_driver_persistence=False)
    assert "--persistence-mode" not in bare
    files = {each["path"]: each["content"] for each in rendered("debian-12", "vendor", "nvidia_driver_files")}
    assert files["/etc/modules-load.d/slipway-nvidia.conf"].splitlines()[-1] == "nvidia-uvm"
    lines = unit(rendered("debian-12", "vendor", "slipway-nvidia.service.j2"))
    assert lines["Before"] == ["sysinit.target"]
    assert lines["RemainAfterExit"] == ["yes"]


@pytest.mark.parametrize(
    ("asked", "before", "told"),
    [
        ({}, (), []),
        ({"nvidia_driver_power_limit_w": 300}, (), ["--power-limit=300"]),
        ({"nvidia_driver_clocks_mhz": [1200, 1740]}, (), ["--lock-gpu-clocks=1200,1740"]),
        ({}, ("clocks",), ["--reset-gpu-clocks"]),
        (
            {},
            ("power",),
            [
                "--query-gpu=index,power.default_limit --format=csv,noheader,nounits",
                "--id=0 --power-limit=450.00",
                "--id=1 --power-limit=300.00",
            ],
        ),
    ],
    ids=["nothing", "power", "clocks", "clocks no more", "power no more"],
)
def test_what_is_set_at_boot_and_what_is_taken_back(
    tmp_path: Any, asked: Variables, before: tuple[str, ...], told: list[str]
) -> None:
    """The script itself, with a double of nvidia-smi; the rest of what it does needs a driver."""
    script = rendered("debian-12", "vendor", "at-boot.j2", nvidia_driver_persistence=False, **asked)
    settings = script[script.index("# What was set here") :]
    smi, log = tmp_path / "nvidia-smi", tmp_path / "log"
    smi.write_text(f"#!/bin/sh\necho \"$@\" >>{log}\ncase $1 in --query*) echo '0, 450.00'; echo '1, 300.00';; esac\n")
    smi.chmod(0o755)
    for name in before:
        (tmp_path / f"slipway-nvidia-{name}").touch()
    settings = settings.replace("/usr/bin/nvidia-smi", str(smi)).replace("/run/", f"{tmp_path}/")

    subprocess.run(["sh", "-eu", "-c", settings], check=True)

    assert (log.read_text().splitlines() if log.exists() else []) == told
    left = {file.name for file in tmp_path.glob("slipway-nvidia-*")}
    assert left == ({f"slipway-nvidia-{'power' if 'power' in told[0] else 'clocks'}"} if asked else set())


def test_dcgm_is_of_the_drivers_cuda_and_its_exporter_is_for_the_host_alone() -> None:
    assert rendered("debian-12", "vendor", "nvidia_driver_dcgm_packages", nvidia_driver_cuda=12) == [
        "datacenter-gpu-manager-4-core",
        "datacenter-gpu-manager-4-proprietary",
        "datacenter-gpu-manager-4-cuda12",
        "datacenter-gpu-manager-4-proprietary-cuda12",
        "datacenter-gpu-manager-exporter",
    ]
    lines = unit(rendered("debian-12", "vendor", "slipway-dcgm-exporter.service.j2"))
    assert "--address 127.0.0.1:9400" in lines["ExecStart"][0]
    assert "--remote-hostengine-info localhost:5555" in lines["ExecStart"][0]
    assert lines["DynamicUser"] == ["yes"]
    assert lines["PrivateDevices"] == ["yes"]
    assert (lines["IPAddressDeny"], lines["IPAddressAllow"]) == (["any"], ["localhost"])
    install = task("dcgm", "Install or remove DCGM and its exporter")["owned_packages"]
    assert install["mask"] == ["nvidia-dcgm-exporter.service"]
    assert install["hold"] == ["datacenter-gpu-manager*"]

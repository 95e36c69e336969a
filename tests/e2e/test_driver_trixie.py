"""The role nvidia_driver on a lab host of Debian 13: the archive's driver, whose modules DKMS builds for real for its kernel.

Nobody loads them, and the GPU is a double. Runs are cut off half-way on Debian 12 (`test_driver.py`). Tests run in this order.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import LISTING
from tests.e2e.doubles.gpu import plug_in, with_drivers
from tests.e2e.roles import RoleHost, Variables
from tests.e2e.stack import ssh
from tools.lab import HostSpec, Lab

pytestmark = [pytest.mark.rare, pytest.mark.timeout(1800)]

SPEC = HostSpec("e2e-driver-13", "10.213.77.173", "trixie")
BRANCH = "550"


@pytest.fixture(scope="module")
def bare() -> Iterator[HostSpec]:
    lab = Lab()
    lab.down([SPEC.name])
    try:
        lab.up([SPEC], print)
        with_drivers(SPEC)
        yield SPEC
    finally:
        lab.down([SPEC.name])


@pytest.fixture(scope="module")
def kernel(bare: HostSpec) -> str:
    """The archive's newest, of which the host has no image: in a lab host another kernel runs."""
    said = ssh(bare.address, "apt-cache depends linux-headers-amd64")
    return said.partition("Depends: linux-headers-")[2].split()[0]


@pytest.fixture(scope="module")
def host(bare: HostSpec, kernel: str, root: Path, tmp_path_factory: pytest.TempPathFactory) -> RoleHost:
    made = RoleHost(bare.name, bare.address, root, tmp_path_factory.mktemp("driver"), timeout_s=1500)
    plug_in(made, kernel)
    made.run(("base", {}))
    return made


@pytest.fixture(scope="module")
def before(host: RoleHost) -> list[str]:
    """The files of the host before the driver."""
    return host.ssh(LISTING).splitlines()


@pytest.fixture(scope="module")
def variables(kernel: str, before: list[str]) -> Variables:
    assert before
    return {
        "nvidia_driver_source": "distribution",
        "nvidia_driver_branch": BRANCH,
        "nvidia_driver_modules": "proprietary",
        "nvidia_driver_kernels": [kernel],
        # Without a GPU the daemon ends at once.
        "nvidia_driver_persistence": False,
        "nvidia_driver_return_timeout": 60,
        "nvidia_driver_setting": "pools.gpu.driver",
    }


def boots(host: RoleHost) -> str:
    return host.ssh("cat /proc/sys/kernel/random/boot_id")


def test_another_branch_than_the_archives_is_refused_before(host: RoleHost, variables: Variables) -> None:
    refused = host.run(("nvidia_driver", {**variables, "nvidia_driver_branch": "580"}), fails=True)
    assert "the archive of debian-13 has branch 550 alone, and branch 580 is asked for" in refused.output
    assert refused.changed == []


def test_a_check_foresees_the_reboot_and_changes_nothing(
    host: RoleHost, variables: Variables, before: list[str]
) -> None:
    booted = boots(host)
    foreseen = host.run(("nvidia_driver", variables), check=True).changed
    assert {"Install the driver, and hold it with the kernel", "Reboot into the driver"} <= set(foreseen)
    assert boots(host) == booted
    assert host.ssh(LISTING).splitlines() == before


def test_the_modules_compile_and_the_host_reboots_once(host: RoleHost, variables: Variables, kernel: str) -> None:
    booted = boots(host)
    applied = host.run(("nvidia_driver", variables))
    assert "Reboot into the driver" in applied.changed
    assert boots(host) != booted
    version, magic = (
        host.ssh(f"sudo modinfo -k {kernel} -F {field} nvidia-current").strip() for field in ("version", "vermagic")
    )
    print(f"built: NVIDIA {version} for {kernel}")
    assert version.startswith(f"{BRANCH}.")
    assert applied.results["version"] == version
    assert magic.split()[0] == kernel
    assert host.ssh("systemctl is-active slipway-nvidia.service").strip() == "active"


def test_a_second_run_changes_nothing(host: RoleHost, variables: Variables) -> None:
    booted = boots(host)
    assert host.run(("nvidia_driver", variables)).changed == []
    assert host.run(("nvidia_driver", variables), check=True).changed == []
    assert boots(host) == booted


def test_driver_and_kernel_are_held(host: RoleHost) -> None:
    held = set(host.ssh("apt-mark showhold").split())
    there = host.ssh("dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n' '*nvidia*'").splitlines()
    assert {"nvidia-kernel-dkms", "libcuda1", "nvidia-smi"} <= held
    assert {line.split()[-1] for line in there if line.startswith(("i", "h"))} <= held
    assert any(name.startswith("linux-headers-") for name in held)

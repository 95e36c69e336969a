"""The open kernel modules of the driver, as DKMS builds them for real on a lab host of Debian 12, and nobody loads them.

Debian 12 has the open modules of one release alone, which its newest kernels are too new for: so the headers are of an older one.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.doubles.gpu import plug_in, with_drivers
from tests.e2e.roles import RoleHost
from tools.lab import HostSpec, Lab

pytestmark = [pytest.mark.rare, pytest.mark.timeout(1800)]

SPEC = HostSpec("e2e-open", "10.213.77.172", "bookworm")
VERSION = "535.261.03"
TOO_NEW = 53
"""From this build of 6.1.0 on the modules do not compile (open-gpu-kernel-modules#1272)."""


@pytest.fixture(scope="module")
def host(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleHost]:
    lab = Lab()
    lab.down([SPEC.name])
    try:
        lab.up([SPEC], print)
        with_drivers(SPEC)
        yield RoleHost(SPEC.name, SPEC.address, root, tmp_path_factory.mktemp("open"), timeout_s=1500)
    finally:
        lab.down([SPEC.name])


def test_the_open_modules_compile(host: RoleHost) -> None:
    there = host.ssh("apt-cache search --names-only '^linux-headers-6[.]1[.]0-[0-9]+-amd64$'")
    builds = {int(build) for build in re.findall(r"6\.1\.0-(\d+)-amd64", there)}
    kernel = f"6.1.0-{max(build for build in builds if build < TOO_NEW)}-amd64"
    plug_in(host, kernel)
    variables = {
        "nvidia_driver_source": "distribution",
        "nvidia_driver_branch": "535",
        "nvidia_driver_version": VERSION,
        "nvidia_driver_modules": "open",
        "nvidia_driver_kernels": [kernel],
        # Without a GPU the daemon ends at once.
        "nvidia_driver_persistence": False,
        "nvidia_driver_return_timeout": 60,
        "nvidia_driver_setting": "pools.gpu.driver",
    }
    host.run(("base", {}))
    applied = host.run(("nvidia_driver", variables))

    assert "Reboot into the driver" in applied.changed
    assert applied.results["version"] == VERSION
    license_, version, magic = (
        host.ssh(f"sudo modinfo -k {kernel} -F {field} nvidia-current-open").strip()
        for field in ("license", "version", "vermagic")
    )
    print(f"built: open modules {version} for {kernel}, {license_}")
    assert (license_, version, magic.split()[0]) == ("Dual MIT/GPL", VERSION, kernel)
    assert host.run(("nvidia_driver", variables)).changed == []

"""A host's own packages by `slipway upgrade --packages`, on a lab host whose archive is a folder with packages made here.

A lab host shares this machine's kernel, so a kernel is a package with a file in /boot, and DKMS and modinfo are doubles; apt,
dpkg, holds, the reboot and what was cut off are real. Tests run in this order.
"""

import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import remote
from cli.errors import UserError
from cli.packages import Packages
from slipway.deployment.types import Machine
from slipway.upgrade.packages import Brought, Pending
from tests.e2e.archive import ARCHIVE, SOURCE, index, package, put
from tests.e2e.stack import KEY_FILE, ssh, wait_for
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import changed, good
from tools.lab import HostSpec, Lab

pytestmark = [pytest.mark.rare, pytest.mark.timeout(1200)]

SPEC = HostSpec("e2e-packages", "10.213.77.241")
OLD, NEW, BROKEN = "9.9.1-1-amd64", "9.9.2-1-amd64", "9.9.3-1-amd64"
DKMS = f"""#!/bin/sh
# The double of DKMS: it builds for every kernel but one, and knows a driver where a test says so.
[ -e /opt/driver ] || exit 0
case "$1 $3 $4" in
"status "*) echo "nvidia/580.1.1: added" ;;
"install -k {BROKEN}") echo "error: too few arguments" >&2; exit 10 ;;
"install -k "*) mkdir -p /opt/modules && touch "/opt/modules/$4" ;;
esac
"""
MODINFO = """#!/bin/sh
# modinfo -k KERNEL -F FIELD NAME
[ "$5" = nvidia ] && [ -e "/opt/modules/$2" ] || exit 1
[ "$4" = vermagic ] && echo "$2 SMP" || echo 580.1.1
"""
HEADERS = "#!/bin/sh\ndkms install nvidia/580.1.1 -k {kernel}\n"


class Host:
    """The lab host, and what the command does with it."""

    def __init__(self, root: Path, **driver: Any) -> None:
        own = {"address": SPEC.address, "user": "slipway", "key_file": str(KEY_FILE)}
        document = changed(good(), "pools.main.hosts", {SPEC.name: own})
        if driver:
            document["pools"]["main"] |= {"gpu": "rtx-4090", "gpus": 1, "driver": driver}
        stack = deployment(document)
        self.machine: Machine = stack.machines[SPEC.name]
        self.packages = Packages(stack, root, [SPEC.name])

    def ssh(self, command: str) -> str:
        return ssh(SPEC.address, command)

    def pending(self, *, fresh: bool = True) -> Pending | None:
        return self.packages.pending([self.machine], fresh=fresh).get(SPEC.name)

    def bring(self, *, reboots: bool = True) -> Brought:
        return self.packages.bring(self.machine, lambda: reboots)

    def offer(self, *packages: str) -> None:
        """Puts packages into the archive."""
        self.ssh("".join(packages) + index() + "rm -rf /tmp/build; true")

    def state(self) -> str:
        """All packages with their versions and states, holds, and when the host booted."""
        return self.ssh("dpkg-query -W; dpkg -l; apt-mark showhold; cat /proc/sys/kernel/random/boot_id")


@pytest.fixture(scope="module", autouse=True)
def bare() -> Iterator[HostSpec]:
    lab = Lab()
    lab.down([SPEC.name])
    try:
        lab.up([SPEC], print)
        ssh(
            SPEC.address,
            f"sudo mkdir -p {ARCHIVE}\n"
            + put("/etc/apt/sources.list.d/archive.list", SOURCE)
            + put("/usr/sbin/dkms", DKMS, "755")
            + put("/usr/sbin/modinfo", MODINFO, "755")
            + package("probe", "1", files={"/etc/probe.conf": "one\n"})
            + package("probe-held", "1")
            + package("probe-frail", "1")
            + index()
            + "sudo apt-get update -q && sudo apt-get dist-upgrade -y -q && "
            "sudo apt-get install -y -q probe probe-held probe-frail\n"
            "sudo apt-mark hold probe-held\n",
        )
        yield SPEC
    finally:
        lab.down([SPEC.name])


@pytest.fixture(autouse=True)
def _own_known_hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remote, "known_hosts", lambda: tmp_path / "known_hosts")


@pytest.fixture(scope="module")
def host(root: Path) -> Host:
    return Host(root)


def test_a_host_with_nothing_to_do_is_passed_over(host: Host) -> None:
    assert host.pending() is None


def test_a_preview_changes_nothing_and_respects_holds(host: Host) -> None:
    host.ssh("echo mine | sudo tee /etc/probe.conf")
    host.offer(package("probe", "2", depends="probe-new", files={"/etc/probe.conf": "two\n"}))
    host.offer(package("probe-new", "1"), package("probe-held", "2"))
    before = host.state()
    # Without fetching the lists it knows of nothing yet.
    assert host.pending(fresh=False) is None
    found = host.pending()
    assert found is not None
    assert (found.upgraded, found.new, found.removed, found.reboots) == (("probe",), ("probe-new",), (), False)
    assert found.age_s is not None
    assert host.state() == before


def test_packages_are_brought_and_what_somebody_changed_stays(host: Host) -> None:
    booted = host.ssh("cat /proc/sys/kernel/random/boot_id")
    found = host.bring()
    assert (found.changed, found.rebooted, found.reboot_due) == (("probe", "probe-new"), False, "")
    assert host.ssh("cat /etc/probe.conf").strip() == "mine"
    assert host.ssh("dpkg-query -W -f '${Version}' probe-held") == "1"
    assert host.ssh("cat /proc/sys/kernel/random/boot_id") == booted


def test_a_second_run_has_nothing_to_do(host: Host) -> None:
    before = host.state()
    assert host.pending() is None
    found = host.bring()
    assert (found.changed, found.rebooted) == ((), False)
    assert host.state() == before


def test_a_host_reboots_where_the_system_asks_for_it(host: Host) -> None:
    asks = "#!/bin/sh\ntouch /run/reboot-required\necho probe >/run/reboot-required.pkgs\n"
    host.offer(package("probe", "3", script=asks, files={"/etc/probe.conf": "two\n"}))
    booted = host.ssh("cat /proc/sys/kernel/random/boot_id")
    found = host.bring(reboots=False)
    assert (found.rebooted, found.reboot_due) == (False, "/run/reboot-required is there, for probe")
    due = host.pending()
    assert due is not None
    assert (due.count, due.reboots) == (0, True)
    found = host.bring()
    assert (found.changed, found.rebooted, found.reboot_due) == ((), True, "")
    assert host.ssh("cat /proc/sys/kernel/random/boot_id") != booted
    assert host.pending() is None


def test_a_package_that_fails_is_told_and_completed_once_it_is_mended(host: Host) -> None:
    host.offer(package("probe-frail", "2", script="#!/bin/sh\ntest -e /etc/mended || { echo broken >&2; exit 1; }\n"))
    booted = host.ssh("cat /proc/sys/kernel/random/boot_id")
    with pytest.raises(UserError, match="apt-get dist-upgrade failed"):
        host.bring()
    assert host.ssh("cat /proc/sys/kernel/random/boot_id") == booted
    due = host.pending()
    assert due is not None
    assert due.unfinished
    host.ssh("sudo touch /etc/mended")
    host.bring()
    assert host.pending() is None


def test_a_run_that_is_killed_within_dpkg_is_gone_on_with(host: Host, tmp_path: Path) -> None:
    slow = "#!/bin/sh\ntest -e /etc/awake || { touch /opt/asleep; sleep 300; }\n"
    host.offer(package("probe", "4", script=slow, files={"/etc/probe.conf": "two\n"}))
    code = textwrap.dedent(
        f"""
        import pathlib, sys
        from cli import remote
        remote.known_hosts = lambda: pathlib.Path({str(tmp_path / "known")!r})
        from tests.e2e.test_packages import Host
        Host(pathlib.Path.cwd()).bring()
        """
    )
    run = subprocess.Popen((".venv/bin/python", "-c", code))
    wait_for(lambda: host.ssh("ls /opt").find("asleep") >= 0, "dpkg", seconds=120)
    run.kill()
    run.wait()
    # The host loses what it does, too: all at once, as by a crash.
    host.ssh("sudo touch /etc/awake; sudo pkill -KILL -x apt-get; sudo pkill -KILL -x dpkg; sudo pkill -x sleep; true")
    due = host.pending()
    assert due is not None
    assert due.unfinished
    host.bring()
    assert host.ssh("dpkg-query -W -f '${db:Status-Abbrev}${Version}' probe").split() == ["ii", "4"]
    assert host.pending() is None


@pytest.fixture(scope="module")
def gpu_host(root: Path) -> Host:
    """With a driver of Slipway's as far as its records go: what it holds, and modules for the kernel that runs."""
    host = Host(root, source="vendor")
    runs = host.ssh("uname -r").strip()
    host.offer(
        package("linux-image-amd64", "9:1", depends=f"linux-image-{OLD}"),
        package(f"linux-image-{OLD}", "1", files={f"/boot/vmlinuz-{OLD}": "a kernel\n"}),
        package("nvidia-probe", "1"),
    )
    held = ["linux-image-amd64", f"linux-image-{OLD}", "nvidia-probe"]
    record = '{"held": ["' + '", "'.join(held) + '"]}\n'
    host.ssh(
        "sudo apt-get update -q && sudo apt-get install -y -q linux-image-amd64 nvidia-probe && "
        f"sudo apt-mark hold {' '.join(held)}\n"
        f"sudo mkdir -p /opt/modules && sudo touch /opt/driver /opt/modules/{OLD} /opt/modules/{runs} /boot/vmlinuz-{runs}\n"
        + put("/var/lib/slipway/packages/nvidia_driver.json", record)
    )
    return host


def holds(host: Host) -> set[str]:
    return set(host.ssh("apt-mark showhold").split())


def test_a_kernel_comes_with_its_headers_and_the_drivers_modules(gpu_host: Host) -> None:
    gpu_host.offer(
        package("linux-image-amd64", "9:2", depends=f"linux-image-{NEW}"),
        package(f"linux-image-{NEW}", "2", files={f"/boot/vmlinuz-{NEW}": "a kernel\n"}),
        package(f"linux-headers-{NEW}", "2", script=HEADERS.format(kernel=NEW)),
        package("nvidia-probe", "2"),
    )
    before = holds(gpu_host)
    found = gpu_host.pending()
    assert found is not None
    assert (found.upgraded, found.kernels, found.reboots) == (("linux-image-amd64",), (NEW,), True)
    assert holds(gpu_host) == before
    brought = gpu_host.bring(reboots=False)
    assert set(brought.changed) == {"linux-image-amd64", f"linux-image-{NEW}", f"linux-headers-{NEW}"}
    assert brought.reboot_due.startswith(f"kernel {NEW} is installed, and ")
    assert gpu_host.ssh("ls /opt/modules").split().count(NEW) == 1
    # The driver stays, and all is held again, in the driver's record too; the headers belong to it.
    assert gpu_host.ssh("dpkg-query -W -f '${Version}' nvidia-probe") == "1"
    assert holds(gpu_host) == {*before, f"linux-image-{NEW}", f"linux-headers-{NEW}"}
    record = gpu_host.ssh(
        "cat /var/lib/slipway/packages/nvidia_driver.json /var/lib/slipway/packages/nvidia_headers.json"
    )
    assert record.count(f"linux-image-{NEW}") == 1
    assert record.count(f"linux-headers-{NEW}") == 2
    # The driver's role is still to run, which this test does not have.
    assert gpu_host.ssh("ls /var/lib/slipway/packages").split() == [
        "nvidia_driver.json",
        "nvidia_headers.json",
        "role-due",
    ]
    assert brought.role_due


def test_a_kernel_for_which_no_module_builds_is_not_installed(gpu_host: Host) -> None:
    gpu_host.offer(
        package("linux-image-amd64", "9:3", depends=f"linux-image-{BROKEN}"),
        package(f"linux-image-{BROKEN}", "3", files={f"/boot/vmlinuz-{BROKEN}": "a kernel\n"}),
        package(f"linux-headers-{BROKEN}", "3", script=HEADERS.format(kernel=BROKEN)),
        package("probe", "5", files={"/etc/probe.conf": "two\n"}),
    )
    gpu_host.pending()
    before = gpu_host.state()
    with pytest.raises(UserError) as refused:
        gpu_host.bring()
    assert f"there are no modules of the driver for kernel {BROKEN}" in str(refused.value)
    assert "pools.main.driver.branch, by a run without --packages" in str(refused.value)
    assert gpu_host.state() == before
    assert gpu_host.ssh("sudo dpkg --audit") == ""
    # Once it builds, the same run goes through.
    gpu_host.ssh(put("/usr/sbin/dkms", DKMS.replace("exit 10", "touch /opt/modules/$4"), "755"))
    assert f"linux-image-{BROKEN}" in gpu_host.bring(reboots=False).changed

"""The role nvidia_driver on a lab host of Debian 12: the distribution's driver, whose proprietary modules DKMS builds for real.

What is cut off half-way is a whole `pulumi up`, in which the driver comes first and another role after it.

There is no GPU, and nobody loads the modules. What a GPU shows of itself is faked within the host, by bind mounts over
/sys/bus/pci and /proc/driver that a unit of the test makes at each boot: the role looks where it always does. Tests run in this
order; the build takes some minutes.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import LISTING
from tests.e2e.doubles.gpu import FAKE, device, plug_in, put, with_drivers
from tests.e2e.roles import RoleHost, Variables
from tests.e2e.stack import KEY_FILE, ssh, wait_for
from tests.integration.pulumi_project import PulumiProject
from tools.lab import HostSpec, Lab

pytestmark = [pytest.mark.rare, pytest.mark.timeout(2400)]

SPEC = HostSpec("e2e-driver", "10.213.77.171")
BRANCH = "535"
ENGINE = """[Unit]
Description=The double of an engine
[Service]
ExecStart=/usr/bin/python3 -m http.server 8101 --directory /usr/share/dict
DynamicUser=yes
[Install]
WantedBy=multi-user.target
"""
PROGRAM = """
import json

import pulumi
from provider.resource import HostArgs, Playbook

given = json.load(open("given.json"))
host = HostArgs(name=given["name"], address=given["address"], user="slipway", key_file=given["key_file"])
driver = Playbook("driver", host=host, role="nvidia_driver", variables=given["driver"], records=given["records"])
Playbook("after", host=host, role="base", records=given["records"], opts=pulumi.ResourceOptions(depends_on=[driver]))
pulumi.export("driver", driver.results)
"""


class Ups:
    """A project whose `up` brings the driver to the host, and then another role."""

    def __init__(self, folder: Path, root: Path, variables: Variables) -> None:
        plugins = {"providers": [{"name": "playbook", "path": str(root / "provider")}]}
        self.project = PulumiProject(folder / "pulumi", PROGRAM, plugins=plugins)
        self.project.env |= {"SLIPWAY_PLAYBOOK_LOG": str(folder / "playbook.log"), "PYTHONPATH": str(root)}
        self.log = folder / "playbook.log"
        (self.project.folder / "playbooks").symlink_to(root / "playbooks")
        given = {"name": SPEC.name, "address": SPEC.address, "key_file": str(KEY_FILE), "driver": variables}
        (self.project.folder / "given.json").write_text(json.dumps(given | {"records": f"{FAKE}/records"}))

    def begin(self) -> subprocess.Popen[str]:
        """Start an `up`, the lock of one that was killed away, as `slipway up` has it."""
        self.project.run("cancel", "--yes", check=False)
        return self.project.start("up", "--yes", "--skip-preview")

    def runs(self) -> list[tuple[str, str]]:
        """Role and outcome of each run of Ansible that came to its end so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(run["role"], run["status"]) for run in map(json.loads, lines)]

    def up(self) -> list[tuple[str, str]]:
        """A whole `up`, and the runs that it took."""
        before = len(self.runs())
        self.project.run("cancel", "--yes", check=False)
        self.project.up(timeout=1800)
        return self.runs()[before:]


def kill(begun: subprocess.Popen[str]) -> None:
    """End an `up` by SIGKILL: the engine, the program and the plugin at once."""
    assert begun.poll() is None, begun.communicate()[0]
    os.killpg(begun.pid, signal.SIGKILL)
    begun.communicate()


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
    made = RoleHost(bare.name, bare.address, root, tmp_path_factory.mktemp("driver"), timeout_s=1800)
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


@pytest.fixture(scope="module")
def ups(variables: Variables, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ups]:
    made = Ups(tmp_path_factory.mktemp("ups"), root, variables)
    yield made
    made.project.kill_all()


def packages(host: RoleHost) -> str:
    return host.ssh(
        "dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n'; apt-mark showmanual; apt-mark showhold"
    )


def boots(host: RoleHost) -> str:
    return host.ssh("cat /proc/sys/kernel/random/boot_id")


def test_a_check_of_a_bare_host_foresees_the_reboot_and_changes_nothing(
    host: RoleHost, variables: Variables, before: list[str]
) -> None:
    had, booted = packages(host), boots(host)
    foreseen = host.run(("nvidia_driver", variables), check=True).changed
    assert {
        "Keep nouveau out, and load what CUDA needs at boot",
        "Install the headers of the kernels",
        "Install the driver, and hold it with the kernel",
        "See that there are modules for each kernel",
        "Reboot into the driver",
        "Enable and run slipway-nvidia.service",
    } <= set(foreseen)
    assert (packages(host), boots(host)) == (had, booted)
    assert host.ssh(LISTING).splitlines() == before


@pytest.mark.parametrize(
    ("make", "undo", "said"),
    [
        (
            "sudo touch /usr/bin/nvidia-uninstall",
            "sudo rm /usr/bin/nvidia-uninstall",
            "a driver from NVIDIA's .run file is installed (/usr/bin/nvidia-uninstall); remove it with that program, or to keep "
            "it, set pools.gpu.driver.source to present",
        ),
        (
            "sudo install -D /dev/null /usr/lib/x86_64-linux-gnu/libcuda.so.999.1.1",
            "sudo rm /usr/lib/x86_64-linux-gnu/libcuda.so.999.1.1",
            "/usr/lib/x86_64-linux-gnu/libcuda.so.999.1.1 is of no package, so a driver was copied here by hand",
        ),
        (
            device("0000:06:00.0", "0x068000", "0x1af1"),
            f"sudo rm -r {FAKE}/pci/devices/0000:06:00.0",
            "the GPUs are joined by NVSwitches, and the archive of debian-12 has no fabric manager",
        ),
        (
            f"sudo mv {FAKE}/pci/devices/0000:17:00.0 {FAKE}/",
            f"sudo mv {FAKE}/0000:17:00.0 {FAKE}/pci/devices/",
            "the PCI bus shows no NVIDIA GPU (vendor 10de), so a driver would have nothing to drive",
        ),
    ],
    ids=["run file", "copied library", "NVSwitch", "no GPU"],
)
def test_a_host_on_which_it_would_not_work_is_refused_untouched(
    host: RoleHost, variables: Variables, make: str, undo: str, said: str
) -> None:
    had = packages(host)
    host.ssh(make)
    try:
        refused = host.run(("nvidia_driver", variables), fails=True)
    finally:
        host.ssh(undo)
    assert said in refused.output
    assert refused.changed == []
    assert packages(host) == had


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nvidia_driver_branch": "580"}, "the archive of debian-12 has branch 535 alone, and branch 580 is asked for"),
        (
            {"nvidia_driver_broken_kernels": [{"system": "debian", "first": "6.1.0-1", "below": "6.2"}]},
            "the modules of branch 535 do not build for kernel 6.1.0-",
        ),
    ],
    ids=["another branch", "a kernel that is known not to build"],
)
def test_what_can_not_be_installed_is_refused_before(
    host: RoleHost, variables: Variables, change: Variables, said: str
) -> None:
    refused = host.run(("nvidia_driver", {**variables, **change}), fails=True)
    assert said in refused.output
    assert refused.changed == []


def test_a_version_that_the_archive_does_not_have(host: RoleHost, variables: Variables) -> None:
    refused = host.run(("nvidia_driver", {**variables, "nvidia_driver_version": "535.1.1"}), fails=True)
    assert "apt's sources have" in refused.output
    assert "nvidia-kernel-dkms 535." in refused.output
    assert "dkms" not in host.ssh("dpkg-query -W -f '${Package}\\n'")


def compiling(host: RoleHost) -> bool:
    """Whether DKMS compiles modules; also False while the host is away."""
    try:
        return bool(host.ssh("pgrep -x cc1", check=False).strip())
    except AssertionError:
        return False


def is_up(host: RoleHost) -> bool:
    with contextlib.suppress(AssertionError):
        return host.ssh("systemctl is-system-running", check=False).strip() in {"running", "degraded"}
    return False


def test_an_up_that_is_killed_before_anything_is_installed(host: RoleHost, ups: Ups) -> None:
    # The last refusal came after this file.
    host.ssh("sudo rm -f /etc/modules-load.d/slipway-nvidia*")
    begun = ups.begin()
    wait_for(lambda: "slipway-nvidia" in host.ssh("ls /etc/modules-load.d"), "the first file", seconds=300)
    kill(begun)
    assert ups.runs() == []


def test_a_host_that_is_lost_while_modules_are_compiled(host: RoleHost, ups: Ups) -> None:
    """It reboots at once: dpkg is cut off half-way."""
    begun = ups.begin()
    wait_for(lambda: compiling(host), "the compiler", seconds=1200)
    booted = boots(host)
    host.ssh("sudo systemctl reboot --force --force", check=False)
    said, _ = begun.communicate(timeout=300)
    assert begun.returncode != 0
    assert SPEC.name in said, said
    print("lost:", ups.runs()[-1])
    assert ups.runs()[-1] in {("nvidia_driver", "unreachable"), ("nvidia_driver", "failed")}
    wait_for(lambda: is_up(host), "the host after its reboot", seconds=300)
    assert boots(host) != booted
    assert "nvidia-kernel-dkms" in host.ssh("sudo dpkg --audit")


def test_an_up_that_is_killed_while_modules_are_compiled(host: RoleHost, ups: Ups) -> None:
    """What apt has begun on the host ends there; the next `up`, which begins at once, waits for it."""
    begun = ups.begin()
    wait_for(lambda: compiling(host), "the compiler", seconds=1200)
    kill(begun)


def test_the_next_up_builds_the_modules_and_reboots(host: RoleHost, ups: Ups, kernel: str) -> None:
    """After all that was cut off before. It is killed too, as soon as the driver is there and the next role begins."""
    booted, before = boots(host), len(ups.runs())
    begun = ups.begin()
    wait_for(lambda: ("nvidia_driver", "ok") in ups.runs()[before:], "the driver", seconds=1800)
    kill(begun)
    assert ups.runs()[before:] == [("nvidia_driver", "ok")]
    assert boots(host) != booted
    version = host.ssh(f"sudo modinfo -k {kernel} -F version nvidia-current").strip()
    print(f"built: NVIDIA {version} for {kernel}")
    assert version.startswith(f"{BRANCH}.")
    assert host.ssh(f"sudo modinfo -k {kernel} -F vermagic nvidia-current").split()[0] == kernel
    assert f"{version}, {kernel}, x86_64: installed" in host.ssh("sudo dkms status")
    assert host.ssh("systemctl is-active slipway-nvidia.service").strip() == "active"
    assert host.ssh("systemctl is-failed systemd-modules-load.service; true").strip() != "failed"


def test_an_up_after_the_kill_completes_what_comes_after_the_driver(host: RoleHost, ups: Ups, kernel: str) -> None:
    booted = boots(host)
    assert ("base", "ok") in ups.up()
    driver = ups.project.outputs()["driver"]
    assert driver["version"].startswith(f"{BRANCH}.")
    assert driver["kernels"] == [kernel]
    assert ups.up() == []
    assert boots(host) == booted


def test_a_second_run_changes_nothing(host: RoleHost, variables: Variables) -> None:
    booted = boots(host)
    assert host.run(("nvidia_driver", variables)).changed == []
    assert host.run(("nvidia_driver", variables), check=True).changed == []
    assert boots(host) == booted


def test_nothing_upgrades_by_itself(host: RoleHost) -> None:
    held = host.ssh("apt-mark showhold").split()
    assert {"nvidia-kernel-dkms", "libcuda1", "nvidia-smi"} <= set(held)
    assert any(name.startswith("linux-headers-") for name in held)
    installed = host.ssh("dpkg-query -W -f '${Package}\\n' '*nvidia*' | sort -u").split()
    there = [
        name
        for name in installed
        if host.ssh(f"dpkg-query -W -f '${{db:Status-Abbrev}}' {name}").startswith(("i", "h"))
    ]
    assert set(there) <= set(held)
    blacklist = host.ssh("apt-config dump Unattended-Upgrade::Package-Blacklist")
    assert '".*nvidia"' in blacklist
    assert '"linux-image-"' in blacklist


def test_a_run_that_was_cut_off_before_the_reboot_is_completed(host: RoleHost, variables: Variables) -> None:
    """What a kill leaves: all is installed, and another driver is loaded."""
    host.ssh("sudo umount /proc/driver")
    stopped = host.run(("nvidia_driver", {**variables, "nvidia_driver_reboot": False}), fails=True)
    assert "and none is loaded; CUDA would not work: reboot the host and run the command again" in stopped.output
    assert host.run(("nvidia_driver", variables), check=True).changed == ["Reboot into the driver"]
    booted = boots(host)
    assert host.run(("nvidia_driver", variables)).changed == ["Reboot into the driver"]
    assert boots(host) != booted


def test_a_module_that_somebody_removed_is_built_again(host: RoleHost, variables: Variables, kernel: str) -> None:
    host.ssh(f"sudo dkms uninstall $(sudo dkms status | grep -o '^nvidia-current/[0-9.]*') -k {kernel}")
    assert host.run(("nvidia_driver", variables)).changed == ["See that there are modules for each kernel"]


class Answers:
    """When an engine answered, asked every 50 ms from another host."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "Answers":
        self._thread.start()
        wait_for(lambda: bool(self.times), "the first answer", seconds=30)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(timeout=10)

    def gaps(self) -> list[float]:
        """Seconds between two answers, where there were more than two."""
        between = [later - earlier for earlier, later in itertools.pairwise(self.times)]
        return [seconds for seconds in between if seconds > 2]

    def _ask(self) -> None:
        while not self._end.wait(0.05):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{SPEC.address}:8101/", timeout=2):
                self.times.append(time.monotonic())


def test_a_driver_change_takes_an_engine_out_for_its_reboot_alone(
    host: RoleHost, variables: Variables, kernel: str
) -> None:
    """Modules are compiled while it answers. What a reboot takes is the machine's: a lab host has no firmware and no GPU."""
    host.ssh(
        f"sudo mkdir -p /usr/share/dict; {put('/etc/systemd/system/slipway-double.service', ENGINE)}"
        "sudo systemctl enable -q --now slipway-double.service"
    )
    host.ssh(f"sudo dkms unbuild $(sudo dkms status | grep -o '^nvidia-current/[0-9.]*') -k {kernel}")
    host.ssh("sudo umount /proc/driver")
    with Answers() as answers:
        start = time.monotonic()
        changed = host.run(("nvidia_driver", variables)).changed
        took, known = time.monotonic() - start, len(answers.times)
        wait_for(lambda: len(answers.times) > known, "an answer after the change", seconds=60)
    host.ssh(
        "sudo systemctl disable -q --now slipway-double.service; sudo rm /etc/systemd/system/slipway-double.service"
    )
    assert changed == ["See that there are modules for each kernel", "Reboot into the driver"]
    gaps = answers.gaps()
    print(f"a driver change took {took:.0f} s; the engine was away for {', '.join(f'{gap:.1f}' for gap in gaps)} s")
    assert len(gaps) == 1


def test_removal_leaves_nothing(host: RoleHost, variables: Variables, before: list[str]) -> None:
    removed = host.run(("nvidia_driver", {**variables, "nvidia_driver_state": "absent"}))
    assert "Remove the packages that were brought in" in removed.changed
    left = sorted(set(host.ssh(LISTING).splitlines()) - set(before) - {f"{FAKE}/driver", *fake_files()})
    left = [path for path in left if not path.startswith(f"{FAKE}/records")]
    assert left == [], json.dumps(left, indent=1)
    assert host.ssh("getent passwd nvpd", check=False) == ""
    assert "nvidia" not in host.ssh("dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n'")
    assert host.ssh("apt-mark showhold") == ""
    assert "nvidia" not in host.ssh("systemctl list-units --all --no-legend --plain --state=failed")
    assert host.run(("nvidia_driver", {**variables, "nvidia_driver_state": "absent"})).changed == []


def fake_files() -> set[str]:
    return {f"{FAKE}/driver/nvidia", f"{FAKE}/driver/nvidia/version"}

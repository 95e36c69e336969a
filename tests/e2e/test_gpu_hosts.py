"""A GPU host without GPUs: doubles of the driver's libraries and files on a real host, and everything else for real.

The roles preflight and gpu_watch, the sandboxed watch with its timer, a unit that it takes out and puts back, and the host's part
of `slipway doctor`. The double is tests/fixtures/gpu_simulator.
"""

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.carried import answer, program
from cli.doctor import ptx
from slipway.catalog import load
from slipway.doctor.order import Moment, out_mark
from tests.e2e.conftest import LISTING
from tests.e2e.roles import PROGRAM, Instance, RoleHost
from tests.e2e.stack import wait_for
from tests.fixtures.gpu_simulator.simulator import GpuHost, libraries
from tests.unit.doctor.hosts import CARD, asked, promised
from tools.lab import HostSpec, Lab

SPEC = HostSpec("e2e-gpus", "10.213.77.195")
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
PLACE = "/srv/double"
"""The double's files on the host, bound over the kernel's own."""
BOUND = ("/sys/bus/pci/devices", "/sys/module")


class Double:
    """The simulated host, carried to the real one."""

    def __init__(self, host: RoleHost, files: GpuHost) -> None:
        self._host, self.files = host, files

    def install(self) -> None:
        """Puts libraries and files there."""
        self.send()
        for library in sorted(libraries().glob("*.so.1")):
            self._put(library.read_bytes(), f"{LIBRARIES}/{library.name}")
        # What nspawn shows of /sys has no modules.
        self._host.ssh("sudo mount -o remount,rw /sys && sudo mkdir -p /sys/module && sudo mount -o remount,ro /sys")
        for place in BOUND:
            self._host.ssh(f"sudo mount --bind {PLACE}{place} {place}")
        self._host.ssh(f"sudo cp -r {PLACE}/dev/. /dev/")

    def send(self) -> None:
        """Carries what it says now."""
        packed = subprocess.run(["tar", "-C", str(self.files.root), "-c", "."], check=True, capture_output=True).stdout
        self._put(packed, "/tmp/double.tar")
        self._host.ssh(
            f"sudo mkdir -p {PLACE} && sudo tar -C {PLACE} -xf /tmp/double.tar && sudo rm /tmp/double.tar"
            f" && sudo cp {PLACE}/etc/simulated-gpus /etc/ && sudo cp {PLACE}/var/log/kern.log /var/log/"
        )

    def remove(self) -> None:
        """Takes all of it away."""
        self._host.ssh(
            f"sudo umount {' '.join(BOUND)}; sudo rm -rf {PLACE} /etc/simulated-gpus /var/log/kern.log /dev/nvidia*"
            f" {LIBRARIES}/libcuda.so.1 {LIBRARIES}/libnvidia-ml.so.1"
        )

    def _put(self, content: bytes, path: str) -> None:
        from tests.e2e.stack import KEY_FILE

        subprocess.run(
            [
                *("ssh", "-i", str(KEY_FILE), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
                *("-o", "LogLevel=ERROR", f"slipway@{self._host.address}", f"sudo tee {path} >/dev/null"),
            ],
            input=content,
            check=True,
        )


@pytest.fixture(scope="module")
def host(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleHost]:
    lab = Lab()
    lab.down([SPEC.name])
    try:
        lab.up([SPEC], print)
        yield RoleHost(SPEC.name, SPEC.address, root, tmp_path_factory.mktemp("gpus"))
    finally:
        lab.down([SPEC.name])


@pytest.fixture(scope="module")
def double(host: RoleHost, tmp_path_factory: pytest.TempPathFactory) -> Double:
    return Double(host, GpuHost(tmp_path_factory.mktemp("double"), load().gpus[CARD], 2))


@pytest.fixture(scope="module")
def watch() -> dict[str, Any]:
    """What role gpu_watch gets; a round suffices to put an engine back."""
    stack = promised(CARD, 2)
    return {
        "gpu_watch_proof": asked(stack, Moment.PROOF),
        "gpu_watch_order": asked(stack, Moment.WATCH),
        "gpu_watch_passes": 1,
    }


@pytest.fixture(scope="module")
def engine(host: RoleHost) -> Instance:
    return Instance(host, "one")


def settings(engine: Instance) -> dict[str, Any]:
    claims = [{"what": "gpu:1", "share": 0.9}, {"what": f"port:{engine.port}", "share": 1.0}]
    return engine.variables(service_claims=claims, service_out_mark=out_mark(engine.name))


def round_of_watch(host: RoleHost) -> dict[str, Any]:
    """Has the watch look now, as its timer does; what it found."""
    host.ssh("sudo systemctl start slipway-gpu-watch.service")
    state: dict[str, Any] = json.loads(host.ssh("cat /var/lib/slipway/gpu-watch/state.json"))
    return state


def running(host: RoleHost) -> bool:
    return host.ssh("systemctl is-active slipway-one.service", check=False).strip() == "active"


def test_a_host_without_gpus_is_refused_before_anything_is_changed(host: RoleHost) -> None:
    order = asked(promised(CARD, 2), Moment.PREFLIGHT)

    said = host.run(("preflight", {"preflight_order": order}), fails=True).output

    assert "gpu.on-bus: no NVIDIA GPUs on the PCI bus, 2 promised; the engines" in said
    assert host.run(("preflight", {}), check=True).status == 0


def test_gpus_that_do_not_compute_are_refused_before_engines_start(
    host: RoleHost, double: Double, watch: dict[str, Any]
) -> None:
    assert host.run(("base", {}), ("gpu_watch", watch), check=True).status == 0
    host.run(("base", {}))
    double.install()
    double.files.say_of(1, wrong_numbers=3)
    double.send()

    said = host.run(("gpu_watch", watch), fails=True).output

    assert "cuda.kernel: GPU at 0000:18:00.0: computed 3 of 262,144 numbers wrong; engines would fail" in said
    assert host.ssh("systemctl list-unit-files 'slipway-gpu-watch*' --no-legend", check=False) == ""


def test_good_gpus_are_proved_and_watched_and_a_second_run_changes_nothing(
    host: RoleHost, double: Double, watch: dict[str, Any], engine: Instance, root: Path
) -> None:
    double.files.say_of(1, wrong_numbers=0)
    double.send()
    source = (root / "tests/e2e/doubles/engine.py").read_text()
    host.ssh(f"sudo install -d {PROGRAM}/old && sudo tee {PROGRAM}/old/engine.py >/dev/null <<'DOUBLE'\n{source}DOUBLE")
    host.ssh(f"sudo chmod 755 {PROGRAM}/old/engine.py")

    order = asked(promised(CARD, 2), Moment.PREFLIGHT)
    proved = host.run(("preflight", {"preflight_order": order}), ("gpu_watch", watch), ("service", settings(engine)))

    assert proved.results["url"] if "url" in proved.results else running(host)
    assert host.run(("gpu_watch", watch), ("service", settings(engine))).changed == []
    assert host.run(("gpu_watch", watch), ("service", settings(engine)), check=True).changed == []
    assert host.ssh("systemctl is-active slipway-gpu-watch.timer").strip() == "active"
    assert running(host)


def test_the_watch_runs_in_its_sandbox_and_takes_out_the_engine_whose_gpu_failed(
    host: RoleHost, double: Double, engine: Instance
) -> None:
    assert round_of_watch(host)["out"] == {}
    assert running(host)
    double.files.say_of(0, rows_pending=1)
    double.send()
    assert round_of_watch(host)["out"] == {}, "the engine is on the other GPU"
    double.files.say_of(0, rows_pending=0)
    double.files.say_of(1, rows_pending=1)
    double.send()

    out = round_of_watch(host)["out"]

    assert "gpu.memory-pending: GPU 1: rows wait for a reset" in out["one"]["reason"]
    wait_for(lambda: not running(host), "the engine stops", seconds=20)
    host.ssh("sudo systemctl start slipway-one.service")
    assert not running(host), "its unit starts beside the mark"
    said = host.run(("service", {**settings(engine), "service_description": "changed"}), fails=True).output
    assert "one is out of service since" in said
    assert "gpu.memory-pending" in said


def test_doctor_tells_of_it(host: RoleHost, root: Path) -> None:
    text = program(root, "gpu_host.examine.examine", {**asked(promised(CARD, 2)), "ptx": ptx(root)})
    told = answer(host.ssh(f"sudo /usr/bin/python3 -I -B - <<'PROGRAM'\n{text}\nPROGRAM"))
    assert {each["id"] for each in told["results"] if each["state"] == "failed"} == {"gpu.memory-pending"}
    assert "rows wait" in told["watch"]["out"]["one"]["reason"]
    assert host.ssh("ls -d /tmp/.slipway-* 2>/dev/null | grep -v slipway-slipway", check=False) == ""


def test_an_engine_comes_back_once_its_gpu_is_proved(host: RoleHost, double: Double) -> None:
    double.files.say_of(1, rows_pending=0)
    double.send()

    assert round_of_watch(host)["out"] == {}

    wait_for(lambda: running(host), "the engine starts", seconds=20)


def test_the_sandbox_of_the_watch_is_tight(host: RoleHost) -> None:
    said = host.ssh("systemd-analyze security --no-pager slipway-gpu-watch.service | tail -1")
    assert float(said.split(":")[1].split()[0]) <= 3.0, said


def test_nothing_is_left_of_it(host: RoleHost, double: Double, engine: Instance) -> None:
    host.run(
        ("service", {"service_name": "one", "service_state": "absent"}), ("gpu_watch", {"gpu_watch_state": "absent"})
    )

    left = host.ssh(f"{LISTING} | grep -e gpu-watch -e gpu_host -e slipway-one", check=False)

    assert left == "", shlex.quote(left)

"""The watch: takes engines out of service whose GPU is at fault, says why, and puts them back when it has proof."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipway.catalog import load
from slipway.doctor.order import OUT, Moment
from slipway.doctor.report import lines, read
from tests.fixtures.gpu_simulator.asking import MODULES, PTX, examine
from tests.fixtures.gpu_simulator.simulator import GpuHost
from tests.unit.doctor.hosts import SERVER, asked, promised, server

_PROGRAM = """\
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from gpu_host.watch import look
order = json.load(sys.stdin)
print(json.dumps(look(order, pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), put_back=len(sys.argv) > 4)))
"""
LEFT, RIGHT = "llama-left", "llama-right"


class Watched:
    """A simulated server of two GPUs with an engine on each; a double of systemctl writes down what it is told."""

    def __init__(self, folder: Path) -> None:
        self.host = server(folder / "host", 2)
        self.home, self.told = self.host.root / Path(OUT).parent.relative_to("/"), folder / "told"
        tools = folder / "tools"
        tools.mkdir()
        systemctl = tools / "systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$@" >> {self.told}\n')
        systemctl.chmod(0o755)
        self._path = f"{tools}:{os.environ['PATH']}"
        stack = promised(SERVER, 2)
        proof = [each for each in asked(stack, Moment.PROOF)["checks"] if each["id"] == "cuda.kernel"]
        for gpu, name in enumerate((LEFT, RIGHT)):
            self.install(name, f"gpu:{gpu}=0.9 port:{8100 + gpu}=1.0")
        self.install("litellm", "port:4000=1.0")
        self.order = {
            **asked(stack, Moment.WATCH),
            "proof": proof,
            "ptx": PTX.read_text(encoding="utf-8"),
            "passes": 3,
            "textfile": "/var/lib/prometheus/node-exporter",
        }

    def install(self, instance: str, claims: str) -> None:
        """Puts the unit of an instance on the host."""
        self.host.put(f"/etc/systemd/system/slipway-{instance}.service", f"[Unit]\nX-Slipway-Claims={claims}\n")

    def round(self, *, put_back: bool = False) -> dict[str, Any]:
        """One round; returns what is out of service."""
        done = subprocess.run(
            (
                sys.executable,
                "-c",
                _PROGRAM,
                str(MODULES),
                str(self.home),
                str(self.host.root),
                *(["now"] if put_back else []),
            ),
            input=json.dumps(self.order),
            env={**os.environ, **self.host.environment, "PATH": self._path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        state: dict[str, Any] = json.loads(done.stdout)
        assert {file.name for file in (self.home / "out").glob("*")} == set(state["out"])
        out: dict[str, Any] = state["out"]
        return out

    def told_by_doctor(self) -> str:
        """What `slipway doctor` says of the host."""
        return "\n".join(lines(read("gpu-1", examine(self.host, {**self.order, "checks": []}))))

    def orders(self) -> list[str]:
        """What systemctl was told since the last call."""
        found = self.told.read_text().splitlines() if self.told.exists() else []
        self.told.unlink(missing_ok=True)
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def fell_off(host: GpuHost) -> None:
    host.xid(1, 79, "GPU has fallen off the bus.")


def test_nothing_is_told_to_anybody_while_all_is_well(watched: Watched) -> None:
    assert watched.round() == {}
    assert watched.orders() == []


def test_a_gpu_at_fault_takes_out_its_own_engine_alone(watched: Watched) -> None:
    fell_off(watched.host)

    out = watched.round()

    assert set(out) == {RIGHT}
    assert "Xid 79 of the GPU at 0000:18:00.0" in out[RIGHT]["reason"]
    assert watched.orders() == [f"stop --no-block slipway-{RIGHT}.service"]


def test_a_fault_of_the_host_takes_out_all(watched: Watched) -> None:
    watched.host.take("/dev/nvidia-uvm")

    assert set(watched.round()) == {LEFT, RIGHT}


@dataclass(frozen=True)
class Condition:
    """What a GPU or a host is taken out for, words of the reason, whose engines go, and how it is mended."""

    make: Callable[[GpuHost], None]
    words: str
    mend: Callable[[GpuHost], None]
    out: tuple[str, ...] = (RIGHT,)


def boots(host: GpuHost) -> None:
    """The host boots anew: what the kernel said before is not said of this boot."""
    host.put("/proc/stat", "btime 4200000000\n")
    host.log("Linux version 6.1.0", when="2104-01-01T00:00:00+00:00")


def leaves_the_bus(host: GpuHost) -> None:
    host.take(f"/sys/bus/pci/devices/{host.bus(1)}")


CONDITIONS = {
    f"Xid {code}": Condition(
        lambda host, code=code: host.xid(1, code, "pid=7"),  # type: ignore[misc]
        f"gpu.xid: Xid {code} of the GPU at 0000:18:00.0: pid=7",
        boots,
    )
    for code in (48, 63, 64, 74, 79, 94, 95)
} | {
    "rows pending": Condition(
        lambda host: host.say_of(1, rows_pending=1),
        "gpu.memory-pending: GPU 1: rows wait for a reset to be remapped",
        lambda host: host.say_of(1, rows_pending=0),
    ),
    "pages pending": Condition(
        lambda host: host.say_of(1, rows_pending=None, pages_pending=1),
        "gpu.memory-pending: GPU 1: pages wait for a reboot to be retired",
        lambda host: host.say_of(1, rows_pending=0, pages_pending=0),
    ),
    "row not remapped": Condition(
        lambda host: host.say_of(1, rows_failed=1),
        "gpu.memory-unmended: GPU 1: a row could not be remapped",
        lambda host: host.say_of(1, rows_failed=0),
    ),
    # A GPU less than promised is the host's fault: at their next start engines would find the others by other numbers.
    "fallen off the bus": Condition(
        lambda host: host.say_of(1, error=15),
        "gpu.lost: GPU 1 has fallen off the bus",
        lambda host: host.say_of(1, error=None),
        (LEFT, RIGHT),
    ),
    "not on the bus": Condition(
        leaves_the_bus, "gpu.on-bus: 1 NVIDIA GPU on the PCI bus, 2 promised", lambda host: host.plug(1), (LEFT, RIGHT)
    ),
    "one too few": Condition(
        lambda host: host.say(count=1),
        "gpu.count: the driver has 1 NVIDIA GPU in working order, 2 promised",
        lambda host: host.say(count=2),
        (LEFT, RIGHT),
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_condition_takes_its_engines_out_until_the_checks_pass(name: str, watched: Watched) -> None:
    condition = CONDITIONS[name]
    condition.make(watched.host)

    # However often: it does not get used to it.
    for _ in range(watched.order["passes"] + 1):
        out = watched.round()
        assert tuple(out) == condition.out
        assert watched.orders() == [f"stop --no-block slipway-{each}.service" for each in condition.out]
    told = watched.told_by_doctor()
    for each in condition.out:
        (line,) = [line for line in told.splitlines() if f"out of service: {each} since " in line]
        if each == RIGHT:
            assert condition.words in line
        else:
            assert "2 promised" in line

    condition.mend(watched.host)
    for _ in range(watched.order["passes"] - 1):
        assert tuple(watched.round()) == condition.out
        assert not any(order.startswith("start") for order in watched.orders())
    assert watched.round() == {}
    assert watched.orders() == [f"start --no-block slipway-{each}.service" for each in condition.out]
    assert "out of service" not in watched.told_by_doctor()


def test_the_conditions_have_every_xid_that_the_catalogue_calls_critical() -> None:
    codes = load().checks["gpu.xid"].codes
    assert {name for name in CONDITIONS if name.startswith("Xid ")} == {f"Xid {code}" for code in codes}


def test_a_warning_takes_out_nobody(watched: Watched) -> None:
    watched.host.say_of(0, slowed=0x40)

    assert watched.round() == {}


def test_an_engine_comes_back_after_several_good_rounds_and_a_kernel(watched: Watched) -> None:
    watched.host.say_of(1, rows_pending=1)
    since = watched.round()[RIGHT]["since"]
    watched.host.say_of(1, rows_pending=0)
    watched.orders()

    assert [watched.round()[RIGHT]["passes"] for _ in range(2)] == [1, 2]
    assert all(order.startswith("stop") for order in watched.orders())
    assert since
    assert watched.round() == {}
    assert watched.orders() == [f"start --no-block slipway-{RIGHT}.service"]


def test_a_fault_in_between_begins_the_count_anew_and_keeps_the_time(watched: Watched) -> None:
    watched.host.say_of(1, rows_pending=1)
    first = watched.round()[RIGHT]
    watched.host.say_of(1, rows_pending=0)
    watched.round()
    watched.round()
    watched.host.say_of(1, mig=1)

    again = watched.round()[RIGHT]

    assert (again["since"], again["passes"]) == (first["since"], 0)
    assert "MIG" in again["reason"]


def test_an_engine_whose_gpu_does_not_compute_stays_out(watched: Watched) -> None:
    watched.host.say_of(1, rows_pending=1)
    watched.round()
    watched.host.say_of(1, rows_pending=0, wrong_numbers=1)

    for _ in range(2):
        watched.round()
    out = watched.round()

    assert "computed 1 of 262,144 numbers wrong" in out[RIGHT]["reason"]
    assert out[RIGHT]["passes"] == 0


def test_who_has_proved_the_host_puts_back_at_once(watched: Watched) -> None:
    watched.host.say_of(1, rows_pending=1)
    watched.round()
    watched.host.say_of(1, rows_pending=0)
    watched.orders()

    assert watched.round(put_back=True) == {}
    assert watched.orders() == [f"start --no-block slipway-{RIGHT}.service"]


def test_what_is_at_fault_is_not_put_back_by_anybody(watched: Watched) -> None:
    watched.host.say_of(1, rows_pending=1)

    assert set(watched.round(put_back=True)) == {RIGHT}


def test_an_engine_that_is_gone_leaves_no_mark(watched: Watched) -> None:
    fell_off(watched.host)
    watched.round()
    watched.host.take(f"/etc/systemd/system/slipway-{RIGHT}.service")

    assert watched.round() == {}


def test_a_mark_that_a_killed_watch_left_half_is_one_all_the_same(watched: Watched) -> None:
    (watched.home / "out").mkdir(parents=True)
    (watched.home / "out" / LEFT).write_text("{")

    assert watched.round()[LEFT]["passes"] == 1


def test_metrics_say_what_fails_and_who_is_out(watched: Watched) -> None:
    exporter = watched.host.root / "var/lib/prometheus/node-exporter"
    exporter.mkdir(parents=True)
    fell_off(watched.host)
    watched.round()

    text = (exporter / "slipway_gpus.prom").read_text()

    assert 'slipway_gpu_check_failed{check="gpu.xid",severity="critical"} 1' in text
    assert 'slipway_gpu_check_failed{check="gpu.mig",severity="critical"} 0' in text
    assert f'slipway_gpu_engine_out{{instance="{RIGHT}"}} 1' in text
    assert f'slipway_gpu_engine_out{{instance="{LEFT}"}} 0' in text


def test_the_unit_looks_for_marks_where_the_watch_leaves_them(watched: Watched) -> None:
    from tests.unit.roles.loading import PLAYBOOKS

    source = (PLAYBOOKS / "module_utils/gpu_host/examine.py").read_text()
    assert f'WATCH = "{Path(OUT).parent}/state.json"' in source

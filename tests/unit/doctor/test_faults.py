"""Each fault of the simulator gives its own message at each moment, and a host without one passes every check."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slipway.catalog import load
from slipway.doctor.order import Moment
from slipway.doctor.report import lines, read
from tests.fixtures.gpu_simulator.asking import examine
from tests.fixtures.gpu_simulator.simulator import FABRIC_MANAGER, GpuHost
from tests.unit.doctor.hosts import CARD, SERVER, asked, card, catalog, failed, promised, results, server
from tests.unit.roles.loading import load as load_module
from tests.unit.roles.rendering import told_by

verdicts = load_module("library/gpu_checks.py")

CRITICAL_XIDS = (48, 63, 64, 74, 79, 94, 95)


@dataclass(frozen=True)
class Fault:
    """Something wrong, the check whose fault it is, and words of what is said."""

    check: str
    words: str
    make: Callable[[GpuHost], None]
    also: frozenset[str] = field(default_factory=frozenset)
    """Checks that the same fault fails too."""
    on_card: bool = False
    cards: int = 1
    """Of a host with cards."""
    driver: dict[str, Any] = field(default_factory=dict)
    """Settings of the driver."""
    ends_in_s: int | None = None
    """Seconds that an all-reduce may take."""
    limit: float | None = None
    """Another limit than the catalogue's, where nobody can make this machine as slow, or waits for it."""
    names: tuple[str, ...] = ()
    """What the stack makes the host ask for."""


def _fell_off(host: GpuHost) -> None:
    host.say_of(2, error=15)


def _slow_disk(host: GpuHost) -> None:
    folder = host.root / "var/lib/slipway/models/tiny"
    folder.mkdir(parents=True)
    (folder / ".slipway.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(64 << 20)


def _gone(host: GpuHost) -> None:
    host.take(f"/sys/bus/pci/devices/{host.bus(7)}")
    host.take("/dev/nvidia7")
    host.say(count=7)


def _one_more(host: GpuHost) -> None:
    host.plug(1)
    host.put("/dev/nvidia1", "")
    host.say(count=2)


def _amd(host: GpuHost) -> None:
    host.take(f"/sys/bus/pci/devices/{host.bus(0)}")
    for name, content in (("vendor", "0x1002"), ("device", "0x74a1"), ("class", "0x120000")):
        host.put(f"/sys/bus/pci/devices/0000:43:00.0/{name}", content)
    host.take("/sys/module/nvidia/version")
    host.say(nvml_error=9, cuda_error=100)


def _no_module(host: GpuHost) -> None:
    host.take("/sys/module/nvidia/version")
    host.say(nvml_error=9, cuda_error=100)


FAILED_DIAGNOSTIC = """\
{"DCGM Diagnostic": {"test_categories": [{"category": "Deployment", "tests": [{"name": "software", "results": [
  {"entity_group": "GPU", "entity_id": 0, "status": "Pass"},
  {"entity_group": "GPU", "entity_id": 1, "status": "Fail", "warnings": [{"error_id": 29, "warning": "page retirement pending"}]}
], "test_summary": {"status": "Fail"}}]}]}}"""
PASSED_DIAGNOSTIC = """\
Successfully ran diagnostic for group.
{"DCGM GPU Diagnostic": {"test_categories": [{"category": "Deployment", "tests": [
  {"name": "NVML Library", "results": [{"gpu_ids": "0,1", "status": "Pass"}]},
  {"name": "Graphics Processes", "results": [{"gpu_ids": "0,1", "status": "Skip"}]}]}]}}"""

SKIPPED_DIAGNOSTIC = PASSED_DIAGNOSTIC.replace('"Pass"', '"Skip"')
NO_DIAGNOSTIC = """{"DCGM Diagnostic": {"runtime_error": "Couldn't parse json: 'null'"}}"""


def _kept_apart(host: GpuHost) -> None:
    host.bridge(1, 0x1D)


def _translated(host: GpuHost) -> None:
    host.put(f"/sys/bus/pci/devices/{host.bus(1)}/iommu_group/type", "DMA-FQ\n")


def _no_switches(host: GpuHost) -> None:
    for number in range(4):
        host.take(f"/sys/bus/pci/devices/0000:{0xC0 + number:02x}:00.0")


FAULTS = {
    "a GPU less on the bus, dstack#1947": Fault(
        "gpu.on-bus", "7 NVIDIA GPUs on the PCI bus, 8 promised", _gone, frozenset({"gpu.count"})
    ),
    "AMD's GPU": Fault("gpu.vendor", "1 AMD GPU on the PCI bus", _amd, frozenset({"driver.module"}), on_card=True),
    "no NVSwitch": Fault("gpu.nvswitch", "is sold with them", _no_switches),
    "no kernel module": Fault("driver.module", "nvidia is not loaded", _no_module),
    "another library, ubuntu-packaging-nvidia-driver#3": Fault(
        "driver.library",
        "of another version than the kernel module, which is 580.173.02",
        lambda host: host.say(nvml_error=18, cuda_error=803),
    ),
    "a library that opens nonetheless": Fault(
        "driver.library",
        "the library is 595.91.07, the kernel module 580.173.02",
        lambda host: host.say(driver="595.91.07"),
    ),
    "no uvm nodes, gpu-operator#2685": Fault(
        "driver.device-nodes", "/dev/nvidia-uvm is not there", lambda host: host.take("/dev/nvidia-uvm")
    ),
    "GPUs that nobody promised": Fault(
        "gpu.surplus", "the driver has 2 NVIDIA GPUs, 1 promised", _one_more, on_card=True
    ),
    "off the bus": Fault("gpu.lost", "GPU 2 has fallen off the bus", _fell_off, frozenset({"gpu.count"})),
    "another kind": Fault(
        "gpu.model", "GPU 3 is NVIDIA A10G", lambda host: host.say_of(3, name="NVIDIA A10G", pci_id="2237")
    ),
    "less memory": Fault("gpu.memory", "GPU 1 has 40,000 MiB", lambda host: host.say_of(1, memory_mib=40_000)),
    "cut": Fault("gpu.mig", "MIG is on for GPU 4", lambda host: host.say_of(4, mig=1)),
    "rows wait": Fault(
        "gpu.memory-pending", "GPU 5: rows wait for a reset", lambda host: host.say_of(5, rows_pending=1)
    ),
    "pages wait": Fault(
        "gpu.memory-pending",
        "GPU 0: pages wait for a reboot",
        lambda host: host.say_of(0, pages_pending=1),
        on_card=True,
    ),
    "row not remapped": Fault(
        "gpu.memory-unmended", "GPU 6: a row could not", lambda host: host.say_of(6, rows_failed=1)
    ),
    "worn": Fault("gpu.memory-worn", "513 rows remapped, 512", lambda host: host.say_of(6, rows_uncorrectable=513)),
    "uncorrected": Fault("gpu.ecc-uncorrected", "GPU 0: 3 since", lambda host: host.say_of(0, uncorrected=3)),
    "minor Xid": Fault("gpu.xid-other", "Xid 119", lambda host: host.xid(1, 119, "pid=1, GSP timed out")),
    "hot": Fault(
        "gpu.slowed", "GPU 0 is slowed at 91 °C: heat", lambda host: host.say_of(0, slowed=0x41, temperature_c=91)
    ),
    "lanes": Fault("gpu.pcie-width", "GPU 0 uses 8 of 16 lanes", lambda host: host.say_of(0, link_width=8)),
    "slot": Fault("gpu.pcie-generation", "GPU 0 has PCIe 3", lambda host: host.say_of(0, link_generation_most=3)),
    "link": Fault("gpu.nvlink", "GPU 7: NVLink 2 of 4 inactive", lambda host: host.say_of(7, **{"nvlink.2": 0})),
    "no fabric manager, gpustack#4154": Fault(
        "fabric.manager", "does not run", lambda host: host.take(f"/sys/fs/cgroup/system.slice/{FABRIC_MANAGER}")
    ),
    "not registered": Fault("fabric.manager", "GPU 1 is not registered", lambda host: host.say_of(1, fabric=2)),
    "needless fabric manager": Fault(
        "fabric.needless",
        "is enabled",
        lambda host: host.put(f"/etc/systemd/system/multi-user.target.wants/{FABRIC_MANAGER}", ""),
        on_card=True,
    ),
    "not persistent": Fault("driver.persistence", "off for GPU 0", lambda host: host.say_of(0, persistent=0)),
    "wrong numbers": Fault(
        "cuda.kernel", "computed 5 of 262,144 numbers wrong", lambda host: host.say_of(0, wrong_numbers=5)
    ),
    "wrong checksum": Fault("cuda.kernel", "a wrong checksum", lambda host: host.say_of(0, wrong_checksum=1)),
    "error 802, huggingface_hub#4128 and gpustack#4154": Fault(
        "cuda.kernel", "802: the system is not ready", lambda host: host.say(cuda_error=802)
    ),
    "a kernel that fails": Fault(
        "cuda.kernel", "719: the kernel failed", lambda host: host.say_of(3, kernel_error=719)
    ),
    "no kernel for it": Fault("cuda.kernel", "209: there is no kernel", lambda host: host.say_of(3, module_error=209)),
    "CUDA without a GPU": Fault(
        "cuda.kernel", "CUDA has 7 NVIDIA GPUs, 8 promised", lambda host: host.say(cuda_count=7)
    ),
    "slow from the host": Fault(
        "cuda.bandwidth-host", "40.0 GB/s from the host", lambda host: host.say_of(0, h2d_gb_s=40)
    ),
    "ACS on a bridge": Fault(
        "gpu.acs",
        "GPU at 0000:18:00.0: ACS is on at 0000:11:01.0",
        _kept_apart,
        on_card=True,
        cards=2,
    ),
    "an IOMMU that translates": Fault(
        "gpu.iommu", "GPU at 0000:18:00.0: the IOMMU translates (DMA-FQ)", _translated, on_card=True, cards=2
    ),
    "another limit of power": Fault(
        "gpu.power-limit",
        "GPU 0 has a limit of 450 W, the stack sets 300",
        lambda host: host.say_of(0, power_limit_w=450),
        on_card=True,
        driver={"power_limit_w": 300},
    ),
    "a clock above what is allowed": Fault(
        "gpu.clocks",
        "GPU 0 runs at 2520 MHz, the stack allows 1740",
        lambda host: host.say_of(0, clock_mhz=2520),
        on_card=True,
        driver={"clocks_mhz": [1200, 1740]},
    ),
    "DCGM's diagnostic": Fault(
        "dcgm.quick",
        "software of GPU 1: page retirement pending",
        lambda host: host.diagnose(FAILED_DIAGNOSTIC),
    ),
    "an all-reduce that fails": Fault(
        "nccl.all-reduce", "ncclAllReduce answered 2: unhandled system error", lambda host: host.say(nccl_error=2)
    ),
    "an all-reduce with wrong sums": Fault(
        "nccl.all-reduce", "GPU 7 has the sum 9, 8 expected", lambda host: host.say(nccl_wrong=1)
    ),
    "an all-reduce that hangs, vllm#51513": Fault(
        "nccl.all-reduce", "the all-reduce does not end within 3 s", lambda host: host.say(nccl_hangs_s=60), ends_in_s=3
    ),
    "NCCL that does not come up": Fault(
        "nccl.all-reduce",
        "setting NCCL up does not end within 3 s",
        lambda host: host.say(nccl_setup_hangs_s=60),
        ends_in_s=3,
    ),
    "slow among GPUs": Fault(
        "nccl.bandwidth",
        "100.0 GB/s among 8 NVIDIA GPUs, at least 423 expected",
        lambda host: host.say(nccl_gb_s=100),
    ),
    "slow disk": Fault("disk.models", "GB/s, at least 1e+09 expected", _slow_disk, on_card=True, limit=1e9),
    "a name that nobody knows": Fault(
        "host.dns",
        "hub.test is not known to the host's name servers, or none answers",
        lambda host: host.resolve("mirror.test"),
        on_card=True,
        names=("hub.test", "mirror.test"),
    ),
    "name servers that do not answer": Fault(
        "host.dns",
        "hub.test is not answered within 0.3 s; mirror.test is not answered within 0.3 s",
        lambda host: host.resolve("hub.test", "mirror.test", seconds=9),
        on_card=True,
        names=("hub.test", "mirror.test"),
        limit=0.3,
    ),
    "slow memory": Fault("cuda.bandwidth-memory", "1000.0 GB/s within", lambda host: host.say_of(0, copy_gb_s=1000)),
} | {
    f"Xid {code}": Fault("gpu.xid", f"Xid {code} of the GPU at", lambda host, code=code: host.xid(2, code, "pid=7"))  # type: ignore[misc]
    for code in CRITICAL_XIDS
}


MOMENTS = {"doctor": None, **{moment.value: moment for moment in Moment if moment is not Moment.HOSTS}}
"""When a host is asked by itself; `slipway doctor` makes the checks of all these moments."""


def due(moment: Moment | None) -> set[str]:
    """The checks that the catalogue asks then."""
    return {
        check.id
        for check in catalog().checks.values()
        if (moment in check.moments if moment else set(check.moments) - {Moment.HOSTS})
    }


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_fails_its_own_check_and_says_what_it_is(name: str, moment: str, tmp_path: Path) -> None:
    """Wherever the catalogue has the check made; at the other moments nothing fails."""
    fault, when = FAULTS[name], MOMENTS[moment]
    host = card(tmp_path, fault.cards) if fault.on_card else server(tmp_path)
    if "power_limit_w" in fault.driver:
        host.say_of(0, power_limit_w=fault.driver["power_limit_w"])
    fault.make(host)

    stack = promised(CARD, fault.cards, **fault.driver) if fault.on_card else promised(SERVER, 8)
    wanted = asked(stack, when)
    assert {check["id"] for check in wanted["checks"]} == due(when)
    # What runs on the GPUs takes long without any.
    others = {"cuda.", "nccl."} - {fault.check[:5]}
    wanted["checks"] = [check for check in wanted["checks"] if check["id"][:5] not in others]
    wanted["names"] = list(fault.names)
    if fault.ends_in_s is not None and "nccl" in wanted:
        wanted["nccl"]["limit"] = fault.ends_in_s

    for check in wanted["checks"]:
        if check["id"] == fault.check and fault.limit is not None:
            check["limit"] = fault.limit

    found = results(host, wanted) if wanted["checks"] else {}

    assert set(failed(found)) == ({fault.check} | fault.also) & due(when)
    if fault.check in due(when):
        assert fault.words in failed(found)[fault.check]
        assert found[fault.check]["mend"]


def test_every_check_has_a_fault_that_fails_it() -> None:
    # That between hosts has a test of its own.
    elsewhere = {"gpu.count", "nccl.bandwidth-hosts"}
    assert {fault.check for fault in FAULTS.values()} | elsewhere == set(catalog().checks)


@pytest.mark.parametrize("make", [server, card])
def test_a_host_without_a_fault_passes_everything(make: Callable[[Path], GpuHost], tmp_path: Path) -> None:
    found = results(make(tmp_path), asked(promised(SERVER, 8) if make is server else promised(CARD, 1)))

    assert failed(found) == {}
    assert {name for name, each in found.items() if each["state"] == "unknown"} == set()


@pytest.mark.parametrize("gpu", [gpu.id for gpu in load().gpus.values() if gpu.vendor == "nvidia"])
def test_every_kind_of_gpu_is_known_by_the_name_that_the_driver_gives_it(gpu: str, tmp_path: Path) -> None:
    kind = load().gpus[gpu]
    host = GpuHost(tmp_path, kind, 2, switches=2 if kind.interconnect.kind == "nvswitch" else 0)

    found = results(host, asked(promised(gpu, 2), Moment.WATCH) | {"checks": asked(promised(gpu, 2))["checks"][:14]})

    assert failed(found) == {}


def test_a_host_without_a_driver_passes_preflight_and_fails_the_proof(tmp_path: Path) -> None:
    host = card(tmp_path)
    _no_module(host)

    before = results(host, asked(promised(CARD, 1), Moment.PREFLIGHT))
    after = results(host, asked(promised(CARD, 1), Moment.PROOF))

    assert failed(before) == {}
    assert set(failed(after)) == {"driver.module", "cuda.kernel"}


def test_an_old_xid_and_one_of_an_earlier_boot_are_passed_over(tmp_path: Path) -> None:
    host = card(tmp_path)
    host.xid(0, 79, when="2026-01-01T00:00:00+00:00")
    assert failed(results(host, asked(promised(CARD, 1), Moment.WATCH))) == {}

    host.put("/proc/stat", "btime 4200000000\n")
    host.xid(0, 79)
    found = results(host, asked(promised(CARD, 1), Moment.WATCH))
    assert failed(found) == {}
    assert found["gpu.xid"]["state"] == "unknown"


def test_a_kernel_log_that_nobody_keeps_is_said_and_is_no_pass(tmp_path: Path) -> None:
    host = card(tmp_path)
    host.take("/var/log/kern.log")

    assert results(host, asked(promised(CARD, 1)))["gpu.xid"]["state"] == "unknown"


def test_bandwidth_is_not_judged_beside_other_work(tmp_path: Path) -> None:
    host = card(tmp_path)
    host.say_of(0, processes=1, copy_gb_s=1)

    assert results(host, asked(promised(CARD, 1)))["cuda.bandwidth-memory"]["state"] == "unknown"


def test_a_virtual_machine_that_does_not_see_its_switches_is_known_by_its_links(tmp_path: Path) -> None:
    host = server(tmp_path)
    _no_switches(host)
    host.put("/proc/cpuinfo", "flags\t\t: fpu hypervisor\n")
    assert failed(results(host, asked(promised(SERVER, 8)))) == {}

    for number in range(8):
        host.say_of(number, **{f"nvlink.{link}": 0 for link in range(4)})
    assert "gpu.nvswitch" in failed(results(host, asked(promised(SERVER, 8))))


def test_the_gpu_at_fault_is_named(tmp_path: Path) -> None:
    host = server(tmp_path)
    host.xid(2, 79)
    host.say_of(5, rows_pending=1)

    found = results(host, asked(promised(SERVER, 8), Moment.WATCH))

    assert found["gpu.xid"]["gpus"] == [2]
    assert found["gpu.memory-pending"]["gpus"] == [5]


def test_a_bridge_that_redirects_nothing_or_that_others_can_t_read_is_no_fault(tmp_path: Path) -> None:
    host, wanted = card(tmp_path, 2), asked(promised(CARD, 2), Moment.PREFLIGHT)
    host.bridge(0, None)
    bridge = host.bridge(1, 0x60)
    assert results(host, wanted)["gpu.acs"]["state"] == "passed"

    (tmp_path / "sys/bus/pci/devices" / bridge / "config").write_bytes(bytes(64))
    assert results(host, wanted)["gpu.acs"]["state"] == "unknown"


def test_what_runs_in_a_virtual_machine_does_not_see_how_peers_are_kept_apart(tmp_path: Path) -> None:
    host = card(tmp_path, 2)
    host.bridge(0, 0x1D)
    host.put("/proc/cpuinfo", "flags\t\t: fpu hypervisor\n")

    assert results(host, asked(promised(CARD, 2), Moment.PREFLIGHT))["gpu.acs"]["state"] == "skipped"


def test_dcgm_that_passes_or_can_t_be_asked(tmp_path: Path) -> None:
    host, wanted = card(tmp_path), asked(promised(CARD, 1), Moment.PROOF)
    wanted["checks"] = [check for check in wanted["checks"] if check["id"] == "dcgm.quick"]
    assert results(host, wanted)["dcgm.quick"]["state"] == "skipped"

    host.diagnose(PASSED_DIAGNOSTIC)
    assert results(host, wanted)["dcgm.quick"]["state"] == "passed"

    for said, code, evidence in (
        ("{}", 0, "dcgmi diag ended with 0 and told no test"),
        (SKIPPED_DIAGNOSTIC, 0, "dcgmi diag ended with 0 and told no test"),
        (NO_DIAGNOSTIC, 1, "dcgmi diag ended with 1 and told no test: Couldn't parse json: 'null'"),
        (PASSED_DIAGNOSTIC, 205, "dcgmi diag ended with 205, and no test failed"),
    ):
        host.diagnose(said, code)
        unsure = results(host, wanted)["dcgm.quick"]
        assert (unsure["state"], unsure["evidence"]) == ("unknown", [evidence])

    host.diagnose(FAILED_DIAGNOSTIC, 226)
    assert results(host, wanted)["dcgm.quick"]["state"] == "failed"

    host.diagnose("Error: unable to establish a connection to the specified host: localhost")
    found = results(host, wanted)["dcgm.quick"]
    assert (found["state"], found["evidence"]) == (
        "unknown",
        ["dcgmi diag said: Error: unable to establish a connection to the specified host: localhost"],
    )


@pytest.mark.parametrize(
    ("check", "figure", "driver"),
    [
        ("gpu.power-limit", "power_limit_w", {"power_limit_w": 300}),
        ("gpu.clocks", "clock_mhz", {"clocks_mhz": [1200, 1740]}),
    ],
)
def test_what_the_driver_gives_no_figure_for_is_no_pass(
    check: str, figure: str, driver: dict[str, Any], tmp_path: Path
) -> None:
    host, wanted = card(tmp_path, 2), asked(promised(CARD, 2, **driver), Moment.WATCH)
    wanted["checks"] = [each for each in wanted["checks"] if each["id"] == check]
    host.say_of(0, **{figure: 300})
    host.say_of(1, **{figure: None})
    found = results(host, wanted)[check]
    assert (found["state"], found["evidence"]) == ("unknown", ["the driver gives no figure for GPU 1"])

    host.say_of(0, **{figure: 5000})
    assert set(failed(results(host, wanted))) == {check}


def test_nothing_is_exchanged_beside_other_work_or_before_the_engine_is_there(tmp_path: Path) -> None:
    host, wanted = server(tmp_path), asked(promised(SERVER, 8), Moment.EXCHANGE)
    host.say_of(3, processes=1)
    found = results(host, wanted)
    assert {name: each["state"] for name, each in found.items()} == {
        "nccl.all-reduce": "unknown",
        "nccl.bandwidth": "unknown",
    }
    assert found["nccl.all-reduce"]["evidence"] == ["GPU 3 is in use, and a figure beside other work means nothing"]

    host.take("/opt/slipway")
    later = asked(promised(SERVER, 8))
    later["checks"] = [check for check in later["checks"] if check["id"].startswith("nccl.")]
    assert results(host, later)["nccl.all-reduce"]["state"] == "skipped"


def test_an_engine_that_is_installed_without_its_nccl_is_unproven(tmp_path: Path) -> None:
    """Its program has just been installed: that nothing is found is no reason to start it."""
    host, wanted = server(tmp_path), asked(promised(SERVER, 8), Moment.EXCHANGE)
    host.take("/opt/slipway")

    found = results(host, wanted)["nccl.all-reduce"]

    assert found["state"] == "unknown"
    assert found["evidence"][0].startswith("the engine is installed, and its NCCL is not there (/opt/slipway/vllm-")


@pytest.mark.parametrize(("role", "found"), [("gpu_exchange", "gpu_exchange_found"), ("gpu_watch", "gpu_watch_proved")])
def test_an_up_says_what_nobody_could_look_at(role: str, found: str, tmp_path: Path) -> None:
    host, wanted = server(tmp_path), asked(promised(SERVER, 8), Moment.EXCHANGE)
    host.say_of(3, processes=1)
    report = examine(host, wanted)
    looked = {
        "problems": verdicts.problems(report, "critical"),
        "notes": verdicts.problems(report, "warning"),
        "unseen": verdicts.unseen(report),
        "report": report,
    }

    warnings = told_by(role, {found: looked})["warnings"]

    assert [warning.partition(" is unknown: ")[0] for warning in warnings] == ["nccl.all-reduce", "nccl.bandwidth"]
    assert "GPU 3 is in use, and a figure beside other work means nothing; " in warnings[0]
    assert "(else engines that spread over these GPUs would hang at their start" in warnings[0]


def test_a_figure_without_a_floor_is_told(tmp_path: Path) -> None:
    host, wanted = server(tmp_path, 4), asked(promised(SERVER, 4), Moment.EXCHANGE)
    host.say(nccl_gb_s=100)

    found = examine(host, wanted)

    assert [each["state"] for each in found["results"]] == ["passed", "skipped"]
    assert found["results"][1]["evidence"][0].endswith("measured: 100.0 GB/s")
    assert found["all_reduce"]["gb_s"] == pytest.approx(100)


def test_the_report_has_the_state_of_ecc(tmp_path: Path) -> None:
    host, wanted = card(tmp_path, 2), asked(promised(CARD, 2), Moment.PREFLIGHT)
    host.say_of(1, ecc=0)

    report = read("h", examine(host, wanted))

    assert [gpu["ecc"] for gpu in report.gpus] == [True, False]
    assert next(iter(lines(report))).endswith("; ECC off on GPU 1")


def test_the_documentation_has_every_check(root: Path) -> None:
    text = (root / "docs/doctor.md").read_text()
    for check in catalog().checks.values():
        assert f"| `{check.id}` | {check.what} | {check.severity} | {', '.join(check.moments)} |" in text

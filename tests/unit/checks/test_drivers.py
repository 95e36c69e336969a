"""The driver that is chosen for a pool, and what is said of one that does not go with GPUs, engines or calendar."""

import datetime as dt
from typing import Any

import pytest

from slipway.checks.rules import findings
from slipway.deployment.drivers import announcements
from slipway.deployment.types import DriverPlan
from slipway.findings import Finding, Severity
from slipway.layers import drivers as layer
from tests.unit.checks.stacks import TODAY
from tests.unit.deployment.stacks import QWEN_1B, before, deployment, stack, steps
from tests.unit.settings.documents import PROGRAM, model_of, pair, with_changes

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
L4 = ("pools.main.gpu", "l4")
V100 = ("pools.main.gpu", "v100")
B200 = ("pools.main.gpu", "b200")
LLAMA_CPP = ("models.m", model_of("llama_cpp"))
"""Of an engine of whose CUDA nothing is known."""


def driver(**keys: Any) -> tuple[str, Any]:
    return ("pools.main.driver", keys)


def said(*changes: tuple[Any, Any], today: dt.date = TODAY) -> list[Finding]:
    """All that is said of drivers."""
    model = None if LLAMA_CPP in changes else QWEN_1B
    return [f for f in findings(deployment(stack(*changes, model=model)), today) if f.id.startswith("driver.")]


def plan(*changes: tuple[Any, Any]) -> DriverPlan:
    model = None if LLAMA_CPP in changes else QWEN_1B
    found = deployment(stack(*changes, model=model)).machines["gpu-1"].driver
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "branch", "modules", "shown"),
    [
        ([L4], "580", "open", "580"),
        ([L4, driver(source="vendor")], "580", "open", "580.173.02"),
        ([B200, driver(source="vendor")], "580", "open", "580.173.02"),
        ([V100, LLAMA_CPP], "580", "proprietary", "580"),
        ([L4, driver(modules="proprietary")], "580", "proprietary", "580"),
        ([L4, driver(branch=595, source="vendor")], "595", "open", "595.91.07"),
        ([L4, driver(version="595.80.01")], "595", "open", "595.80.01"),
        ([("pools.main.gpus", 1)], "580", "open", "580"),
    ],
)
def test_what_is_chosen(changes: list[Any], branch: str, modules: str, shown: str) -> None:
    chosen = plan(*changes)
    assert (chosen.branch, chosen.modules, chosen.shown) == (branch, modules, shown)
    assert not [finding for finding in said(*changes) if finding.severity is ERROR]


@pytest.mark.parametrize(
    "changes",
    [[], [L4, driver(source="present")], [("pools.main.tier", "mi300x-8")]],
    ids=["no GPU", "somebody else's", "AMD"],
)
def test_where_there_is_none(changes: list[Any]) -> None:
    of = deployment(stack(*changes))
    assert of.machines["gpu-1"].driver is None
    assert layer.steps(of) == []
    assert "gpu-1/base" in steps(of)["gpu-1/program-litellm"].after


def test_the_default_gives_way_where_it_does_not_do(tmp_path: Any) -> None:
    """As when an engine needs a later CUDA than the default branch runs; here the default has no modules for the GPU."""
    file = tmp_path / "own.yaml"
    file.write_text(
        """
drivers:
  - id: "580"
    name: R580 without Ada
    support: lts
    ends: 2028-06
    default: true
    cuda_major: 13
    modules: {open: [hopper], proprietary: []}
    sources: [{figures: [all], source: "a test of the choice", date: 2026-11-30}]
"""
    )
    assert plan(L4, ("catalog", str(file))).branch == "620"


def test_a_limit_of_power_above_the_boards_own_is_refused() -> None:
    (found,) = said(L4, driver(power_limit_w=300))
    assert (found.id, found.severity) == ("driver.power", ERROR)
    assert found.message.startswith("300 W is more than NVIDIA L4 takes (72 W); the driver would refuse it, ")
    assert said(L4, driver(power_limit_w=60)) == []


FOUND: dict[str, tuple[list[tuple[Any, Any]], str, Severity, str, str]] = {
    "CUDA": (
        [L4, driver(branch=550)],
        "driver.cuda",
        ERROR,
        "driver.branch",
        "driver 550 is too old for vllm 0.32.0, which is built with CUDA 13.0 and needs 580.65.06 or later; the engine would not "
        "start: use branch 580 or 595 or 620, or an older release",
    ),
    "CUDA by the exact version": (
        [L4, driver(version="580.50.01")],
        "driver.cuda",
        ERROR,
        "driver.version",
        "driver 580.50.01 is too old for vllm 0.32.0, ",
    ),
    "open modules before Turing": (
        [V100, LLAMA_CPP, driver(modules="open")],
        "driver.modules",
        ERROR,
        "driver.modules",
        "branch 580 has no open kernel modules for NVIDIA V100 SXM2 32GB (volta; the open ones begin with Turing); the GPU would "
        "stay without a driver: set driver.modules to proprietary, or remove it",
    ),
    "no modules at all": (
        [V100, LLAMA_CPP, driver(branch=620, source="distribution")],
        "driver.modules",
        ERROR,
        "driver.branch",
        "branch 620 has no open kernel modules for NVIDIA V100 SXM2 32GB (volta; the open ones begin with Turing); the GPU would "
        "stay without a driver: use branch 580",
    ),
    "proprietary ones are gone": (
        [L4, driver(branch=620, modules="proprietary", source="distribution")],
        "driver.modules",
        ERROR,
        "driver.modules",
        "branch 620 has no proprietary kernel modules for NVIDIA L4 (ada); the GPU would stay without a driver: "
        "set driver.modules to open, or remove it",
    ),
    "proprietary ones for Blackwell": (
        [B200, driver(modules="proprietary")],
        "driver.modules",
        ERROR,
        "driver.modules",
        "branch 580 has no proprietary kernel modules for NVIDIA B200",
    ),
    "unknown branch": (
        [L4, driver(branch=581)],
        "driver.branch",
        ERROR,
        "driver.branch",
        "the catalogue has no driver branch 581; whether it drives these GPUs and engines can't be told: use one of 620, 610, ",
    ),
    "unknown branch of a version": (
        [L4, driver(version="999.10.01")],
        "driver.branch",
        ERROR,
        "driver.version",
        "the catalogue has no driver branch 999; ",
    ),
    "a version that nobody tried": (
        [L4, driver(version="580.100.01")],
        "driver.version",
        NOTE,
        "driver.version",
        "whether there is a driver 580.100.01 is not known here (580.173.02 was tried by others); ",
    ),
    "no version known": (
        [L4, driver(branch=620, source="vendor")],
        "driver.version",
        ERROR,
        "driver.branch",
        "no version of branch 620 is known to have been tried, and none is given; nothing could be pinned: set driver.version",
    ),
    "ended": (
        [L4, LLAMA_CPP, driver(branch=535)],
        "driver.ends",
        WARNING,
        "driver.branch",
        "driver branch 535 has ended (2026-06); after that nobody mends holes in it: use branch 580 or 620",
    ),
    "ended, nobody knows when": (
        [L4, LLAMA_CPP, driver(branch=570)],
        "driver.ends",
        WARNING,
        "driver.branch",
        "driver branch 570 has ended; ",
    ),
    "ending": (
        [L4, driver(branch=595)],
        "driver.ends",
        WARNING,
        "driver.branch",
        "driver branch 595 ends (2027-03); ",
    ),
    "AMD": (
        [("pools.main.gpu", "mi300x"), driver(branch=580)],
        "driver.vendor",
        ERROR,
        "driver",
        "AMD Instinct MI300X is no NVIDIA GPU, and Slipway installs NVIDIA's driver alone (no ROCm); ",
    ),
    "no GPUs": (
        [("pools.main.tier", "cpu"), driver(branch=580)],
        "driver.unused",
        WARNING,
        "driver",
        "machines of this tier have no GPUs, so no driver is installed: set gpus, or remove driver",
    ),
    "AMD with an engine for which no CUDA is known": (
        [("pools.main.gpu", "mi300x"), ("models.m", model_of("llama_cpp", program=PROGRAM))],
        "driver.vendor",
        ERROR,
        "gpu",
        "AMD Instinct MI300X is no NVIDIA GPU, ",
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_what_is_wrong_is_found(case: str) -> None:
    changes, identity, severity, where, begins = FOUND[case]
    model = None if any(path == "models.m" for path, _ in changes) else QWEN_1B
    everything = findings(deployment(stack(*changes, model=model)), TODAY)
    (finding,) = [each for each in everything if each.id == identity]
    assert finding.severity is severity
    assert finding.where == f"slipway:platform.pools.main.{where}"
    assert finding.message.startswith(begins)
    assert ": " in finding.message


@pytest.mark.parametrize(
    ("today", "ids"),
    [
        (dt.date(2027, 12, 1), []),
        (dt.date(2028, 1, 2), ["driver.ends"]),
        (dt.date(2028, 6, 30), ["driver.ends"]),
        (dt.date(2028, 7, 1), ["driver.ends"]),
    ],
)
def test_the_warning_comes_half_a_year_before_the_end(today: dt.date, ids: list[str]) -> None:
    found = said(L4, today=today)
    assert [each.id for each in found] == ids
    if found:
        assert ("has ended" in found[0].message) is (today > dt.date(2028, 6, 30))


def test_a_preview_says_who_reboots_and_of_no_change_nothing() -> None:
    of = deployment(with_changes(pair(), L4, ("pools.main.driver", {"source": "vendor"})))
    lines = list(announcements(of, {}))
    assert lines == [
        f"{name}: gets NVIDIA driver 580.173.02 with open kernel modules; it reboots unless just that driver is loaded already, "
        "and its engines are gone meanwhile"
        for name in ("gpu-1", "gpu-2")
    ]
    had = {step.machine.name: step.variables for step in layer.steps(of)}
    assert list(announcements(of, had)) == []
    other = deployment(
        with_changes(pair(), L4, ("pools.main.driver", {"branch": 595, "source": "vendor", "reboot": False}))
    )
    assert [line.partition("; ")[2] for line in announcements(other, had)] == [
        "it is not rebooted (driver.reboot is false): where another driver is loaded the up stops and says so"
    ] * 2
    # Who means to keep Slipway's driver and look after it by hand reads that it goes.
    given_up = deployment(with_changes(pair(), L4, ("pools.main.driver", {"source": "present"})))
    assert list(announcements(given_up, had)) == [
        f"{name}: the NVIDIA driver that Slipway installed (branch 580) is removed, since its driver is Slipway's no more; "
        "no GPU computes until somebody installs another"
        for name in ("gpu-1", "gpu-2")
    ]


class TestLayer:
    """What waits for the driver, and who changes after whom."""

    def test_hosts_of_one_replica_set_change_one_at_a_time(self) -> None:
        found = steps(deployment(with_changes(pair(), L4)))
        assert found["gpu-1/driver"].after == ("gpu-1/base",)
        assert found["gpu-2/driver"].after == ("gpu-2/base", "gpu-1/driver")

    def test_hosts_that_do_not_stand_in_for_one_another_change_at_once(self) -> None:
        other = {"hosts": {"gpu-9": {"address": "10.0.0.19", "user": "u"}}, "gpu": "l4"}
        model = {"source": {"host_path": "/o"}, "pool": "other"}
        document = with_changes(pair(), L4, ("pools.other", other), ("models.o", model))
        assert steps(deployment(document))["gpu-9/driver"].after == ("gpu-9/base",)

    def test_all_else_on_a_machine_waits_for_its_driver(self) -> None:
        found = steps(deployment(with_changes(pair(), L4)))
        for key in found:
            machine, _, instance = key.partition("/")
            if instance not in {"preflight", "base", "driver"}:
                assert f"{machine}/driver" in before(found, key), key

    def test_engines_are_looked_at_again_after_another_driver(self) -> None:
        found = steps(deployment(with_changes(pair(), L4)))
        assert found["gpu-1/m"].again_after == ("gpu-1/driver",)
        assert all(not step.again_after for key, step in found.items() if key.endswith("/litellm"))

    def test_no_variable_follows_from_a_model(self) -> None:
        first, second = (
            steps(deployment(with_changes(pair(), L4, ("models.m.max_model_len", length))))["gpu-1/driver"]
            for length in (4096, 8192)
        )
        assert first == second

    def test_a_mirrors_key_goes_along(self, tmp_path: Any) -> None:
        (tmp_path / "key.asc").write_text("KEY")
        mirror = {
            "source": "mirror",
            "mirror_url": "https://mirror.test/nvidia",
            "key_file": str(tmp_path / "key.asc"),
            "key_fingerprint": "EB69 3B30 35CD 5710 E231 E123 A4B4 6996 3BF8 63CC",
        }
        told = steps(deployment(with_changes(pair(), L4, ("pools.main.driver", mirror))))["gpu-1/driver"].variables
        assert told["nvidia_driver_mirror_url"] == "https://mirror.test/nvidia/"
        assert told["nvidia_driver_key"] == "KEY"
        assert told["nvidia_driver_key_fingerprint"] == "EB693B3035CD5710E231E123A4B469963BF863CC"

    def test_known_bad_kernels_go_along_for_the_kind_of_modules(self) -> None:
        for modules, count in (("open", 3), ("proprietary", 0)):
            of = deployment(with_changes(pair(), L4, ("pools.main.driver", {"branch": 550, "modules": modules})))
            (first, _) = layer.steps(of)
            assert len(first.variables["nvidia_driver_broken_kernels"]) == count

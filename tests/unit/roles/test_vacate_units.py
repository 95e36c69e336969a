"""Who has to stop before another starts, and who is started again."""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.loading import load

vacate: Any = load("library/vacate_units.py")

ONE = {"gpu:0": 0.9, "port:8100": 1.0}
TWO = {"gpu:1": 0.9, "port:8200": 1.0}
LEAVING: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "nothing changes": ({"a": ONE, "b": TWO}, {"a": ONE, "b": TWO}, []),
    "one goes and nobody comes": ({"a": ONE, "b": TWO}, {"b": TWO}, []),
    "one comes beside others": ({"a": ONE}, {"a": ONE, "b": TWO}, []),
    "one takes the place of another": ({"a": ONE}, {"new": ONE}, ["a"]),
    # It may be in the way with its memory.
    "one comes elsewhere while another goes": ({"a": ONE}, {"b": TWO}, ["a"]),
    "two swap": ({"a": ONE, "b": TWO}, {"a": TWO, "b": ONE}, ["a", "b"]),
    "two swap their ports alone": (
        {"a": {"port:1": 1.0}, "b": {"port:2": 1.0}},
        {"a": {"port:2": 1.0}, "b": {"port:1": 1.0}},
        ["a", "b"],
    ),
    "one moves to what is free": ({"a": ONE}, {"a": TWO}, []),
    "one moves and another takes its place": ({"a": ONE}, {"a": TWO, "b": ONE}, ["a"]),
    "one grows into what goes": ({"a": ONE, "b": TWO}, {"a": {**ONE, "gpu:1": 0.9}}, ["b"]),
    "one grows into what is free": ({"a": ONE, "b": TWO}, {"a": {**ONE, "gpu:2": 0.9}, "b": TWO}, []),
    "one shrinks to let another in": (
        {"a": ONE},
        {"a": {**ONE, "gpu:0": 0.4}, "b": {"gpu:0": 0.5, "port:1": 1.0}},
        ["a"],
    ),
    "one shrinks for nobody": ({"a": ONE, "b": TWO}, {"a": {**ONE, "gpu:0": 0.4}, "b": TWO}, []),
    "both share and stay": (
        {"a": {"gpu:0": 0.4}, "b": {"gpu:0": 0.5}},
        {"a": {"gpu:0": 0.4}, "b": {"gpu:0": 0.5}},
        [],
    ),
}


@pytest.mark.parametrize("case", LEAVING)
def test_who_makes_way(case: str) -> None:
    here, wanted, expected = LEAVING[case]
    assert vacate.leaving(here, wanted, running=here) == expected


def test_one_that_is_stopped_takes_anew_what_it_claims() -> None:
    """Put back, after what replaced it did not come up: that one is in the way, whatever the other's unit claims."""
    here = {"old": ONE, "new": ONE}
    assert vacate.leaving(here, {"old": ONE}, running={"new"}) == ["new"]
    assert vacate.leaving(here, {"new": ONE}, running={"old"}) == ["old"]
    assert vacate.leaving(here, {"old": ONE, "new": TWO}, running={"new"}) == ["new"]


def test_one_that_runs_what_another_file_said_may_have_anything() -> None:
    """Its unit was written, and then the run was killed before the restart."""
    here = {"a": TWO}
    assert vacate.leaving(here, {"a": TWO, "b": ONE}, running=here, outdated={"a"}) == ["a"]
    assert vacate.leaving(here, {"a": TWO}, running=here, outdated={"a"}) == []


def test_claims_are_read_from_the_units(tmp_path: Path) -> None:
    (tmp_path / "slipway-a.service").write_text("[Unit]\nX-Slipway-Claims=gpu:0=0.9 port:8100=1.0\n\n[Service]\n")
    (tmp_path / "slipway-nginx.service").write_text("[Unit]\nDescription=the front\n")
    (tmp_path / "other.service").write_text("[Unit]\nX-Slipway-Claims=gpu:0=0.9\n")
    assert vacate.claims_of(tmp_path) == {"a": ONE}


class Systemd:
    """Units with their states, in place of systemctl; what was done to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: dict[str, list[str]] = {}
        self.done: list[str] = []
        self.failing = ""

    def add(self, name: str, claims: dict[str, float], active: str = "active", enabled: str = "enabled") -> None:
        line = " ".join(f"{what}={share}" for what, share in claims.items())
        (self.folder / f"slipway-{name}.service").write_text(f"[Unit]\nX-Slipway-Claims={line}\n")
        self.states[f"slipway-{name}.service"] = [active, enabled]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        unit, units = arguments[-1], arguments[2:]
        if arguments[0] in {"is-active", "is-enabled"}:
            answer = self.states[unit][arguments[0] == "is-enabled"]
            return subprocess.CompletedProcess(arguments, 0, f"{answer}\n", "")
        if arguments[0] == self.failing:
            return subprocess.CompletedProcess(arguments, 1, "", "Job failed.\n")
        assert arguments[1] == "--now"
        self.done.append(" ".join((arguments[0], *units)))
        for each in units:
            self.states[each] = ["active", "enabled"] if arguments[0] == "enable" else ["inactive", "disabled"]
        return subprocess.CompletedProcess(arguments, 0, "", "")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    found = Systemd(tmp_path)
    monkeypatch.setattr(vacate, "systemctl", found)
    monkeypatch.setattr(vacate, "UNITS", tmp_path)
    monkeypatch.setattr(vacate, "STARTED", tmp_path / "started")
    return found


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The module, with `wanted` as its instances; what it hands back."""

    def apply(
        wanted: dict[str, dict[str, float]], *, check: bool = False, replicas: dict[str, list[str]] | None = None
    ) -> dict[str, Any]:
        instances = {
            name: [{"what": what, "share": share} for what, share in claims.items()] for name, claims in wanted.items()
        }
        ended: dict[str, Any] = {}

        class Module:
            check_mode = check

            def __init__(self, **_: Any) -> None:
                self.params = {"instances": instances, "replicas": replicas or {}}

            def exit_json(self, **result: Any) -> None:
                ended.update(result)

            def fail_json(self, **result: Any) -> None:
                ended.update(result)
                raise SystemExit(1)

        monkeypatch.setattr(vacate, "AnsibleModule", Module)
        try:
            vacate.main()
        except SystemExit:
            ended["failed"] = True
        return ended

    return apply


def test_what_is_in_the_way_is_stopped_once(systemd: Systemd, run: Run) -> None:
    systemd.add("a", ONE)
    systemd.add("b", TWO)
    wanted = {"new": ONE, "b": TWO}
    assert run(wanted, check=True) == {"changed": True, "stopped": ["slipway-a.service"], "started": [], "manages": []}
    assert systemd.done == []
    assert run(wanted)["changed"]
    assert systemd.done == ["disable slipway-a.service"]
    assert not run(wanted)["changed"]


def test_one_that_crashes_again_and_again_is_stopped_too(systemd: Systemd, run: Run) -> None:
    """Between two tries it holds nothing, and would take the GPU with its next one."""
    systemd.add("a", ONE, active="activating")
    systemd.add("c", TWO, active="failed")
    run({"new": ONE})
    assert systemd.done == ["disable slipway-a.service slipway-c.service"]


def test_one_that_is_wanted_again_is_started(systemd: Systemd, run: Run) -> None:
    """The removal of a model was cut off half way, and then the model was put back: nothing else would start it."""
    systemd.add("a", ONE)
    run({"new": ONE})
    assert run({"a": ONE})["started"] == ["slipway-a.service"]
    assert systemd.states["slipway-a.service"] == ["active", "enabled"]
    assert not run({"a": ONE})["changed"]


def test_what_took_its_place_and_failed_goes_first(systemd: Systemd, run: Run) -> None:
    systemd.add("a", ONE)
    run({"new": ONE})
    systemd.add("new", ONE)
    systemd.done.clear()
    run({"a": ONE})
    assert systemd.done == ["disable slipway-new.service", "enable slipway-a.service"]


def test_whether_a_unit_runs_what_its_file_says(systemd: Systemd, tmp_path: Path) -> None:
    systemd.add("a", ONE)
    unit = tmp_path / "slipway-a.service"
    digest = hashlib.sha256(unit.read_bytes()).hexdigest()
    records = tmp_path / "started"
    records.mkdir()
    assert not vacate.is_outdated("a")
    (records / unit.name).write_text(f"{digest}  {unit}\n")
    assert not vacate.is_outdated("a")
    unit.write_text("[Unit]\nX-Slipway-Claims=gpu:1=0.9\n")
    assert vacate.is_outdated("a")


def test_one_that_is_to_change_is_left_to_its_own_step(systemd: Systemd, run: Run) -> None:
    systemd.add("a", ONE)
    systemd.add("b", TWO)
    run({"a": TWO, "b": ONE})
    assert not run({"a": TWO, "b": ONE})["changed"]
    assert systemd.states["slipway-a.service"] == ["inactive", "disabled"]


def test_a_stop_that_fails_says_so(systemd: Systemd, run: Run) -> None:
    systemd.add("a", ONE)
    systemd.failing = "disable"
    ended = run({"new": ONE})
    assert ended["failed"]
    assert ended["msg"].startswith("slipway-a.service: systemctl disable --now failed: Job failed.; what comes next")


def test_a_head_ends_its_answers_before_a_part_elsewhere_changes(systemd: Systemd, run: Run) -> None:
    """Once: its own step starts it again, also where that comes in a later run."""
    systemd.add("a", ONE)
    unit = systemd.folder / "slipway-a.service"
    unit.write_text(f"{unit.read_text()}X-Slipway-Replica=there before\n")
    assert not run({"a": ONE}, replicas={"a": ["there"]})["changed"]
    assert not run({}, replicas={"a": ["there", "before"]})["changed"]
    assert run({}, replicas={"a": ["there", "after"]})["stopped"] == ["slipway-a.service"]
    assert systemd.states["slipway-a.service"] == ["inactive", "disabled"]
    assert not run({}, replicas={"a": ["there", "after"]})["changed"]
    # The machine's own step does not know that another part is about to change.
    assert not run({"a": ONE}, replicas={"a": ["there"]})["changed"]
    # Taken back before it was changed.
    assert run({}, replicas={"a": ["there", "before"]})["started"] == ["slipway-a.service"]


def test_a_head_whose_parts_are_to_sit_elsewhere_makes_way_with_all_others(systemd: Systemd, run: Run) -> None:
    systemd.add("a", ONE)
    unit = systemd.folder / "slipway-a.service"
    unit.write_text(f"{unit.read_text()}X-Slipway-Replica=there before\n")
    assert run({"a": ONE}, replicas={"a": ["elsewhere"]})["stopped"] == ["slipway-a.service"]


def test_a_drain_leaves_all_others_alone(systemd: Systemd, run: Run) -> None:
    """It is told of one replica; that it knows of nobody else says nothing about them."""
    for name, claims in (("a", ONE), ("b", TWO)):
        systemd.add(name, claims)
        unit = systemd.folder / f"slipway-{name}.service"
        unit.write_text(f"{unit.read_text()}X-Slipway-Replica=there before\n")
    systemd.add("c", {"gpu:2": 1.0}, active="inactive", enabled="disabled")
    assert run({}, replicas={"a": ["there", "after"]}) == {
        "changed": True,
        "stopped": ["slipway-a.service"],
        "started": [],
        "manages": [],
    }

"""When a unit is started, reloaded, restarted or left alone."""

from pathlib import Path

import pytest

from tests.unit.roles.loading import load

state = load("library/unit_state.py")

FILES = {"/etc/a": "1" * 64, "/etc/unit": "2" * 64}
RUNNING = {
    "load": "loaded",
    "active": "active",
    "sub": "running",
    "enabled": "enabled",
    "stale": False,
    "result": "success",
}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record"
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in FILES.items()))
    return path


def plan(started: Path, unit: dict[str, object] | None = None, **changes: object) -> list[str]:
    arguments = {
        "state": "started",
        "enabled": True,
        "files": FILES,
        "reload_files": ["/etc/a"],
        "record": str(started),
        **changes,
    }
    return state.plan(state.Unit(**{**RUNNING, **(unit or {})}), arguments)


def test_a_unit_that_runs_what_is_configured_is_left_alone(record: Path) -> None:
    assert plan(record) == []


@pytest.mark.parametrize(
    ("unit", "verbs"),
    [
        ({"load": "not-found", "active": "inactive", "enabled": ""}, ["daemon-reload", "enable", "start"]),
        ({"load": "masked", "active": "inactive", "enabled": "masked"}, ["unmask", "daemon-reload", "enable", "start"]),
        ({"active": "inactive", "sub": "dead"}, ["start"]),
        ({"active": "failed", "sub": "failed"}, ["start"]),
        ({"active": "activating", "sub": "auto-restart"}, ["restart"]),
        ({"active": "activating", "sub": "start"}, []),
        ({"active": "reloading", "sub": "reload"}, []),
        ({"enabled": "disabled"}, ["enable"]),
        ({"enabled": "enabled-runtime"}, ["enable"]),
        ({"enabled": "static"}, []),
        ({"stale": True}, ["daemon-reload"]),
    ],
)
def test_what_is_missing_is_done(record: Path, unit: dict[str, object], verbs: list[str]) -> None:
    assert plan(record, unit) == verbs


@pytest.mark.parametrize(
    ("files", "verbs"),
    [
        ({"/etc/a": "3" * 64}, ["reload"]),
        ({"/etc/unit": "3" * 64}, ["restart"]),
        ({"/etc/a": "3" * 64, "/etc/unit": "3" * 64}, ["restart"]),
        ({"/etc/new": "3" * 64}, ["restart"]),
        ({"/etc/a": ""}, ["reload"]),  # still to be made, in check mode
    ],
)
def test_other_files_than_it_was_started_from(record: Path, files: dict[str, str], verbs: list[str]) -> None:
    assert plan(record, files={**FILES, **files}) == verbs


def test_a_file_that_is_no_longer_read(record: Path) -> None:
    assert plan(record, files={"/etc/unit": FILES["/etc/unit"]}) == ["reload"]


def test_an_unknown_start_is_a_restart(tmp_path: Path) -> None:
    assert plan(tmp_path / "none") == ["restart"]


def test_a_service_that_something_else_starts(record: Path) -> None:
    idle = {"active": "inactive", "sub": "dead", "enabled": "static"}
    assert plan(record, idle, state="loaded", enabled=False, record="") == []
    assert plan(record, {"active": "failed", "enabled": "enabled"}, state="loaded", enabled=False, record="") == [
        "disable"
    ]


def test_without_a_record_files_mean_nothing(record: Path) -> None:
    assert plan(record, record="", files={}) == []

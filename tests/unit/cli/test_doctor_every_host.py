"""`slipway doctor` of hosts with and without GPUs: what was looked at, what was not, and what a script is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli import doctor
from cli.main import app
from slipway.catalog import load
from slipway.doctor.report import HostReport, Result, State, lines
from tests.unit.cli.test_doctor import hosts, project  # noqa: F401 -- the fixture, and how it is asked
from tests.unit.settings.documents import OTHER_KEY, changed, good

MIRROR = {"mirror": "https://mirror.invalid/models/", "sha256": {"config.json": "a" * 64}}


@pytest.fixture
def without_gpus(project: Path) -> Path:  # noqa: F811
    """A folder with a stack whose only host promises no GPUs; its model's folder is not there."""
    store(project, changed(good(), "gateway.engine_key", OTHER_KEY))
    return project


def store(project: Path, document: dict[str, Any]) -> None:  # noqa: F811
    """Make the document the stack's."""
    (project / "stacks/Pulumi.s.yaml").write_text(yaml.safe_dump({"config": {"slipway:platform": document}}))


def looked(**changes: Any) -> HostReport:
    """What a host says of which all is well, but for `changes`."""
    return HostReport(**{"host": "gpu-1", "survey": {"problems": [], "host": {}}, **changes})


def result(state: State) -> Result:
    return Result(
        id="host.dns", what="w", severity="warning", state=state, evidence=("e",), gpus=(), consequence="c", mend="m"
    )


def test_a_stack_without_gpus_is_told_what_was_checked_and_what_was_not(
    without_gpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not doctor.examine_stack("s", hosts=(), as_json=False, root=without_gpus)

    said, errors = capsys.readouterr()
    assert said.splitlines()[0] == "gpu-1: the stack promises no GPUs here, so none is checked"
    assert "  FAILED  preflight  /srv/models/m is not there; it is needed for the files of m: " in said
    assert said.endswith("Not checked here: whether the models answer; each `up` asks them at its end (acceptance).\n")
    assert errors == ""
    assert list(lines(looked()))[1].startswith("  passed  preflight  system, roles, Python, disk, memory, ports, ")


def test_a_host_without_gpus_is_asked_for_its_names(without_gpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(without_gpus, changed(changed(good(), "gateway.engine_key", OTHER_KEY), "models.m.source", MIRROR))

    found = hosts(without_gpus, capsys)["gpu-1"]

    assert [(each["id"], each["state"]) for each in found["results"]] == [("host.dns", "failed")]
    assert found["survey"]["host"]["processors"] > 0


def test_a_gpu_host_is_looked_over_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    found = hosts(project, capsys, "gpu-1")["gpu-1"]

    assert any(each.startswith("/srv/models/m is not there; ") for each in found["survey"]["problems"])
    dns, bandwidth = (
        next(each for each in found["results"] if each["id"] == id_) for id_ in ("host.dns", "cuda.bandwidth-memory")
    )
    check = load().checks["host.dns"]
    assert (dns["limit"], dns["unit"]) == (check.limit, "s")
    assert dns["sources"] == [
        {"figures": each.figures, "source": each.source, "date": str(each.date)} for each in check.sources
    ]
    assert bandwidth["limit"] == load().checks["cuda.bandwidth-memory"].limit_for(load().gpus["rtx-4090"], 9)


def test_preflights_problem_alone_is_not_well() -> None:
    assert looked().well
    assert not looked(survey={"problems": ["the clock says 1970"], "host": {}}).well


def test_a_host_that_was_not_asked_is_not_called_missing() -> None:
    (line,) = lines(HostReport(host="gpu-9", error="gpu-9 (h) can't be asked: no route"))
    assert line == "gpu-9: not asked: gpu-9 (h) can't be asked: no route"


@pytest.mark.parametrize(
    ("state", "strict", "well"),
    [
        (State.UNKNOWN, False, True),
        (State.UNKNOWN, True, False),
        (State.PASSED, True, True),
        (State.FAILED, True, True),  # a warning
    ],
)
def test_who_is_strict_takes_no_unknown(
    without_gpus: Path, monkeypatch: pytest.MonkeyPatch, *, state: State, strict: bool, well: bool
) -> None:
    monkeypatch.setattr(doctor, "_looked_over", lambda *_: looked(results=(result(state),)))

    assert doctor.examine_stack("s", hosts=(), as_json=False, strict=strict, root=without_gpus) is well


def test_the_command_hands_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine_stack", lambda *_args, strict, **_named: not strict)

    assert [CliRunner().invoke(app, ["doctor", "lab", *more]).exit_code for more in ((), ("--strict",))] == [0, 1]

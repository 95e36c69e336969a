"""`slipway doctor`, with a double of ssh that runs the host's part on this very machine, which has no nine GPUs."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli import doctor
from cli.main import app
from tests.unit.deployment.test_hosts import document as shared_by_hosts
from tests.unit.settings.documents import OTHER_KEY, changed, good

_SSH = """\
#!/bin/bash
# A double of ssh: the command runs here. Root is nobody else's to be.
case "$*" in *gpu-9*) echo "ssh: connect to host 192.0.2.9: No route to host" >&2; exit 255;; esac
command="${@: -1}"
exec bash -c "${command#sudo -n }"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """A folder with a stack whose hosts promise nine GPUs each."""
    document = changed(good(), "gateway.engine_key", OTHER_KEY)
    pool = document["pools"]["main"]
    pool.update(gpu="rtx-4090", gpus=9)
    pool["hosts"]["gpu-9"] = {"address": "gpu-9.example.com", "private_address": "10.0.0.9", "user": "ubuntu"}
    document["models"]["m"].update(gpus=1, replicas=1)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "playbooks").symlink_to(root / "playbooks")
    (tmp_path / "stacks/Pulumi.s.yaml").write_text(yaml.safe_dump({"config": {"slipway:platform": document}}))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ssh").write_text(_SSH)
    (tools / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tmp_path


def hosts(project: Path, capsys: pytest.CaptureFixture[str], *names: str) -> dict[str, Any]:
    """What it says of each host, as JSON."""
    assert not doctor.examine_stack("s", hosts=names, as_json=True, root=project)
    told = json.loads(capsys.readouterr().out)
    assert told["well"] is False
    return {host["host"]: host for host in told["hosts"]}


def test_it_runs_the_checks_on_each_host_and_says_who_could_not_be_asked(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other = hosts(project, capsys).values()

    found = {each["id"]: each for each in first["results"]}
    assert found["gpu.on-bus"]["state"] == "failed"
    assert found["gpu.on-bus"]["mend"].endswith("lower pools.main.gpus")
    assert (
        other["error"] == "gpu-9 (gpu-9.example.com) can't be asked: ssh: connect to host 192.0.2.9: No route to host"
    )
    assert other["results"] == []


def test_one_host_alone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(hosts(project, capsys, "gpu-9")) == ["gpu-9"]


def test_a_table_has_consequence_and_mend_of_what_failed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doctor.examine_stack("s", hosts=(), as_json=False, root=project)

    told = capsys.readouterr().out
    assert "FAILED  gpu.on-bus" in told
    assert "the engines that were sized for the missing ones would not start: " in told


def test_no_such_host_is_a_line(project: Path) -> None:
    with pytest.raises(doctor.UserError, match="has no host 'gpu-7'; its hosts: "):
        doctor.examine_stack("s", hosts=("gpu-7",), as_json=False, root=project)


@pytest.mark.parametrize(("well", "status"), [(True, 0), (False, 1)])
def test_the_status_says_whether_all_is_well(monkeypatch: pytest.MonkeyPatch, *, well: bool, status: int) -> None:
    monkeypatch.setattr(doctor, "examine_stack", lambda *_args, **_named: well)

    assert CliRunner().invoke(app, ["doctor", "lab"]).exit_code == status


def test_hosts_that_share_no_replica_have_nothing_between_them(project: Path) -> None:
    with pytest.raises(doctor.UserError, match="has no replica that hosts share by NCCL"):
        doctor.examine_stack("s", hosts=(), as_json=False, between_hosts=True, root=project)
    with pytest.raises(doctor.UserError, match="all hosts of a replica are needed at once"):
        doctor.examine_stack("s", hosts=("gpu-9",), as_json=False, between_hosts=True, root=project)


def test_all_hosts_of_a_shared_replica_are_asked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = shared_by_hosts(("pools.main.gpu", "h100-sxm-80gb"))
    (project / "stacks/Pulumi.s.yaml").write_text(yaml.safe_dump({"config": {"slipway:platform": document}}))

    assert not doctor.examine_stack("s", hosts=(), as_json=True, between_hosts=True, root=project)

    told = json.loads(capsys.readouterr().out)["hosts"]
    assert [host["host"] for host in told] == ["gpu-1", "gpu-2"]
    # This machine has no engine's NCCL: nobody waits for anybody, and nobody knows.
    assert {result["id"]: result["state"] for result in told[0]["results"]} == {
        "nccl.all-reduce": "unknown",
        "nccl.bandwidth-hosts": "unknown",
    }

"""`slipway usage` over more than one front, with a stand-in for SSH."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import remote, usage
from cli.errors import UserError
from tests.unit.settings.documents import THIRD_KEY, changed, pair

RECORD = '{{"time":"2026-11-29T09:15:00.000Z","team":"a","model":"m","in":{tokens},"out":1,"status":200,"seconds":1}}\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    document = changed(pair(), "front.floating", {"address": "10.0.0.100/24", "secret": THIRD_KEY})
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/Pulumi.two.yaml").write_text(yaml.safe_dump({"config": {"slipway:platform": document}}))
    return tmp_path


def show(project: Path) -> None:
    usage.show_usage("two", since="2026-11-01", period="month", team=None, form="json", root=project)


def test_the_records_of_both_fronts_are_summed_up(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"ubuntu@10.0.0.11": RECORD.format(tokens=5), "ubuntu@10.0.0.12": RECORD.format(tokens=7) * 2}

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, said.pop(command[-2]), "")

    monkeypatch.setattr(remote.subprocess, "run", run)
    show(project)
    (found,) = json.loads(capsys.readouterr().out)["usage"]
    assert (found["requests"], found["tokens_in"], found["tokens_out"]) == (3, 19, 3)
    assert not said


def test_one_front_alone_is_not_summed_up(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        lost = command[-2].endswith(".12")
        return subprocess.CompletedProcess(command, 255 if lost else 0, "", "No route to host" if lost else "")

    monkeypatch.setattr(remote.subprocess, "run", run)
    with pytest.raises(UserError, match=r"gpu-2 .* can't be asked: No route to host; its records are not counted"):
        show(project)


def test_hosts_are_known_by_the_keys_that_an_up_met(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's own file may have the key of a host that has been made anew since."""
    asked = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(remote.subprocess, "run", run)
    monkeypatch.setenv("HOME", str(project))
    show(project)
    known = f'UserKnownHostsFile="{project}/.local/state/slipway/known_hosts"'
    assert [known in command for command in asked] == [True, True]

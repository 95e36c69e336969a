"""What Ansible is handed: variables as they are, a host that can't be misread, settings that keep to themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible._internal._datatag._tags import TrustedAsTemplate  # type: ignore[import-untyped]
from ansible.parsing.dataloader import DataLoader  # type: ignore[import-untyped]
from ansible.template import Templar  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from provider import log, paths, worker
from provider.run import Failure, Host, Outcome, Request, Task

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{%", max_size=4), inner, max_size=3),
    max_leaves=6,
)


def request_for(tmp_path: Path, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "mode": "apply",
        "host": Host(name="lab-1", address="10.0.0.5", port=2222, user="admin", key_file="/home/a b/key"),
        "role": "nginx",
        "instance": "front",
        "playbooks": str(tmp_path),
        "variables": {"secret": "canary-5dd1"},
        "secrets": ("canary-5dd1",),
        "timeout": 60,
        "urn": "urn:x",
        "run_id": 1,
        "scratch": str(tmp_path),
        **changes,
    }
    return Request(**fields)


# Ansible's loading takes its time on a busy machine.
@settings(deadline=None)
@given(value=VALUES)
def test_variables_arrive_as_they_are(value: Any) -> None:
    loader = DataLoader()
    document = worker.variables_document({"value": value, "jinja": "{{ 1 + 1 }} {% raw %}"})
    # As `-e @FILE` does it: what is written there may be a template.
    loaded = loader.load(TrustedAsTemplate().tag(document))
    templar = Templar(loader=loader, variables=loaded)
    assert loaded["value"] == value
    assert templar.template(loaded["jinja"]) == "{{ 1 + 1 }} {% raw %}"


def test_the_inventory_quotes_nothing_and_names_all(tmp_path: Path) -> None:
    request = request_for(tmp_path)
    inventory = json.loads(json.dumps(worker.inventory(request.host, tmp_path, tmp_path / "ssh")))
    variables = inventory["all"]["hosts"]["lab-1"]
    assert variables["ansible_ssh_private_key_file"] == "/home/a b/key"
    assert variables["ansible_port"] == 2222
    assert "BatchMode=yes" in variables["ansible_ssh_args"]
    assert "StrictHostKeyChecking=accept-new" in variables["ansible_ssh_args"]
    assert variables["ansible_remote_tmp"].startswith("/tmp/.slipway-")


def test_a_pinned_key_is_the_only_one_trusted(tmp_path: Path) -> None:
    host = Host(name="lab-1", address="10.0.0.5", port=2222, host_key="ssh-ed25519 AAAA")
    options = worker.ssh_options(host, tmp_path, tmp_path)
    assert "StrictHostKeyChecking=yes" in options
    assert f'UserKnownHostsFile="{tmp_path}/known_hosts"' in options
    assert (tmp_path / "known_hosts").read_text() == "[10.0.0.5]:2222 ssh-ed25519 AAAA\n"


def test_another_login_never_shares_a_connection(tmp_path: Path) -> None:
    hosts = [
        Host(name="a", address="10.0.0.5"),
        Host(name="a", address="10.0.0.5", user="root"),
        Host(name="a", address="10.0.0.5", key_file="/k"),
        Host(name="a", address="10.0.0.5", port=23),
        Host(name="a", address="10.0.0.6"),
    ]
    found = {
        option for host in hosts for option in worker.ssh_options(host, tmp_path, tmp_path) if "ControlPath" in option
    }
    assert len(found) == len(hosts)


def test_settings_hold_no_secret_and_use_the_playbooks_own(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    settings = worker.environment(request_for(tmp_path), tmp_path)
    assert "canary-5dd1" not in repr(settings)
    assert settings["ANSIBLE_CONFIG"] == str(tmp_path / "ansible.cfg")
    assert settings["ANSIBLE_LIBRARY"] == str(tmp_path / "library")
    assert "ANSIBLE_FILTER_PLUGINS" not in settings


def test_a_run_sees_of_the_engines_environment_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        worker, "_set_aside", {"AWS_PROFILE": "p", "AWS_SECRET_ACCESS_KEY": "s", "PULUMI_X": "x", "NETRC": "n"}
    )
    assert worker.asked_for(()) == {}
    assert worker.asked_for(("AWS_*",)) == {"AWS_PROFILE": "p", "AWS_SECRET_ACCESS_KEY": "s"}
    assert worker.asked_for(("NETRC", "AWS_P*")) == {"AWS_PROFILE": "p", "NETRC": "n"}
    assert worker.asked_for(("AWS_PRO",)) == {}


def test_what_it_asks_for_is_among_its_variables_and_in_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ansible-runner writes a run's environment to a file, and all that Ansible starts has it."""
    monkeypatch.setattr(worker, "_set_aside", {"AWS_SECRET_ACCESS_KEY": "canary-aws"})
    seen: dict[str, str] = {}

    class CapturedError(Exception):
        pass

    def capture(*, cmdline: str, envvars: dict[str, str], **_: object) -> None:
        seen["environment"] = repr({**os.environ, **envvars})
        seen["variables"] = Path(cmdline.partition("@")[2].split()[0]).read_text()
        raise CapturedError

    monkeypatch.setattr("ansible_runner.run", capture)
    with pytest.raises(CapturedError):
        worker.run(request_for(tmp_path, scratch=str(tmp_path), environment=("AWS_*",)))
    assert "canary-aws" not in seen["environment"]
    assert yaml.safe_load(seen["variables"].replace("!unsafe ", ""))["playbook_environment"] == {
        "AWS_SECRET_ACCESS_KEY": "canary-aws"
    }


def test_the_log_holds_one_line_per_run_and_no_message(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "playbook.log"
    task = Task(name="Site", role="nginx", result="failed", seconds=1.234, detail="canary-5dd1")
    outcome = Outcome(ok=1, failed=1, tasks=(task,), failure=Failure(kind="task", message="canary-5dd1"))
    log.record(file, request_for(tmp_path), outcome)
    log.record(file, request_for(tmp_path, mode="check"), Outcome(ok=2))
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert "canary-5dd1" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert (first["mode"], first["host"], first["role"], first["status"]) == ("apply", "lab-1", "nginx", "task")
    assert first["instance"] == "front"
    assert first["tasks"] == [{"task": "Site", "role": "nginx", "seconds": 1.23, "result": "failed"}]
    assert (second["mode"], second["ok"], second["changed"], second["failed"]) == ("check", 2, 0, 0)


def test_folders_of_the_dead_are_swept_and_of_the_living_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "scratch_base", lambda: tmp_path)
    mine = paths.make_scratch()
    # The number is this process's, the start is not: the number was given out again.
    dead = [tmp_path / f"slipway-playbook-{pid}-1-x" for pid in (os.getpid(), 2**22 + 1)]
    for folder in dead:
        folder.mkdir()
    paths.sweep()
    assert sorted(tmp_path.iterdir()) == [mine]

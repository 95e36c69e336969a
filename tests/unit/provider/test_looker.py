"""One connection per host and command, made as Ansible makes it; a host that can't be asked is explained as a run would."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provider import looker, processes, record
from provider.inputs import Inputs
from provider.looker import Looker
from provider.records import Look, Records, binding
from provider.run import Host, Outcome
from tests.integration.pulumi_project import Gate

HOST = Host(name="lab-1", address="10.0.0.5", port=2222, user="admin", key_file="/home/a b/key")
THINGS = ({"kind": "path", "path": "/etc/hostname"},)


class Plugin:
    """In place of the runner."""

    def __init__(self, folder: Path) -> None:
        self.cancelled = False
        self._folder = folder

    def scratch(self) -> Path:
        return self._folder


class Ssh:
    """An ssh that notes how it was called and runs what it is told on this machine, or fails as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "ssh"

    def behave(self, script: str) -> None:
        self.program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {self.folder}/calls\n{script}\n')
        self.program.chmod(0o755)

    def answers(self, answer: dict[str, Any]) -> None:
        self.behave(f"cat > {self.folder}/program; echo 'Welcome!'; echo '{record.MARK}{json.dumps(answer)}'")

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ssh:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return Ssh(tmp_path / "bin")


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    (tmp_path / "scratch").mkdir()
    return Plugin(tmp_path / "scratch")


def given(instance: str, host: Host = HOST, **changes: Any) -> Inputs:
    fields: dict[str, Any] = {"role": "nginx", "playbooks": Path("/x"), "variables": {"a": 1}, **changes}
    return Inputs(host=host, instance=instance, **fields)


def seen(**instances: tuple[str, int]) -> dict[str, Any]:
    return {
        "done": {name: {"key": key, "differs": n, "first": ["path /x"][:n]} for name, (key, n) in instances.items()}
    }


def test_many_reads_of_a_host_are_one_connection(ssh: Ssh, plugin: Plugin) -> None:
    names = [f"i{number}" for number in range(9)]
    ssh.answers(seen(**{name: (binding(given(name), "d"), int(name == "i3")) for name in names}))
    other = Host(name="lab-2", address="10.0.0.6")

    async def refresh() -> list[Look]:
        records = Records(Looker(plugin))
        looks = await asyncio.gather(*(records.look(given(name), "d") for name in names))
        late = await records.look(given("i0"), "d")
        await records.look(given("i0", host=other), "d")
        return [*looks, late]

    looks = asyncio.run(refresh())
    assert [look.as_recorded for look in looks] == [name != "i3" for name in [*names, "i0"]]
    assert looks[3].differing == ("path /x",)
    assert [call.count("10.0.0.5") for call in ssh.calls()] == [1, 0]


def test_owners_are_asked_for_once(ssh: Ssh, plugin: Plugin) -> None:
    """And again where there was no answer."""

    async def ask() -> list[str]:
        records = Records(Looker(plugin))
        ssh.behave("exit 1")
        assert await records.owner(given("front")) == ""
        ssh.answers({"done": {"front": "gpu-a", "engine": "lab-1"}})
        return [await records.owner(given(name)) for name in ("front", "engine", "other")]

    assert asyncio.run(ask()) == ["gpu-a", "lab-1", ""]
    assert len(ssh.calls()) == 2


def test_a_look_does_not_outlive_a_change_on_the_machine(
    ssh: Ssh, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh.answers(seen())

    async def work() -> list[int]:
        records = Records(Looker(plugin))
        counts = []
        for change in (None, HOST, Host(name="other", address="10.0.0.9"), None):
            if change:
                records.outdated(change)
            await records.look(given("x"), "d")
            counts.append(len(ssh.calls()))
        monkeypatch.setattr(looker, "FRESH", -1.0)
        await records.look(given("x"), "d")
        return [*counts, len(ssh.calls())]

    assert asyncio.run(work()) == [1, 2, 2, 2, 3]


@pytest.mark.parametrize(
    ("instance", "digest", "changes"),
    [("none", "d", {}), ("x", "other", {}), ("x", "d", {"variables": {"a": 2}}), ("x", "d", {"role": "other"})],
    ids=["no record", "other files", "other variables", "other role"],
)
def test_a_record_of_something_else_is_none(
    ssh: Ssh, plugin: Plugin, instance: str, digest: str, changes: dict[str, Any]
) -> None:
    ssh.answers(seen(x=(binding(given("x"), "d"), 0)))
    look = asyncio.run(Records(Looker(plugin)).look(given(instance, **changes), digest))
    assert (look.as_recorded, look.failure) == (None, None)


def test_it_connects_as_ansible_does(ssh: Ssh, plugin: Plugin) -> None:
    ssh.answers(seen())
    pinned = Host(name="lab-1", address="10.0.0.5", host_key="ssh-ed25519 AAAA", become=False)

    async def work() -> None:
        for host in (HOST, pinned):
            await Looker(plugin).look(host, "/var/lib/x")

    asyncio.run(work())
    first, second = ssh.calls()
    for option in ("Port=2222", "User=admin", 'IdentityFile="/home/a b/key"', "BatchMode=yes", "ControlMaster=auto"):
        assert f"-o {option}" in first
    assert "-o StrictHostKeyChecking=accept-new" in first
    assert first.endswith(" 10.0.0.5 sudo -H -n -u root /usr/bin/python3 -I -B -")
    assert "-o StrictHostKeyChecking=yes" in second
    assert second.endswith(" 10.0.0.5 /usr/bin/python3 -I -B -")
    known = second.split('UserKnownHostsFile="')[1].split('"')[0]
    assert Path(known).read_text() == "10.0.0.5 ssh-ed25519 AAAA\n"
    assert "canary" not in (ssh.folder / "program").read_text()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255",
            "nothing listens for SSH on port 2222.",
        ),
        (
            "echo 'ssh: connect to host x: Connection timed out' >&2; exit 255",
            "no answer to SSH on port 2222 within 10 s.",
        ),
        ("echo 'admin@x: Permission denied (publickey).' >&2; exit 255", "SSH refuses the login as admin"),
        ("echo 'sudo: a password is required' >&2; exit 1", "admin may not use sudo without a password."),
        ("echo 'kex_exchange: odd' >&2; exit 255", "the host can't be reached: kex_exchange: odd."),
    ],
)
def test_a_host_that_lets_nobody_in_is_explained_as_by_a_run(
    ssh: Ssh, plugin: Plugin, script: str, message: str
) -> None:
    ssh.behave(f"cat > /dev/null; {script}")
    look = asyncio.run(Records(Looker(plugin)).look(given("front"), "d"))
    assert look.failure is not None
    assert look.failure.message.startswith("lab-1 (10.0.0.5): layer front: ")
    assert message in look.failure.message


@pytest.mark.parametrize(
    "script",
    [
        "exit 3",
        "echo '{mark}{{half'",
        'echo \'{mark}{{"failed": "OSError: no"}}\'',
        "echo 'Connection refused' >&2; exit 1",
    ],
)
def test_a_host_that_can_not_look_is_one_without_a_record(ssh: Ssh, plugin: Plugin, script: str) -> None:
    ssh.behave(f"cat > /dev/null; {script.format(mark=record.MARK)}")
    records = Records(Looker(plugin))
    assert asyncio.run(records.look(given("front"), "d")) == Look()
    assert asyncio.run(records.keep(given("front"), "d", Outcome(managed=THINGS))) != ""


def test_a_host_that_never_answers_is_given_up(ssh: Ssh, plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looker, "LIMIT", 0.3)
    ssh.behave("exec sleep 60")
    began = time.monotonic()
    assert asyncio.run(Records(Looker(plugin)).look(given("front"), "d")) == Look()
    assert time.monotonic() - began < 10


def test_after_a_cancel_nothing_is_asked(ssh: Ssh, plugin: Plugin) -> None:
    plugin.cancelled = True
    look = asyncio.run(Records(Looker(plugin)).look(given("front"), "d"))
    assert look.failure is not None
    assert look.failure.kind == "interrupted"
    assert ssh.calls() == []


def test_a_cancel_ends_the_connections(ssh: Ssh, plugin: Plugin, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    ssh.behave(f": > {gate.path}; exec sleep 60")

    async def work() -> Look:
        asking = asyncio.create_task(Records(Looker(plugin)).look(given("front"), "d"))
        await asyncio.to_thread(gate.wait)
        plugin.cancelled = True
        processes.kill_descendants()
        return await asking

    began = time.monotonic()
    look = asyncio.run(work())
    assert look.failure is not None
    assert "layer front: interrupted" in look.failure.message
    assert time.monotonic() - began < 10
    gate.close()


def test_records_on_this_machine(plugin: Plugin, tmp_path: Path) -> None:
    """The whole way without ssh: kept, compared, renewed, forgotten; and what is not recordable says why."""
    file = tmp_path / "site"
    file.write_text("one")
    here = Host(name="here", connection="local", become=False)
    subject = given("front", host=here, records=str(tmp_path / "records"))
    things = ({"kind": "path", "path": str(file)},)

    async def work(step: Callable[[Records], Any]) -> Any:
        return await step(Records(Looker(plugin)))

    def do(step: Callable[[Records], Any]) -> Any:
        return asyncio.run(work(step))

    def look() -> bool | None:
        found: Look = do(lambda records: records.look(subject, "d"))
        return found.as_recorded

    assert look() is None
    assert do(lambda records: records.keep(subject, "d", Outcome(managed=things))) == ""
    assert look() is True
    file.write_text("two")
    assert look() is False
    do(lambda records: records.renew(subject, "d"))
    assert look() is True
    assert do(lambda records: records.forget(subject)) == ""
    assert not (tmp_path / "records").exists()
    assert do(lambda records: records.keep(subject, "d", Outcome(unrecordable="odd"))) == "odd"
    assert do(lambda records: records.keep(subject, "d", Outcome(managed=()))) == ""
    assert not (tmp_path / "records").exists()


def test_the_binding_tells_variables_apart_and_shows_none() -> None:
    one = binding(given("x", variables={"secret": "canary-5dd1"}), "d")
    assert one != binding(given("x", variables={"secret": "canary-5dd2"}), "d")
    assert len(one) == len(hashlib.sha256().hexdigest())
    assert "canary" not in one


def test_ssh_gets_nothing_of_the_engines_secrets(ssh: Ssh, plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may look at this user's processes sees their environments."""
    monkeypatch.setenv("SLIPWAY_KEY_DEMO", "canary")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    ssh.behave(f"env > {ssh.folder}/environment; cat > /dev/null; echo '{record.MARK}{json.dumps(seen())}'")
    asyncio.run(Records(Looker(plugin)).look(given("i0"), "d"))
    environment = (ssh.folder / "environment").read_text()
    assert "SSH_AUTH_SOCK=/run/agent" in environment
    assert "canary" not in environment

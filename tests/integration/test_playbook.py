"""The plugin under the real engine, with roles on this very machine.

What needs a host that answers to SSH (a wrong key, another host key, a missing sudo) is tested in tests/e2e, and its messages
with recorded runs in tests/unit/provider.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from provider import paths
from tests.integration.pulumi_project import Gate, PulumiProject

FIXTURES = Path(__file__).parent / "fixtures" / "playbooks"
CANARY = f"canary-{uuid.uuid4().hex}"
TRICKY = f'{CANARY} "quoted" {{{{ 1 + 1 }}}} $HOME ü\nsecond line of it'

PROGRAM = """
import json
import os

import pulumi

from provider.resource import HostArgs, Playbook

given = json.load(open("given.json"))
secrets = given.pop("secrets", {})
host = given.pop("host")
more = given.pop("more", {})
variables = {**given.pop("variables"), **{name: pulumi.Output.secret(value) for name, value in secrets.items()}}
playbook = Playbook("subject", host=HostArgs(**host), variables=variables, **given)
for name in ("digest", "drift", "results", "generation", "changed", "managed"):
    pulumi.export(name, getattr(playbook, name))
for name, own in more.items():
    other = Playbook(name, host=HostArgs(**host), **{**given, "instance": name, "variables": own})
    pulumi.export(name, other.drift)
"""

LOCAL = {"name": "here", "connection": "local", "become": False}


class Trial:
    """A project with one Playbook, whose inputs are in a file."""

    def __init__(self, folder: Path, root: Path) -> None:
        """Makes the project, with a copy of the roles and a log of its own."""
        self.folder = folder
        plugins = {"providers": [{"name": "playbook", "path": str(root / "provider")}]}
        shutil.copytree(FIXTURES, folder / "roles-of-the-test" / "playbooks")
        self.log = folder / "playbook.log"
        self.note = folder / "note"
        self.records = folder / "records"
        os.environ["SLIPWAY_PLAYBOOK_LOG"] = str(self.log)
        self.project = PulumiProject(folder / "pulumi", PROGRAM, plugins=plugins)
        self.playbooks = self.project.folder / "playbooks"
        shutil.move(folder / "roles-of-the-test" / "playbooks", self.playbooks)

    def give(self, role: str = "note", **given: Any) -> None:
        """Sets the Playbook's inputs."""
        variables = {"note_folder": str(self.note)} if role == "note" else {}
        given = {"host": LOCAL, "role": role, "records": str(self.records), **given}
        document = {**given, "variables": {**variables, **given.get("variables", {})}}
        (self.project.folder / "given.json").write_text(json.dumps(document))

    def runs(self) -> list[dict[str, Any]]:
        """What the plugin's log says."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def modes(self) -> list[str]:
        return [run["mode"] for run in self.runs()]

    def state(self) -> dict[str, Any]:
        """The resource as the stack's state has it."""
        exported = json.loads(self.project.run("stack", "export").stdout)
        found: list[dict[str, Any]] = [
            resource
            for resource in exported["deployment"].get("resources", [])
            if resource["type"] == "playbook:index:Playbook"
        ]
        return found[0] if found else {}

    def move(self, host: dict[str, Any]) -> None:
        """Makes the state say that the layer is on another host."""
        changed = json.loads(self.project.run("stack", "export").stdout)
        for resource in changed["deployment"]["resources"]:
            if resource["type"] == "playbook:index:Playbook":
                resource["outputs"]["host"] = resource["inputs"]["host"] = host
        moved = self.folder / "moved.json"
        moved.write_text(json.dumps(changed))
        self.project.run("stack", "import", "--file", str(moved))

    def failed_up(self, *arguments: str) -> str:
        """What a failing `pulumi up` says."""
        done = self.project.run("up", "--yes", "--skip-preview", *arguments, check=False)
        assert done.returncode != 0, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    def left(self) -> list[str]:
        """Processes that a command has left behind; ssh's masters hide their environment, so names count too."""
        pids = {process.pid for process in self.project.processes()}
        return [
            f"{process.pid} {process.info['cmdline']}"
            for process in psutil.process_iter(["cmdline"])
            if process.pid in pids or str(self.folder) in " ".join(process.info["cmdline"] or [])
        ]


@pytest.fixture
def trial(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    monkeypatch.setenv("SLIPWAY_PLAYBOOK_LOG", "")  # restored after the test
    made = Trial(tmp_path, root)
    made.give()
    yield made
    made.project.kill_all()


def test_the_life_of_a_layer(trial: Trial) -> None:
    """Created, left alone, changed by a variable and by a template, drifted, mended, removed."""
    created = trial.project.up().stdout
    assert "changed: Note" in created
    assert (trial.note / "note.txt").read_text() == "hello\n"
    outputs = trial.project.outputs()
    assert outputs["results"] == {"folder": str(trial.note), "length": 5, "greeting": "hello"}
    assert (outputs["generation"], outputs["changed"], outputs["drift"]) == (0, 3, [])
    assert trial.modes() == ["apply"]

    began = time.monotonic()
    unchanged = trial.project.up().stdout
    print(f"an up without changes: {time.monotonic() - began:.2f} s")
    assert "2 unchanged" in unchanged
    assert trial.modes() == ["apply"]

    template = trial.playbooks / "roles/note/templates/note.j2"
    template.touch()
    assert "2 unchanged" in trial.project.run("preview").stdout
    template.write_text("Note: {{ note_text }}\n")
    previewed = trial.project.run("preview", "--diff").stdout
    assert "digest" in previewed
    assert "1 to update" in previewed
    assert trial.modes() == ["apply"]
    trial.project.up()
    assert (trial.note / "note.txt").read_text() == "Note: hello\n"
    assert trial.project.outputs()["generation"] == 1

    trial.give(variables={"note_text": "again {{ 1 + 1 }}"})
    trial.project.up()
    assert (trial.note / "note.txt").read_text() == "Note: again {{ 1 + 1 }}\n"

    (trial.note / "note.txt").write_text("by hand\n")
    (trial.note / "secret").write_text("by hand too\n")
    drifted = trial.project.run("preview", "--refresh", "--diff").stdout
    assert f"note: Note ({trial.note}/note.txt)" in drifted
    assert f"here (local): layer note has drifted: task 'Note' ({trial.note}/note.txt)" in drifted
    assert "-by hand" in drifted
    assert "layer note has drifted: task 'Secret'" in drifted
    assert "by hand too" not in drifted
    assert "1 to update" in drifted
    assert trial.modes()[-1] == "check"
    assert (trial.note / "note.txt").read_text() == "by hand\n"

    trial.project.up()
    assert trial.modes()[-1] == "check", "without a refresh nobody knows of the drift"
    trial.project.run("up", "--yes", "--skip-preview", "--refresh")
    assert (trial.note / "note.txt").read_text() == "Note: again {{ 1 + 1 }}\n"
    assert trial.project.outputs()["drift"] == []
    assert "drifted" not in trial.project.run("preview", "--refresh").stdout

    trial.project.run("destroy", "--yes", "--skip-preview")
    assert not trial.note.exists()
    last = trial.runs()[-1]
    assert (last["mode"], last["status"], last["host"], last["role"]) == ("remove", "ok", "here", "note")
    assert trial.log.stat().st_mode & 0o777 == 0o600


def test_drift_stays_known_after_a_refresh(trial: Trial) -> None:
    trial.project.up()
    shutil.rmtree(trial.note)
    trial.project.run("refresh", "--yes", "--skip-preview")
    assert len(trial.state()["outputs"]["drift"]) == 3
    assert "1 to update" in trial.project.run("preview").stdout
    trial.project.up()
    assert (trial.note / "note.txt").exists()
    assert trial.project.outputs()["drift"] == []


def test_a_refresh_runs_ansible_only_for_what_looks_otherwise(trial: Trial) -> None:
    """Three instances of one role: one look for all, and a check of the one that was changed by hand."""
    folders = {name: trial.folder / name for name in ("one", "two")}
    more = {name: {"note_folder": str(folder)} for name, folder in folders.items()}
    trial.give(more=more)
    trial.project.up()
    assert sorted(file.name for file in trial.records.iterdir()) == ["note.json", "one.json", "two.json"]
    began = time.monotonic()
    trial.project.run("preview", "--refresh", "--expect-no-changes")
    print(f"a refresh without drift: {time.monotonic() - began:.2f} s")
    assert trial.modes() == ["apply"] * 3

    (folders["two"] / "note.txt").write_text("by hand\n")
    (folders["two"] / "secret").chmod(0o644)
    drifted = trial.project.run("preview", "--refresh", "--diff").stdout
    assert f"here (local): layer two has drifted: task 'Note' ({folders['two']}/note.txt)" in drifted
    assert "layer two has drifted: task 'Secret'" in drifted
    assert [(run["mode"], run["instance"]) for run in trial.runs()[3:]] == [("check", "two")]
    trial.project.run("up", "--yes", "--skip-preview", "--refresh")
    trial.project.run("preview", "--refresh", "--expect-no-changes")
    assert [(run["mode"], run["instance"]) for run in trial.runs()[4:]] == [("check", "two"), ("apply", "two")]

    # Times and other files are none of the role's business.
    os.utime(folders["one"] / "note.txt", (1, 1))
    folders["one"].joinpath("foreign").write_text("x")
    before = len(trial.runs())
    trial.project.run("preview", "--refresh", "--expect-no-changes")
    assert len(trial.runs()) == before
    trial.project.run("preview", "--refresh", "--expect-no-changes", env={"SLIPWAY_DEEP": "1"})
    assert [run["mode"] for run in trial.runs()[before:]] == ["check"] * 3

    trial.give(more={"one": more["one"]})
    trial.project.up()
    assert not folders["two"].exists()
    assert sorted(file.name for file in trial.records.iterdir()) == ["note.json", "one.json"]
    trial.project.run("destroy", "--yes", "--skip-preview")
    assert not trial.records.exists()


def test_tasks_of_all_shapes_are_recorded(trial: Trial) -> None:
    """Loops, hidden tasks, an own module, commands that look and what a role looks for; no secret is in the record."""
    folder = trial.folder / "pieces"
    given = {"variables": {"pieces_folder": str(folder)}, "secrets": {"pieces_secret": CANARY}}
    trial.give("pieces", **given)
    trial.project.up()
    text = (trial.records / "pieces.json").read_text()
    assert CANARY not in text
    things = json.loads(text)["things"]
    paths = {Path(thing["path"]).name: thing for thing in things if thing["kind"] == "path"}
    assert paths.keys() == {"pieces", "one", "two", "three", "four", "marked", "once", "such"}
    assert [thing["kind"] for thing in things if thing["kind"] != "path"] == ["command", "names"]
    assert trial.project.outputs()["managed"] == len(things)

    for changed, task in [
        (folder / "two", "Loop"),
        (folder / "four", "Hidden loop"),
        (folder / "marked", "Own module"),
        (folder / "wanted", "Answer"),
        (folder / "stranger", "Remove strangers"),
    ]:
        changed.write_text("by hand")
        runs = len(trial.runs())
        found = trial.project.run("refresh", "--yes", "--skip-preview").stdout
        assert f"layer pieces has drifted: task '{task}'" in found
        assert [run["mode"] for run in trial.runs()[runs:]] == ["check"]
        trial.project.up()
    runs = len(trial.runs())
    trial.project.run("preview", "--refresh", "--expect-no-changes")
    assert len(trial.runs()) == runs


def test_a_role_with_an_unknown_module_is_always_checked(trial: Trial) -> None:
    folder = trial.folder / "pieces"
    trial.give("pieces", variables={"pieces_folder": str(folder), "pieces_secret": "x"})
    trial.project.up()
    assert trial.records.exists()
    trial.give("pieces", variables={"pieces_folder": str(folder), "pieces_secret": "x", "pieces_silent": True})
    trial.project.up()
    assert trial.project.outputs().get("managed") is None
    assert not trial.records.exists()
    trial.project.run("preview", "--refresh", "--expect-no-changes")
    assert trial.modes() == ["apply", "apply", "check"]


def test_refused_inputs_name_the_property_and_the_mend(trial: Trial) -> None:
    trial.give(role="gone", host={**LOCAL, "port": 99999})
    said = trial.failed_up()
    assert "host.port" in said
    assert "must be a whole number from 1 to 65535" in said
    assert "there are: note, pieces, stubborn" in said
    assert trial.runs() == []


def test_a_failed_task_says_what_failed_and_the_next_up_finishes(trial: Trial) -> None:
    trial.give("stubborn", variables={"stubborn_refuses": True}, secrets={"stubborn_secret": CANARY})
    said = trial.failed_up()
    assert "here (local): layer stubborn, task 'Refuse': exit code 7" in said
    assert "the [secret] is wrong" in said
    assert CANARY not in said
    assert trial.runs()[-1]["status"] == "task"
    # Half of it is on the host: the resource is known, and neither a refresh nor unchanged inputs make it look finished.
    trial.give("stubborn", secrets={"stubborn_secret": CANARY})
    finished = trial.project.run("up", "--yes", "--skip-preview", "--refresh").stdout
    assert "did not finish" in finished
    assert "1 updated" in finished
    assert trial.runs()[-1]["status"] == "ok"


def test_refused_variables_leave_no_resource(trial: Trial) -> None:
    trial.give(variables={"note_size": "large"})
    said = trial.failed_up()
    assert "here (local): layer note: the variables are not what the role accepts:" in said
    assert "note_size" in said
    assert trial.state() == {}


def test_a_run_that_takes_too_long_is_stopped(trial: Trial) -> None:
    gate = Gate(trial.folder / "gate")
    trial.give("stubborn", timeout=30, variables={"stubborn_gate": str(gate.path)})
    began = time.monotonic()
    said = trial.failed_up()
    gate.close()
    assert "layer stubborn: stopped after 30 s, during task 'Wait for the gate'." in said
    assert time.monotonic() - began < 90
    assert trial.project.gone_within(10) == []
    assert trial.left() == []


@pytest.mark.parametrize(
    ("number", "whom"), [(signal.SIGINT, "engine"), (signal.SIGKILL, "engine"), (signal.SIGTERM, "plugin")]
)
def test_an_interrupted_command_leaves_no_process(trial: Trial, number: signal.Signals, whom: str) -> None:
    gate = Gate(trial.folder / "gate")
    trial.give("stubborn", variables={"stubborn_gate": str(gate.path)})
    with trial.project.start("up", "--yes", "--skip-preview") as engine:
        gate.wait()
        gate.close()
        began = time.monotonic()
        if whom == "engine":
            engine.send_signal(number)
        else:
            plugin(trial).send_signal(number)
        said, _ = engine.communicate(timeout=60)
    left = trial.project.gone_within(10)
    print(f"{number.name} to the {whom}: all gone after {time.monotonic() - began:.2f} s")
    assert left == []
    assert trial.left() == []
    assert scratch_folders(trial) == []
    if number != signal.SIGKILL:
        assert "layer stubborn: interrupted during task 'Wait for the gate'" in said
        assert trial.runs()[-1]["status"] == "interrupted"
        trial.give("stubborn")
        assert "1 updated" in trial.project.up().stdout


def test_an_interrupted_look_leaves_no_process(trial: Trial) -> None:
    trial.project.up()
    gate = Gate(trial.folder / "gate")
    bin_folder = trial.folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "ssh").write_text(f"#!/bin/sh\n: > {gate.path}\nexec sleep 60\n")
    (bin_folder / "ssh").chmod(0o755)
    host = {"name": "far", "address": "127.0.0.1", "user": getpass.getuser()}
    trial.give(host=host)
    trial.move(host)
    trial.project.env["PATH"] = f"{bin_folder}:{trial.project.env['PATH']}"
    with trial.project.start("refresh", "--yes", "--skip-preview") as engine:
        gate.wait()
        gate.close()
        engine.send_signal(signal.SIGINT)
        said, _ = engine.communicate(timeout=60)
    assert "far (127.0.0.1): layer note: interrupted" in said
    assert trial.project.gone_within(10) == []
    assert trial.left() == []
    assert scratch_folders(trial) == []


def plugin(trial: Trial) -> psutil.Process:
    """The plugin's process: the outermost one that runs the provider."""
    found = [
        process
        for process in trial.project.processes()
        if any(part.endswith("/provider") for part in process.cmdline())
    ]
    return min(found, key=lambda process: process.pid)


def scratch_folders(trial: Trial) -> list[Path]:
    """Folders of plugins whose processes are gone."""
    return [
        folder
        for folder in paths.scratch_base().glob("slipway-playbook-*")
        if not psutil.pid_exists(int(folder.name.split("-")[2]))
    ]


def test_nothing_is_left_after_a_normal_end(trial: Trial) -> None:
    trial.project.up()
    assert trial.project.gone_within(10) == []
    assert trial.left() == []
    assert scratch_folders(trial) == []


def test_an_unreachable_host_is_named(trial: Trial) -> None:
    # Bound and not listened on: nobody is there, and nobody else is given the port meanwhile.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        host = {"name": "far", "address": "127.0.0.1", "port": port, "user": getpass.getuser()}
        trial.give(host=host)
        said = trial.failed_up()
        assert f"far (127.0.0.1): layer note: nothing listens for SSH on port {port}." in said
        # A refresh says so as well, instead of losing the resource.
        trial.give()
        trial.project.up()
        trial.give(host=host)
        assert trial.project.outputs()["managed"] == 3
        trial.move(host)
        before = trial.modes()
        refreshed = trial.project.run("refresh", "--yes", "--skip-preview", check=False)
        assert refreshed.returncode != 0
        assert f"far (127.0.0.1): layer note: nothing listens for SSH on port {port}." in refreshed.stdout
        assert trial.modes() == before, "the look tells it, without Ansible"


def test_a_secret_is_nowhere_but_where_the_role_puts_it(trial: Trial) -> None:
    """Not in output, state, log or temporary files, nor in any process's arguments or environment while the role runs."""
    began = time.time()
    gate = Gate(trial.folder / "gate")
    trial.give(secrets={"note_secret": TRICKY})
    said = trial.project.up().stdout
    assert (trial.note / "secret").read_text() == TRICKY
    (trial.note / "secret").write_text("by hand")
    said += trial.project.run("preview", "--refresh", "--diff").stdout
    trial.give(secrets={"note_secret": f"{TRICKY}!"})
    said += trial.project.run("preview", "--diff").stdout
    said += trial.project.up().stdout
    shutil.rmtree(trial.note)
    given = {"variables": {"stubborn_gate": str(gate.path)}, "secrets": {"stubborn_secret": TRICKY}}
    trial.give("stubborn", **given)
    with trial.project.start("up", "--yes", "--skip-preview", "--debug") as engine:
        gate.wait()
        gate.close()
        (trial.project.folder / "given.json").unlink()
        for process in psutil.process_iter():
            for part in ("cmdline", "environ"):
                assert CANARY.encode() not in read(Path(f"/proc/{process.pid}/{part}")), f"{part} of {process}"
        assert holding(paths.scratch_base(), began) == []
        assert holding(Path(tempfile.gettempdir()), began) == []
        engine.send_signal(signal.SIGINT)
        said += engine.communicate(timeout=60)[0]
    assert CANARY not in said
    assert "second line of it" not in said
    assert holding(trial.folder, began) == []
    exported = trial.project.run("stack", "export").stdout
    assert CANARY not in exported
    assert "note_secret" in exported or "stubborn_secret" in exported


def holding(folder: Path, since: float) -> list[Path]:
    """Files written since then that hold the secret in clear; not those of other file systems, such as somebody's /proc."""
    found = []
    device = folder.stat().st_dev
    for current, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _device(Path(current) / name) == device]
        for file in (Path(current) / name for name in names):
            with contextlib.suppress(OSError):
                state = file.lstat()
                if stat.S_ISREG(state.st_mode) and state.st_mtime >= since - 1 and CANARY.encode() in read(file):
                    found.append(file)
    return found


def _device(folder: Path) -> int | None:
    try:
        return folder.lstat().st_dev
    except OSError:
        return None


def read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_what_another_name_has_applied_since_is_not_removed(trial: Trial) -> None:
    """As after a rename of the host whose command was killed before it came to the removals."""
    trial.project.up()
    trial.move({**LOCAL, "name": "former"})
    said = trial.project.run("destroy", "--yes", "--skip-preview").stdout
    assert "under the name here, so nothing is removed from the host" in said
    assert (trial.note / "note.txt").read_text() == "hello\n"
    assert trial.modes() == ["apply"]
    assert trial.state() == {}

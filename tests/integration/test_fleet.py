"""Hosts that may be missing, with the real engine: one that refuses itself, or can't be reached, fails alone."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pulumi_project import PulumiProject

pytestmark = pytest.mark.rare

FIXTURES = Path(__file__).parent / "fixtures" / "playbooks"
GROUP = "pools.gpu.may_be_missing"
PROGRAM = """
import json
import os

import pulumi

from provider.resource import HostArgs, Playbook, Quorum

given = json.load(open("given.json"))
looks, above, rest = {}, {}, {"role": "note", "records": given["records"]}
for name, host in given["hosts"].items():
    refuses = host.pop("refuses", False)
    most = {"group": "%s", "most": given["most"]}
    where = HostArgs(name=name, become=False, **host)
    looks[name] = Playbook(
        f"{name}/look", host=where, instance=f"{name}-look", role="stubborn", records=given["records"],
        variables={"stubborn_refuses": os.path.exists(refuses) if refuses else False, "stubborn_changes": False},
        absence={**most, "refused": True},
    )
quorum = Quorum("gpu", group="%s", most=given["most"], hosts={name: look.missing for name, look in looks.items()})
for name, host in given["hosts"].items():
    above[name] = Playbook(
        f"{name}/note", host=HostArgs(name=name, become=False, **host), instance=f"{name}-note", **rest,
        variables={"note_folder": os.path.join(given["folder"], name), "note_text": given["text"]},
        absence={"group": "%s", "most": given["most"]},
        opts=pulumi.ResourceOptions(depends_on=[quorum]),
    )
pulumi.export("missing", quorum.missing)
""" % ((GROUP,) * 3)


class Hosts:
    """A project with four hosts, all of them this machine."""

    def __init__(self, folder: Path, root: Path) -> None:
        plugins = {"providers": [{"name": "playbook", "path": str(root / "provider")}]}
        self.folder, self.log = folder, folder / "playbook.log"
        self.project = PulumiProject(folder / "pulumi", PROGRAM, plugins=plugins)
        self.project.env["SLIPWAY_PLAYBOOK_LOG"] = str(self.log)
        shutil.copytree(FIXTURES, self.project.folder / "playbooks")
        self.hosts: dict[str, dict[str, Any]] = {f"gpu-{number}": {"connection": "local"} for number in range(1, 5)}

    def given(self, *, most: int = 1, text: str = "one") -> None:
        document = {
            "hosts": self.hosts,
            "most": most,
            "text": text,
            "folder": str(self.folder),
            "records": str(self.folder / "records"),
        }
        (self.project.folder / "given.json").write_text(json.dumps(document))

    def up(self, *, check: bool = True) -> str:
        done = self.project.run("up", "--yes", "--skip-preview", check=False, timeout=400)
        assert (done.returncode == 0) is check, done.stdout + done.stderr
        return done.stdout

    def runs(self) -> list[str]:
        if not self.log.exists():
            return []
        return [json.loads(line)["instance"] for line in self.log.read_text().splitlines()]

    def runs_of_an_up(self) -> list[str]:
        before = len(self.runs())
        self.up()
        return sorted(self.runs()[before:])

    def missing(self) -> dict[str, str]:
        said: dict[str, str] = json.loads(self.project.run("stack", "output", "missing", "--json").stdout)
        return said

    def note(self, name: str) -> str | None:
        """What the layer above has written for a host; None where it has written nothing."""
        files = sorted(file for file in (self.folder / name).rglob("*") if file.is_file())
        return "".join(file.read_text() for file in files) if files else None


@pytest.fixture
def hosts(tmp_path: Path, root: Path) -> Iterator[Hosts]:
    made = Hosts(tmp_path, root)
    yield made
    made.project.kill_all()


@pytest.fixture
def away() -> Iterator[dict[str, Any]]:
    """Where nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield {"address": "127.0.0.1", "port": closed.getsockname()[1], "user": getpass.getuser()}


def test_one_that_is_refused_is_left_out_and_taken_in_once_it_is_not(hosts: Hosts) -> None:
    fault = hosts.folder / "fault"
    fault.touch()
    hosts.hosts["gpu-3"]["refuses"] = str(fault)
    hosts.given()

    said = hosts.up()

    assert "gpu-3 (local): layer gpu-3-look, task 'Refuse': exit code 7" in said
    assert f"It is left out: {GROUP} lets 1 be missing, and the next `pulumi up` takes it in." in said
    assert list(hosts.missing()) == ["gpu-3"]
    assert "Refuse" in hosts.missing()["gpu-3"]
    assert [hosts.note(name) is None for name in hosts.hosts] == [False, False, True, False]

    assert hosts.runs_of_an_up() == ["gpu-3-look"], "it alone is looked at again"
    assert list(hosts.missing()) == ["gpu-3"]

    fault.unlink()
    assert hosts.runs_of_an_up() == ["gpu-3-look", "gpu-3-note"]
    assert hosts.missing() == {}
    assert hosts.note("gpu-3") is not None
    assert hosts.runs_of_an_up() == []


def test_more_than_may_be_missing_are_refused_in_one_message_with_all_names(hosts: Hosts, away: dict[str, Any]) -> None:
    hosts.hosts |= {"gpu-2": away, "gpu-4": away}
    hosts.given()

    said = hosts.up(check=False)

    # The engine shows it as it comes, and again at the end.
    told = said[said.rindex(f"{GROUP} lets 1 be missing, and 2 are") :].splitlines()
    assert [line.split(":")[0].strip() for line in told[1:3]] == ["gpu-2", "gpu-4"], told
    assert "gpu-2 (127.0.0.1): layer gpu-2-look: " in told[1]
    assert [hosts.note(name) for name in hosts.hosts] == [None] * 4


def test_one_that_went_away_since_is_no_drift_and_no_error(hosts: Hosts, away: dict[str, Any]) -> None:
    hosts.hosts["gpu-4"] = away
    hosts.given(most=1)
    hosts.up()
    state = json.loads(hosts.project.run("stack", "export").stdout)
    for resource in state["deployment"]["resources"]:
        # As if it had been applied, and had gone away only then.
        if resource["urn"].endswith(("gpu-4/look", "gpu-4/note")):
            outputs = resource["outputs"]
            outputs |= {"missing": "", "digest": resource["inputs"]["digest"], "changed": 1, "managed": 1}
        if resource["type"].endswith("Quorum"):
            resource["inputs"]["hosts"]["gpu-4"] = resource["outputs"]["hosts"]["gpu-4"] = ""
            resource["outputs"]["missing"] = {}
    file = hosts.folder / "state.json"
    file.write_text(json.dumps(state))
    hosts.project.run("stack", "import", "--file", str(file))

    hosts.project.env["SLIPWAY_LOOK_ONLY"] = "1"
    drift = hosts.project.run("preview", "--refresh", "--expect-no-changes", check=False)
    del hosts.project.env["SLIPWAY_LOOK_ONLY"]
    said = hosts.up()

    assert drift.returncode == 0, drift.stdout
    assert f"It was not looked at: {GROUP} lets 1 be missing." in drift.stdout
    assert "It is left out" in said
    assert list(hosts.missing()) == ["gpu-4"]


def test_one_that_is_found_away_in_a_later_layer_is_left_out_as_well(hosts: Hosts, away: dict[str, Any]) -> None:
    hosts.given()
    hosts.up()
    before = {name: hosts.note(name) for name in hosts.hosts}
    hosts.hosts["gpu-2"] = away
    hosts.given(text="two")

    hosts.up()

    assert {name: hosts.note(name) == before[name] for name in hosts.hosts} == {
        "gpu-1": False,
        "gpu-2": True,
        "gpu-3": False,
        "gpu-4": False,
    }


def test_what_was_never_applied_to_a_missing_host_is_removed_without_asking_it(
    hosts: Hosts, away: dict[str, Any]
) -> None:
    hosts.hosts["gpu-4"] = away
    hosts.given()
    hosts.up()

    hosts.project.run("destroy", "--yes", "--skip-preview")

    assert [hosts.note(name) for name in hosts.hosts] == [None] * 4

"""What `slipway upgrade` asks of the real engine: what would change, an `up` of one host, an answer asked for once more.

The roles run on this very machine; two hosts are two names of it.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import pulumi as driver
from cli.errors import UserError
from cli.pulumi import PulumiStack
from slipway.upgrade.changes import applied, changes_of
from tests.integration.pulumi_project import PulumiProject
from tests.integration.test_playbook import FIXTURES

# Like a stack: a component of layers, an engine on each of two hosts, and what asks both after each of their runs.
pytestmark = pytest.mark.rare

PROGRAM = """
import json

import pulumi

from provider.resource import HostArgs, Playbook

given = json.load(open("given.json"))
platform = pulumi.ComponentResource("slipway:index:Platform", "platform", {"text": given["text"]})


def layer(name):
    return pulumi.ComponentResource(f"slipway:layers:{name}", name, {}, pulumi.ResourceOptions(parent=platform))


def role(parent, key, after=()):
    host, instance = key.split("/")
    if given.get("fails") == key:
        raise pulumi.RunError(f"{key} is refused")
    return Playbook(
        key,
        host=HostArgs(name=host, connection="local", become=False),
        role="note",
        instance=instance,
        variables={"note_folder": f"{given['folder']}/{host}-{instance}", "note_text": given["text"]
            if instance == "m" else "x"},
        records=f"{given['folder']}/records",
        triggers=[each.generation for each in after] or None,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )


engines = layer("Engines")
heads = [role(engines, key) for key in given["engines"]]
role(layer("Acceptance"), "a/acceptance", heads)
"""


class Trial:
    """A project whose text every engine writes to a file of its own."""

    def __init__(self, folder: Path, root: Path) -> None:
        plugins = {"providers": [{"name": "playbook", "path": str(root / "provider")}]}
        self.folder = folder
        self.log = folder / "playbook.log"
        self.project = PulumiProject(folder / "pulumi", PROGRAM, plugins=plugins)
        self.project.env["SLIPWAY_PLAYBOOK_LOG"] = str(self.log)
        shutil.copytree(FIXTURES, self.project.folder / "playbooks")
        self.give("one")

    def give(self, text: str, *engines: str, fails: str = "") -> None:
        given = {"text": text, "folder": str(self.folder), "engines": engines or ("a/m", "b/m"), "fails": fails}
        (self.project.folder / "given.json").write_text(json.dumps(given))

    def text(self, host: str) -> str:
        return (self.folder / f"{host}-m/note.txt").read_text()

    def runs(self) -> list[str]:
        """What was applied or removed since the last look."""
        if not self.log.exists():
            return []
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        self.log.unlink()
        return [f"{run['mode']} {run['host']}/{run['instance']}" for run in found]


@pytest.fixture
def trial(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    made = Trial(tmp_path, root)
    monkeypatch.setattr(driver, "ROOT", made.project.folder)
    monkeypatch.setattr(driver, "stack_environment", lambda _: made.project.env)
    yield made
    made.project.kill_all()


def test_one_host_changes_and_the_rest_stays_due(trial: Trial) -> None:
    stack = PulumiStack("test")
    stack.up(to_stderr=True)
    urns = {f"{machine}/{instance}": urn for machine, instance, urn in applied(stack.resources())}
    assert list(urns) == ["a/m", "b/m", "a/acceptance"]
    assert changes_of(stack.preview()) == ()
    assert sorted(trial.runs()) == ["apply a/acceptance", "apply a/m", "apply b/m"]

    trial.give("two")
    found = changes_of(stack.preview())
    assert {(each.key, each.kind) for each in found} == {(key, "update") for key in urns}
    proof = next(each for each in found if each.instance == "acceptance")
    assert {urns["a/m"], urns["b/m"]} <= set(proof.needs)
    assert trial.runs() == []

    stack.up(to_stderr=True, targets=[urns["b/m"], urns["a/acceptance"]])
    assert trial.runs() == ["apply b/m", "apply a/acceptance"]
    assert (trial.text("a"), trial.text("b")) == ("one\n", "two\n")
    # A run that was killed here goes on with the host that is not done.
    assert {each.key for each in changes_of(stack.preview())} == {"a/m", "a/acceptance"}

    stack.up(to_stderr=True, replaces=[urns["a/acceptance"]])
    assert trial.runs() == ["apply a/acceptance"]
    assert trial.text("a") == "one\n"

    stack.up(to_stderr=True, targets=[urns["a/m"], urns["a/acceptance"]])
    assert trial.runs() == ["apply a/m", "apply a/acceptance"]
    assert changes_of(stack.preview()) == ()


def test_a_look_at_one_role_mends_that_one_alone(trial: Trial) -> None:
    """As after a host's new kernel, of which the driver's role takes note."""
    stack = PulumiStack("test")
    stack.up(to_stderr=True)
    urns = {f"{machine}/{instance}": urn for machine, instance, urn in applied(stack.resources())}
    for host in "ab":
        (trial.folder / f"{host}-m/note.txt").write_text("by hand\n")
    trial.runs()
    stack.up(to_stderr=True, targets=[urns["a/m"]], refresh=True)
    assert [each for each in trial.runs() if each.startswith("apply")] == ["apply a/m"]
    assert (trial.text("a"), trial.text("b")) == ("one\n", "by hand\n")


def test_what_needs_something_new_elsewhere_says_so(trial: Trial) -> None:
    stack = PulumiStack("test")
    stack.up(to_stderr=True)
    trial.give("one", "a/m", "b/m", "c/m")
    found = {each.key: each for each in changes_of(stack.preview())}
    assert found["c/m"].kind == "create"
    assert found["c/m"].urn in found["a/acceptance"].needs
    stack.up(to_stderr=True, targets=[found["c/m"].urn])
    assert trial.text("c") == "one\n"


def test_a_refused_preview_says_why(trial: Trial) -> None:
    trial.give("one", fails="b/m")
    with pytest.raises(UserError, match=r"pulumi preview of test failed; nothing was touched\n.*b/m is refused"):
        PulumiStack("test").preview()

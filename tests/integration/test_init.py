"""`slipway init` under the real engine: what it writes previews as it stands, and no host is asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cli import init
from slipway.catalog import load
from slipway.paths import ROOT
from slipway.performance.plan import plan
from slipway.performance.plan_types import Question
from slipway.settings.load import read_raw, secret_variables
from tests.integration.pulumi_project import PulumiProject

PROGRAM = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom components.program import main\n\nmain()\n"
KEY = "a1b2c3d4e5f60718293a4b5c6d7e8f9{:x}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulumiProject]:
    """The program in a project of the test's own, whose stack has no settings yet; a home without SSH keys."""
    home = tmp_path / "home-of-nobody"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    made = PulumiProject(
        tmp_path,
        PROGRAM,
        name="slipway",
        stackConfigDir="stacks",
        plugins={"providers": [{"name": "playbook", "path": str(ROOT / "provider")}]},
    )
    (made.folder / "playbooks").symlink_to(ROOT / "playbooks")
    yield made
    made.kill_all()


def preview(project: PulumiProject) -> str:
    raw = read_raw("test", project.folder)
    keys = {variable: KEY.format(number) for number, variable in enumerate(secret_variables(raw))}
    return project.run("preview", env={**keys, "PULUMI_ERROR_OUTPUT_STRING": "true"}).stdout


def created(said: str) -> int:
    found = re.search(r"\+ (\d+) to create", said)
    assert found is not None, said
    return int(found[1])


def test_one_host_previews_without_edits(project: PulumiProject) -> None:
    options = init.Options(stack="test", model="Qwen/Qwen2.5-7B-Instruct", tier="poc", force=True)
    init.make(options, as_json=False, root=project.folder)
    said = preview(project)
    assert "test-1" in said
    assert created(said) >= 6
    assert "warning" not in said
    assert "192.0.2.11" in (project.folder / "stacks" / "Pulumi.test.yaml").read_text()


def test_a_plan_for_several_hosts_previews_without_edits(project: PulumiProject, tmp_path: Path) -> None:
    # Each host that is asked for runs an engine; one gateway and one front stand before all.
    question = Question(model="Qwen/Qwen2.5-7B-Instruct", users=2000, tiers=("poc",), places=("on-premises",))
    answer = plan(question, load())
    hosts = answer.options[0].hosts
    assert hosts > 1
    file = tmp_path / "plan.json"
    file.write_bytes(msgspec.json.encode(answer))
    options = init.Options(stack="test", from_plan=file, option=1, teams=("research", "on"), force=True)
    init.make(options, as_json=False, root=project.folder)
    said = preview(project)
    assert created(said) > 6 * 1
    for number in range(1, hosts + 1):
        assert f"test-{number}" in said


def test_the_questions_at_a_terminal(tmp_path: Path) -> None:
    """Every question is answered with Enter: a stack with all defaults."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    program = (
        "import sys; from pathlib import Path; from cli import init;"
        "init.make(init.Options(stack='asked'), as_json=False, root=Path(sys.argv[1]))"
    )
    ours, theirs = os.openpty()
    child = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"\n" * 8)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # what a terminal says when its last user has gone
        pass
    finally:
        os.close(ours)
    assert child.wait() == 0, said.decode()
    assert b"Tier" in said
    text = (folder / "stacks" / "Pulumi.asked.yaml").read_text()
    assert "From a plan for 20 users" in text

"""Documents say what is so: commands exist, links lead somewhere, figures carry their command, nothing names a machine."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from slipway.layers import LAYERS
from slipway.paths import ROOT
from tests.documents import console_lines
from tests.unit.sizing.models import LLAMA_8B
from tools.lab.model import make_tiny_gguf

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))]
COMPUTING = ("size", "plan", "tiers", "models", "gpus", "engines", "check", "clients", "policies")


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_tables_of_layers_are_the_layers(document: str) -> None:
    table = (ROOT / document).read_text().partition("| layer |")[2].partition("\n\n")[0]
    assert re.findall(r"^ *\| ([a-z]+) \|", table, re.MULTILINE) == [layer.name for layer in LAYERS]


def test_readme_shows_the_two_commands_first(root: Path) -> None:
    assert console_lines(root / "README.md")[:2] == ["make up", "make test"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(root: Path, document: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (root / "Makefile").read_text(), re.MULTILINE))
    spans = re.findall(r"`([^`\n]+)`", (root / document).read_text())
    code = "\n".join([*console_lines(root / document), *spans])
    assert set(re.findall(r"\bmake ([a-z0-9-]+)\b", code)) <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_slipway_commands_exist(root: Path, document: str) -> None:
    for command in set(
        re.findall(r"\bslipway (lab up|lab down|lab list|[a-z]+)\b", "\n".join(console_lines(root / document)))
    ):
        result = CliRunner().invoke(app, [*command.split(), "--help"])
        assert result.exit_code == 0, command


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (document, line)
        for document in DOCUMENTS
        for line in console_lines(ROOT / document)
        if line.startswith(tuple(f"slipway {command}" for command in COMPUTING))
    ],
)
def test_computing_commands_run_as_they_stand(document: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model/config.json").write_text(json.dumps(LLAMA_8B))
    make_tiny_gguf(tmp_path / "model-Q4_K_M.gguf")
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *shlex.split(line)[1:]],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, (document, done.stderr)
    # How a file is put to use is told beside it.
    assert not done.stderr or line.startswith("slipway clients"), (document, done.stderr)
    assert done.stdout


@pytest.mark.parametrize("document", [*DOCUMENTS, "docs/reference/playbook-resource.md", "docs/benchmarks.md"])
def test_links_lead_somewhere(root: Path, document: str) -> None:
    file = root / document
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text()):
        assert (file.parent / target).exists(), target


def test_every_command_of_the_line_has_help() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in ("up", "down", "env", "chat", "schema", "reference", "lab"):
        assert command in result.output


def test_nothing_names_a_machine_or_a_registry(root: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    hosts = [
        "py" + "pi.org",
        "python" + "hosted.org",
        "deb." + "debian.org",
        "proxy." + "golang.org",
        "registry.npm" + "js.org",
    ]
    for name in filter(None, tracked.split("\0")):
        if not (root / name).is_file():
            continue
        text = (root / name).read_text(errors="replace")
        assert not [host for host in hosts if host in text], name
        assert str(root) + "/" not in text, name

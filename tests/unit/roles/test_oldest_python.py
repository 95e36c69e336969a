"""What runs in a host's own Python runs in the oldest one: RHEL 9's 3.9, within what ansible-core asks of a target."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.roles.loading import PLAYBOOKS

ROOT = PLAYBOOKS.parent
OLDEST = "3.9"
ON_HOSTS = sorted(
    [
        *PLAYBOOKS.glob("library/*.py"),
        *PLAYBOOKS.glob("module_utils/**/*.py"),
        PLAYBOOKS / "roles/ollama/files/ollama_create.py",
        *(ROOT / "provider" / name for name in ("record.py", "sight.py")),
    ]
)


def needs(*files: Path) -> subprocess.CompletedProcess[str]:
    """What vermin says of files: syntax, and the standard library with its parameters."""
    start = "import vermin; vermin.main()"
    command = [sys.executable, "-c", start, f"-t={OLDEST}-", "--violations", "--no-tips", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_nothing_on_hosts_needs_a_newer_one() -> None:
    assert len(ON_HOSTS) > 15
    done = needs(*ON_HOSTS)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "newer",
    [
        "match x:\n    case 1: pass\n",
        "zip([], [], strict=True)\n",
        "import datetime\ndatetime.UTC\n",
        "import tomllib\n",
        "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass A: ...\n",
        "import itertools\nitertools.pairwise([])\n",
    ],
)
def test_what_is_newer_is_found(tmp_path: Path, newer: str) -> None:
    (tmp_path / "newer.py").write_text(newer)
    done = needs(tmp_path / "newer.py")
    assert done.returncode != 0
    assert f"Target versions not met:   {OLDEST}-" in done.stdout, done.stderr


def test_annotations_are_not_evaluated() -> None:
    """They name types in a way that 3.9 can write but not compute."""
    for file in ON_HOSTS:
        text = file.read_text()
        assert "from __future__ import annotations" in text or not re.search(r"(->|: \w+) .*\|", text), file


def test_ansible_core_still_runs_there() -> None:
    basic = (Path(__import__("ansible").__file__).parent / "module_utils/basic.py").read_text()
    match = re.search(r"_PY_MIN = \((\d+), (\d+)\)", basic)
    assert match is not None
    assert (int(match[1]), int(match[2])) <= tuple(int(part) for part in OLDEST.split("."))

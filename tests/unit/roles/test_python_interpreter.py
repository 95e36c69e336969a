"""The interpreter that environments are made from: the system's, or one of uv's builds. uv is a stand-in that notes its call."""

import importlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.loading import load

interpreter = load("library/python_interpreter.py")
environment = load("library/python_environment.py")
systems = importlib.import_module("ansible.module_utils.slipway_systems")
JAMMY = next(system for system in systems.SYSTEMS if system.standalone)
# What uv 0.13.8 said of an archive on a mirror that was not the one it knows.
MISMATCH = """\
error: Failed to install cpython-3.12.16-linux-x86_64-gnu
  cause: Hash mismatch for `cpython-3.12.16-linux-x86_64-gnu`

         Expected:
         6a9e62dad033790aef722dbd370e0ce76ce17b73627ba3ae679f537049350b39

         Computed:
         0e4b70e2e77647d91728b7ebddb20512d7c1c5b3ec1e797c8f9b378630ec7ba9
"""


@pytest.fixture
def jammy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ubuntu 22.04, its interpreter's folder in the test's own."""
    python = str(tmp_path / "python" / f"cpython-{systems.STANDALONE}-linux-{{machine}}-gnu" / "bin" / "python3.12")
    monkeypatch.setattr(interpreter, "PYTHON_FOLDER", str(tmp_path / "python"))
    return systems.System(
        name="U", identities=("ubuntu",), oldest=(22, 4), python=python, standalone=systems.STANDALONE
    )


def uv(folder: Path, script: str) -> str:
    """A stand-in for uv that notes its arguments and environment, then runs a script."""
    program = folder / "uv"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"open({str(folder / 'call.json')!r}, 'w').write(json.dumps([sys.argv[1:], dict(os.environ)]))\n{script}\n"
    )
    program.chmod(0o755)
    return str(program)


def test_it_is_where_uv_puts_it() -> None:
    folder = f"cpython-{systems.STANDALONE}-linux-{platform.machine()}-gnu"
    assert JAMMY.interpreter == f"/opt/slipway/python/{folder}/bin/python3.12"


def test_a_release_of_its_own_is_missing_until_it_runs(tmp_path: Path, jammy: Any) -> None:
    assert interpreter.missing(jammy)
    python = Path(jammy.interpreter)
    python.parent.mkdir(parents=True)
    for release, missing in ((systems.STANDALONE, False), ("3.12.1", True)):
        python.write_text(f"#!/bin/sh\necho {release}\n")
        python.chmod(0o755)
        assert interpreter.missing(jammy) is missing


def test_uv_is_told_what_to_fetch_and_from_where(tmp_path: Path, jammy: Any) -> None:
    assert interpreter.fetch(jammy, uv(tmp_path, ""), "https://mirror.example/python") == ""
    arguments, variables = json.loads((tmp_path / "call.json").read_text())
    assert arguments[:2] == ["python", "install"]
    assert arguments[-3:] == ["--install-dir", str(tmp_path / "python"), systems.STANDALONE]
    assert variables["UV_PYTHON_INSTALL_MIRROR"] == "https://mirror.example/python"
    assert variables["UV_PYTHON_DOWNLOADS"] == "manual"


def test_without_a_mirror_uvs_own_configuration_decides(tmp_path: Path, jammy: Any) -> None:
    interpreter.fetch(jammy, uv(tmp_path, ""), "")
    assert "UV_PYTHON_INSTALL_MIRROR" not in json.loads((tmp_path / "call.json").read_text())[1]


def test_what_uv_says_is_told(tmp_path: Path, jammy: Any) -> None:
    said = interpreter.fetch(jammy, uv(tmp_path, f"sys.exit({MISMATCH!r})"), "")
    python = "cpython-3.12.16-linux-x86_64-gnu"
    assert said == f"error: Failed to install {python} / cause: Hash mismatch for `{python}`"


@pytest.mark.parametrize("name", ["Debian 12", "Debian 13", "Ubuntu 24.04"])
def test_environments_are_made_from_the_systems_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = next(system for system in systems.SYSTEMS if system.name == name)
    monkeypatch.setattr(environment, "this_system", lambda: system)
    assert environment.own_interpreter() == "/usr/bin/python3"


def test_environments_are_made_from_another_where_its_own_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    for system in systems.SYSTEMS:
        monkeypatch.setattr(environment, "this_system", lambda found=system: found)
        if system.name in {"Ubuntu 22.04", "RHEL 9.4"}:
            assert environment.own_interpreter().endswith("/bin/python3.12")

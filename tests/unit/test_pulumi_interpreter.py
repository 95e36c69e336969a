"""Which Python a program or plugin gets, and which providers its SDK packages ask for."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.pulumi.interpreter import Interpreter, InterpreterError, Place, RequiredPackage, required_packages


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PULUMI_PYTHON_CMD", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)


def virtualenv(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch(mode=0o755)
    return folder


def place(folder: Path, *, is_plugin: bool = False, program: str = ".", **options: Any) -> Place:
    return Place(folder, folder / program, options, is_plugin=is_plugin)


class TestInterpreter:
    def test_the_named_environment_counts_from_the_projects_folder(self, tmp_path: Path) -> None:
        made = virtualenv(tmp_path / "env")
        found = place(tmp_path, virtualenv="env", program="app").interpreter()
        assert found == Interpreter(made / "bin" / "python", made)

    def test_a_missing_one_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(
            InterpreterError, match=r"env \(runtime\.options\.virtualenv\) has no Python.*pulumi install"
        ):
            place(tmp_path, virtualenv="env").interpreter()

    def test_without_one_it_is_the_hosts(self, tmp_path: Path) -> None:
        assert place(tmp_path).interpreter().python == Path(sys.executable)

    def test_the_active_one_goes_before_the_hosts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        active = virtualenv(tmp_path / "active")
        monkeypatch.setenv("VIRTUAL_ENV", str(active))
        assert place(tmp_path).interpreter().virtualenv == active

    def test_the_named_command_goes_before_both(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        named = virtualenv(tmp_path / "named") / "bin" / "python"
        monkeypatch.setenv("VIRTUAL_ENV", str(virtualenv(tmp_path / "active")))
        monkeypatch.setenv("PULUMI_PYTHON_CMD", str(named))
        assert place(tmp_path).interpreter() == Interpreter(named)

    def test_uv_has_its_own_beside_the_lock(self, tmp_path: Path) -> None:
        made = virtualenv(tmp_path / ".venv")
        (tmp_path / "uv.lock").touch()
        (tmp_path / "app").mkdir()
        assert place(tmp_path, program="app").interpreter().virtualenv == made

    def test_a_plugins_own_is_found(self, tmp_path: Path) -> None:
        made = virtualenv(tmp_path / "venv")
        assert place(tmp_path, is_plugin=True).interpreter().virtualenv == made
        assert place(tmp_path).interpreter().virtualenv != made

    @pytest.mark.parametrize(
        ("options", "named"),
        [({"toolchain": "poetry"}, "toolchain poetry"), ({"typechecker": "mypy"}, "typechecker mypy")],
    )
    def test_what_it_lacks_is_refused(self, tmp_path: Path, options: dict[str, Any], named: str) -> None:
        with pytest.raises(InterpreterError, match=named):
            place(tmp_path, **options).interpreter()

    def test_its_environment_is_active(self, tmp_path: Path) -> None:
        env = Interpreter(tmp_path / "bin" / "python", tmp_path).environment({"PATH": "/usr/bin", "PYTHONHOME": "/x"})
        assert env == {"PATH": f"{tmp_path}/bin:/usr/bin", "VIRTUAL_ENV": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def test_required_packages(tmp_path: Path) -> None:
    packages = virtualenv(tmp_path) / "lib" / "python3.12" / "site-packages"
    parameterization = {"name": "own", "version": "2.0.0", "value": base64.b64encode(b"schema").decode()}
    for name, described in {
        "pulumi_aws": {"resource": True, "name": "aws", "version": "7.1.0"},
        "pulumi_own_thing": {"resource": True, "server": "https://example.org", "parameterization": parameterization},
        "pulumi_policy": {"resource": False},
    }.items():
        (packages / name).mkdir(parents=True)
        (packages / name / "pulumi-plugin.json").write_text(json.dumps(described))
    (packages / "pulumi_own_thing-3.2.1.dist-info").mkdir()
    (packages / "pulumi_own_thing-3.2.1.dist-info" / "METADATA").write_text("Name: pulumi-own-thing\nVersion: 3.2.1\n")
    (packages / "broken").mkdir()
    (packages / "broken" / "pulumi-plugin.json").write_text("{")
    found = list(required_packages(Interpreter(tmp_path / "bin" / "python", tmp_path)))
    assert found == [
        RequiredPackage("aws", "7.1.0", ""),
        RequiredPackage("own-thing", "3.2.1", "https://example.org", ("own", "2.0.0", b"schema")),
    ]

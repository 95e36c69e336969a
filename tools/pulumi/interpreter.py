"""Which Python runs a program or a plugin, as `runtime.options` of its Pulumi.yaml says.

Options: `virtualenv` (a path, from the project's folder) and `toolchain` (`pip`, `uv` or `auto`). Without a virtualenv,
`uv` means its own `.venv` beside uv.lock or pyproject.toml, and `pip` means PULUMI_PYTHON_CMD, the active virtual
environment, or the Python of this host, in this order. Other options (`typechecker`, the toolchain `poetry`) are
refused and not ignored: the official language host has them.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_SUPPORTED_TOOLCHAINS = ("auto", "pip", "uv")

LIST_DISTRIBUTIONS = """
import json, re, sys
from importlib import metadata
found, required = {}, set()
for distribution in metadata.distributions():
    name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
    if name:
        found.setdefault(name, distribution.version)
        for requirement in distribution.requires or []:
            if "extra ==" not in requirement:
                required.add(re.sub(r"[-_.]+", "-", re.match(r"[\\w.-]+", requirement)[0]).lower())
print(json.dumps({n: v for n, v in sorted(found.items()) if sys.argv[1] == "all" or n not in required}))
"""
"""Run by the chosen Python with the argument `all` or `top`: {distribution: version} as JSON."""


class InterpreterError(Exception):
    """The options can't be honoured; the text is for the person who wrote them."""


@dataclass(frozen=True)
class Interpreter:
    """A Python executable, and the virtual environment it belongs to, if it was chosen by one."""

    python: Path
    virtualenv: Path | None = None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment of what this Python runs: the virtual environment active, output unbuffered."""
        env = {**base, "PYTHONUNBUFFERED": "1"}
        if self.virtualenv is not None:
            env.pop("PYTHONHOME", None)
            env["VIRTUAL_ENV"] = str(self.virtualenv)
            env["PATH"] = os.pathsep.join(part for part in (str(self.virtualenv / "bin"), base.get("PATH", "")) if part)
        return env


@dataclass(frozen=True)
class Place:
    """What the engine says of a program or plugin: its folders, and `runtime.options` of its YAML file."""

    root: Path
    program: Path
    options: Mapping[str, Any]
    is_plugin: bool = False

    def toolchain(self) -> str:
        """`pip` or `uv`.

        Raises:
            InterpreterError: an option is not supported here.
        """
        name = str(self.options.get("toolchain") or "auto").lower()
        if name == "auto":
            if _above(self.program, "uv.lock"):
                name = "uv"
            elif _above(self.program, "poetry.lock"):
                name = "poetry"
            else:
                name = "pip"
        unsupported = []
        if name not in _SUPPORTED_TOOLCHAINS:
            unsupported.append(f"toolchain {name}")
        if self.options.get("typechecker"):
            unsupported.append(f"typechecker {self.options['typechecker']}")
        if unsupported:
            raise InterpreterError(
                f"{self.root}: {' and '.join(unsupported)} (runtime.options) can't be used with Slipway's own language "
                "host: set toolchain to pip or uv and leave typechecker out, or install Pulumi's official release, "
                "which has them"
            )
        return name

    def virtualenv(self) -> Path | None:
        """The virtual environment to use, whether it exists or not."""
        toolchain = self.toolchain()
        named = self.options.get("virtualenv")
        if named:
            return self.root / str(named)
        if toolchain == "uv":
            home = _above(self.program, "uv.lock") or _above(self.program, "pyproject.toml") or self.root
            return home / os.environ.get("UV_PROJECT_ENVIRONMENT", ".venv")
        # A plugin is installed with an environment of its own, which the official host calls `venv`.
        if self.is_plugin and (self.root / "venv").is_dir():
            return self.root / "venv"
        return None

    def interpreter(self) -> Interpreter:
        """The Python to run.

        Raises:
            InterpreterError: there is none where the options say.
        """
        virtualenv = self.virtualenv()
        if virtualenv is None:
            return _ambient(self.root)
        python = virtualenv / "bin" / "python"
        if not python.exists():
            raise InterpreterError(
                f"{self.root}: the virtual environment {virtualenv} (runtime.options.virtualenv) has no Python: "
                "create it with `pulumi install`, or correct the path"
            )
        return Interpreter(python, virtualenv)


@dataclass(frozen=True)
class RequiredPackage:
    """A provider that an installed Pulumi SDK package asks for in its pulumi-plugin.json."""

    name: str
    version: str
    server: str
    parameterization: tuple[str, str, bytes] | None = None


def required_packages(interpreter: Interpreter) -> Iterator[RequiredPackage]:
    """The providers of all SDK packages beside an interpreter; its folders are read, as a process would take longer."""
    prefix = interpreter.virtualenv or interpreter.python.parent.parent
    for file in sorted(prefix.glob("lib/python3*/site-packages/*/pulumi-plugin.json")):
        try:
            described = json.loads(file.read_text())
        except (OSError, ValueError):
            continue  # a broken package makes its own trouble when it is imported
        if not described.get("resource"):
            continue
        package = file.parent
        name = described.get("name") or package.name.removeprefix("pulumi_").replace("_", "-")
        version = described.get("version") or _version(package)
        extra = described.get("parameterization")
        parameterization = (
            (extra["name"], extra["version"], base64.b64decode(extra.get("value", ""))) if extra else None
        )
        yield RequiredPackage(name, version, described.get("server", ""), parameterization)


def _version(package: Path) -> str:
    distribution = package.name.replace("_", "-")
    for found in metadata.distributions(name=distribution, path=[str(package.parent)]):
        return found.version
    return ""


def _ambient(root: Path) -> Interpreter:
    if command := os.environ.get("PULUMI_PYTHON_CMD"):
        found = shutil.which(command)
        if found is None:
            raise InterpreterError(
                f"{root}: PULUMI_PYTHON_CMD names {command}, which is not on PATH: correct or unset it"
            )
        return Interpreter(Path(found))
    if active := os.environ.get("VIRTUAL_ENV"):
        python = Path(active, "bin", "python")
        if python.exists():
            return Interpreter(python, Path(active))
    virtualenv = Path(sys.prefix) if sys.prefix != sys.base_prefix else None
    return Interpreter(Path(sys.executable), virtualenv)


def _above(folder: Path, name: str) -> Path | None:
    return next((at for at in (folder, *folder.parents) if (at / name).is_file()), None)

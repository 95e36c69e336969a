"""The build of Ollama, with made-up executables of Go and of the compilers."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tools.gobuild import BuildError
from tools.ollama import build, headers

VERSION = build.pinned("v3").version

GO = """#!{python} -S
import json, os, sys
from pathlib import Path
here = Path({folder!r})
said = json.loads((here / "go.json").read_text())
args = sys.argv[1:]
with (here / "calls.txt").open("a") as calls:
    calls.write(json.dumps([args, {{k: v for k, v in os.environ.items() if k.startswith("CGO")}}]) + "\\n")
if args[:2] == ["env", "GOVERSION"]:
    print("go1.99.0\\nlocal")
elif args[0] == "list":
    print("a\\nb")
elif args[0] == "build":
    made = Path(next(a for a in args if a.startswith("-o="))[3:])
    made.write_text("#!/bin/sh\\necho Warning: client version is " + said["builds"])
    made.chmod(0o755)
"""

V3_FLAGS = "fpu abm avx avx2 bmi1 bmi2 f16c fma movbe xsave sse4_2"


class Machine:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.cache, self.usr = folder, folder / "cache", folder / "usr"
        self.usr.mkdir()
        self.said: list[str] = []
        monkeypatch.setenv("PATH", str(self.usr))
        monkeypatch.setattr(headers, "_download", self.download)
        self.downloads = 0

    def has(self, *names: str, builds: str = VERSION.removeprefix("v")) -> None:
        (self.folder / "go.json").write_text(json.dumps({"builds": builds}))
        for name in names:
            text = GO.format(python=sys.executable, folder=str(self.folder)) if name == "go" else "#!/bin/sh\n"
            (self.usr / name).write_text(text)
            (self.usr / name).chmod(0o755)

    def download(self, scratch: Path) -> Path:
        self.downloads += 1
        return sdist(scratch / "sdist.tar.gz")

    def ensure(self, level: str = "v3") -> Path:
        return build.ensure(level, self.cache, self.said.append)

    def builds(self) -> list[tuple[list[str], dict[str, str]]]:
        file = self.folder / "calls.txt"
        calls = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [(arguments, variables) for arguments, variables in calls if arguments[0] == "build"]


def sdist(file: Path, folders: tuple[str, ...] = headers.FOLDERS) -> Path:
    with tarfile.open(file, "w:gz") as packed:
        for name in (
            *(f"pkg-1/vendor/llama.cpp/vendor/{folder}/{folder}.h" for folder in folders),
            "pkg-1/vendor/llama.cpp/vendor/sheredom/subprocess.h",
            "pkg-1/vendor/llama.cpp/src/llama.cpp",
            "pkg-1/vendor/llama.cpp/vendor/../stb/evil.h",
        ):
            entry = tarfile.TarInfo(name)
            entry.size = 1
            packed.addfile(entry, io.BytesIO(b"x"))
    return file


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_it_is_built_once(machine: Machine) -> None:
    machine.has("go", "gcc", "g++")
    program = machine.ensure()
    assert program.name == "ollama"
    assert os.access(program, os.X_OK)
    ((arguments, variables),) = machine.builds()
    included = next(machine.cache.glob("ollama/headers-*"))
    assert f"-X {build.TOOL}/version.Version={VERSION[1:]} " in " ".join(arguments)
    assert {"-trimpath", "-mod=readonly"} <= set(arguments)
    assert variables["CGO_CPPFLAGS"] == f"-I{included}"
    assert variables["CGO_CXXFLAGS"] == f"-O3 -march=x86-64-v3 -ffile-prefix-map={included}=headers"
    assert machine.ensure() == program
    assert len(machine.builds()) == 1
    assert list((machine.cache / "ollama").glob(".build-*")) == []


def test_levels_have_folders_of_their_own_and_headers_in_common(machine: Machine) -> None:
    machine.has("go", "gcc", "g++")
    assert machine.ensure("v3") != machine.ensure("baseline")
    assert "-march" not in machine.builds()[1][1]["CGO_CFLAGS"]
    assert machine.downloads == 1


def test_what_calls_itself_otherwise_is_not_kept(machine: Machine) -> None:
    machine.has("go", "gcc", "g++", builds="0.0.0")
    with pytest.raises(BuildError, match="calls itself"):
        machine.ensure()
    assert list(machine.cache.glob("ollama/v*")) == []


@pytest.mark.parametrize("has", [("go", "gcc"), ("gcc", "g++"), ()])
def test_what_is_missing_is_named_with_both_ways(machine: Machine, has: tuple[str, ...]) -> None:
    machine.has(*has)
    with pytest.raises(BuildError) as refused:
        machine.ensure()
    missing = next(name for name in ("gcc", "g++", "go") if name not in has)
    assert f"no {missing}" in str(refused.value)
    assert "Either take an official release" in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("machine_name", "flags", "level"),
    [
        ("x86_64", V3_FLAGS, "v3"),
        ("x86_64", V3_FLAGS.replace(" fma", ""), "baseline"),
        ("x86_64", V3_FLAGS.replace("avx2", ""), "baseline"),
        ("aarch64", V3_FLAGS, "baseline"),
    ],
)
def test_the_level_of_a_cpu(machine_name: str, flags: str, level: str) -> None:
    assert build.level_of(machine_name, f"processor\t: 0\nflags\t\t: {flags}\n\n") == level
    assert build.level_of(machine_name, "") == "baseline"


class TestHeaders:
    def test_only_the_three_folders_come(self, tmp_path: Path) -> None:
        target = tmp_path / "headers"
        headers.extract(sdist(tmp_path / "s.tar.gz"), target)
        assert sorted(str(path.relative_to(target)) for path in target.rglob("*.h")) == [
            f"{name}/{name}.h" for name in headers.FOLDERS
        ]

    def test_an_sdist_without_one_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match="holds no stb"):
            headers.extract(sdist(tmp_path / "s.tar.gz", ("miniaudio", "nlohmann")), tmp_path / "headers")

    @pytest.mark.parametrize("file", [headers.SDIST, headers.BACKEND])
    def test_all_that_is_fetched_is_pinned(self, file: Path) -> None:
        blocks = [line for line in file.read_text().splitlines() if "==" in line]
        assert blocks
        assert file.read_text().count("--hash=sha256:") >= len(blocks)


def test_the_key_follows_what_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(**more: Any) -> str:
        for name, value in more.items():
            monkeypatch.setattr(headers, name, value)
        return build.pinned("v3").digest

    before = key()
    assert build.pinned("baseline").digest != before
    assert key(pinned=lambda: "another sdist") != before

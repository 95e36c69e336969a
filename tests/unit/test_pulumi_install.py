"""Which engine is chosen and how it is put in place, with made-up executables of Pulumi and Go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tools.gobuild import BuildError, Pin
from tools.pulumi.build import EXECUTOR, built_engine, pinned
from tools.pulumi.install import HOST, OLDEST, install, main

PIN = pinned()

# Enough of `go` for the installer; each call adds a line to calls.txt, and `install` opens `gate`, if there is one, and
# waits there until the test opens it too.
GO = """#!{python} -S
import json, os, sys
from pathlib import Path
here = Path({folder!r})
said = json.loads((here / "go.json").read_text())
args = sys.argv[1:]
with (here / "calls.txt").open("a") as calls:
    calls.write(" ".join(args) + "\\n")
if args[:2] == ["env", "GOVERSION"]:
    print("go" + said["version"])
    print(said["toolchain"])
elif args[:2] == ["mod", "download"] or args[0] == "list" and "-deps" in args:
    print("a\\nb")
elif args[0] == "list":
    print(here / "sdk")
elif args[0] == "install":
    (here / "go.pid").write_text(str(os.getpid()))
    if (here / "gate").exists():
        (here / "gate").open().read()
    if said["fails"]:
        sys.exit("first line\\nreading module: 403 Forbidden")
    made = Path(os.environ["GOBIN"], "pulumi")
    made.write_text("#!/bin/sh\\necho " + said["builds"])
    made.chmod(0o755)
"""


class Machine:
    """A machine with a PATH, a --bin and a --cache of the test's own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.bin, self.cache, self.usr = folder / "venv" / "bin", folder / "cache", folder / "usr"
        for made in (self.bin, self.usr):
            made.mkdir(parents=True)
        self.said: list[str] = []
        monkeypatch.setenv("PATH", f"{self.bin}:{self.usr}")

    def pulumi(self, version: str, *, host: bool = True, folder: Path | None = None) -> Path:
        folder = folder or self.usr
        if host:
            executable(folder / HOST, "#!/bin/sh\n")
        return executable(folder / "pulumi", f"#!/bin/sh\necho {version}\n")

    def go(
        self, *, version: str = "1.99.0", toolchain: str = "local", builds: str = PIN.version, fails: bool = False
    ) -> None:
        executable(self.usr / "go", GO.format(python=sys.executable, folder=str(self.folder)))
        said = {"version": version, "toolchain": toolchain, "builds": builds, "fails": fails}
        (self.folder / "go.json").write_text(json.dumps(said))
        source = self.folder / "sdk" / "python" / "cmd" / EXECUTOR
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("the executor\n")

    def calls(self) -> list[str]:
        file = self.folder / "calls.txt"
        return file.read_text().splitlines() if file.exists() else []

    def builds(self) -> int:
        return sum(call.startswith("install") for call in self.calls())

    def links(self) -> list[str]:
        return sorted(path.name for path in self.bin.iterdir())

    def install(self) -> Path:
        return install(self.bin, self.cache, self.said.append).path

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tools.pulumi.install", "--bin", str(self.bin), "--cache", str(self.cache)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def scratch(self) -> list[Path]:
        return list((self.cache / "engine").glob(".build-*"))


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_engine_and_sdk_are_pinned_to_one_version() -> None:
    assert PIN.version == f"v{metadata.version('pulumi')}"


class TestOfficial:
    @pytest.mark.parametrize("version", [".".join(map(str, ("v3", *OLDEST[1:]))), "v3.259.0", "v3.999.1", "3.300.0"])
    def test_a_fitting_one_is_used_as_it_is(self, machine: Machine, version: str) -> None:
        official = machine.pulumi(version)
        assert machine.install() == official
        assert machine.links() == []
        assert not machine.cache.exists()

    def test_one_in_bin_itself_is_used(self, machine: Machine) -> None:
        official = machine.pulumi("v3.259.0", folder=machine.bin)
        assert machine.install() == official

    def test_our_own_links_make_way_for_it(self, machine: Machine) -> None:
        machine.go()
        machine.install()
        assert machine.links() == ["pulumi", HOST, EXECUTOR]
        official = machine.pulumi("v3.260.0")
        assert machine.install() == official
        assert machine.links() == []

    def test_without_its_host_it_gets_ours(self, machine: Machine) -> None:
        official = machine.pulumi("v3.259.0", host=False)
        machine.go()
        assert machine.install() == official
        assert machine.links() == [HOST, EXECUTOR]
        assert machine.builds() == 0

    @pytest.mark.parametrize("version", ["v3.199.9", "v2.25.0", "v4.0.0", "no version", "''"])
    def test_another_is_passed_over_and_named(self, machine: Machine, version: str) -> None:
        official = machine.pulumi(version)
        machine.go()
        assert machine.install() == machine.bin / "pulumi"
        # Its language host is as unfit as itself.
        assert machine.links() == ["pulumi", HOST, EXECUTOR]
        assert any(str(official) in line and str(machine.bin) in line for line in machine.said)


class TestBuild:
    def test_is_made_once(self, machine: Machine) -> None:
        machine.go()
        assert machine.install() == machine.bin / "pulumi"
        folder = built_engine(machine.cache, PIN)
        assert (machine.bin / "pulumi").readlink() == folder / "pulumi"
        assert (machine.bin / EXECUTOR).read_text() == "the executor\n"
        assert all(os.access(machine.bin / name, os.X_OK) for name in ("pulumi", HOST, EXECUTOR))
        (build,) = [call for call in machine.calls() if call.startswith("install")]
        assert "-tags=osusergo,grpcnotrace" in build
        assert f"common/version.Version={PIN.version} " in build
        before = machine.calls()
        machine.install()
        assert machine.calls() == before

    def test_an_official_host_is_not_hidden(self, machine: Machine) -> None:
        machine.go()
        executable(machine.usr / HOST, "#!/bin/sh\n")
        assert machine.install() == machine.bin / "pulumi"
        assert machine.links() == ["pulumi"]

    def test_what_is_not_ours_in_bin_is_left_alone(self, machine: Machine) -> None:
        machine.go()
        foreign = machine.pulumi("v3.1.0", folder=machine.bin)
        with pytest.raises(BuildError, match=f"{foreign} exists and is not Slipway's"):
            machine.install()
        assert "3.1.0" in foreign.read_text()

    def test_a_failure_shows_what_go_said_and_leaves_nothing(
        self, machine: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        machine.go(fails=True)
        assert main(["--bin", str(machine.bin), "--cache", str(machine.cache)]) == 1
        said = capsys.readouterr().err
        assert "403 Forbidden" in said
        assert "GOPROXY" in said
        assert machine.scratch() == []
        assert not built_engine(machine.cache, PIN).exists()

    def test_a_binary_of_another_version_is_not_kept(self, machine: Machine) -> None:
        machine.go(builds="v3.0.0")
        with pytest.raises(BuildError, match=r"calls itself 'v3\.0\.0'"):
            machine.install()
        assert not built_engine(machine.cache, PIN).exists()

    def test_a_lost_executor_is_fetched_again_without_a_build(self, machine: Machine) -> None:
        machine.go()
        machine.install()
        (built_engine(machine.cache, PIN) / EXECUTOR).unlink()
        machine.install()
        assert (machine.bin / EXECUTOR).read_text() == "the executor\n"
        assert machine.builds() == 1

    def test_two_at_a_time_build_once(self, machine: Machine) -> None:
        machine.go()
        gate = machine.folder / "gate"
        os.mkfifo(gate)
        with machine.start() as first, gate.open("w") as opened:
            # The first is inside its build now, and stays there until `opened` is closed.
            with machine.start() as second:
                assert second.stderr is not None
                assert "waiting" in second.stderr.readline()
                opened.close()
                assert second.wait(timeout=30) == 0
            assert first.wait(timeout=30) == 0
        assert machine.builds() == 1

    def test_a_killed_one_is_tidied_up_by_the_next(self, machine: Machine) -> None:
        machine.go()
        gate = machine.folder / "gate"
        os.mkfifo(gate)
        with machine.start() as killed, gate.open("w"):
            killed.kill()
        assert len(machine.scratch()) == 1
        gate.unlink()
        machine.install()
        assert machine.scratch() == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupted_one_takes_go_with_it(self, machine: Machine, number: signal.Signals) -> None:
        machine.go()
        gate = machine.folder / "gate"
        os.mkfifo(gate)
        with machine.start() as interrupted, gate.open("w"):
            go = int((machine.folder / "go.pid").read_text())
            interrupted.send_signal(number)
            _, said = interrupted.communicate(timeout=10)
            assert interrupted.returncode == 130
            with pytest.raises(ProcessLookupError):
                os.kill(go, 0)
        assert "Traceback" not in said
        assert machine.scratch() == []


class TestNoWay:
    """Exit code 2 and one message with both ways to an engine."""

    def refused(self, machine: Machine, capsys: pytest.CaptureFixture[str]) -> str:
        assert main(["--bin", str(machine.bin), "--cache", str(machine.cache)]) == 2
        said = capsys.readouterr().err
        assert said.count("error:") == 1
        assert "Either install Pulumi v3.259.0 or any newer 3.x" in said
        assert f"or install Go {PIN.go} or newer" in said
        assert machine.links() == []
        return said

    def test_neither_pulumi_nor_go(self, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        assert "no Pulumi engine on PATH, and no Go" in self.refused(machine, capsys)

    def test_an_old_pulumi_and_no_go(self, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        official = machine.pulumi("v3.100.0")
        assert f"{official} is Pulumi v3.100.0, which does not fit" in self.refused(machine, capsys)

    @pytest.mark.parametrize("toolchain", ["local", "path", "go1.20"])
    def test_an_old_go_that_may_not_fetch_another(
        self, machine: Machine, capsys: pytest.CaptureFixture[str], toolchain: str
    ) -> None:
        machine.go(version="1.25.10", toolchain=toolchain)
        said = self.refused(machine, capsys)
        assert "is Go 1.25.10" in said
        assert f"GOTOOLCHAIN={toolchain}" in said

    def test_an_old_go_that_may_is_used(self, machine: Machine) -> None:
        machine.go(version="1.21.0", toolchain="auto")
        assert machine.install() == machine.bin / "pulumi"

    def test_a_broken_go(self, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        executable(machine.usr / "go", "#!/bin/sh\necho no such thing >&2\nexit 1\n")
        assert "no such thing" in self.refused(machine, capsys)


class TestHostShim:
    def run(self, machine: Machine, link: Path) -> str:
        return subprocess.run([link, "127.0.0.1:1"], capture_output=True, text=True, check=True).stdout.strip()

    def test_runs_the_python_beside_the_link(self, machine: Machine) -> None:
        machine.go()
        machine.install()
        executable(machine.bin / "python", '#!/bin/sh\necho "$@"\n')
        said = self.run(machine, machine.bin / HOST)
        assert said == f"-P -m tools.pulumi.language_host --executor {machine.bin / EXECUTOR} 127.0.0.1:1"

    def test_else_the_python_that_installed_it(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", f"{machine.bin}:{machine.usr}:/usr/bin:/bin")
        machine.go()
        machine.install()
        python = executable(machine.usr / "installer", '#!/bin/sh\necho "$0"\n')
        (built_engine(machine.cache, PIN) / "python-path").write_text(f"{python}\n")
        assert self.run(machine, machine.bin / HOST) == str(python)


def test_the_key_follows_what_is_pinned(tmp_path: Path) -> None:
    def pin(module: str, sums: str) -> Pin:
        (tmp_path / "go.mod").write_text(f"go 1.25.11\nrequire github.com/pulumi/pulumi/pkg/v3 {module}\n")
        (tmp_path / "go.sum").write_text(sums)
        return pinned(tmp_path)

    assert pin("v3.259.0", "a") == Pin("v3.259.0", "1.25.11", pin("v3.259.0", "a").digest)
    assert len({pin("v3.259.0", "a").key, pin("v3.259.0", "b").key, pin("v3.260.0", "a").key}) == 3

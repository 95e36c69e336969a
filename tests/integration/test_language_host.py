"""The language host under the real engine: programs, policy packs and plugins run, and all of it ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.pulumi_project import BIN, Gate, PulumiProject

FIXTURES = Path(__file__).parent / "fixtures" / "language_host"
PLUGIN = FIXTURES / "plugin"
PLUGINS = {"providers": [{"name": "tiny", "path": str(PLUGIN), "version": "1.0.0"}]}

WAITING = """
import threading
open({gate!r}, "w").close()
threading.Event().wait()
"""

THING = """
import pulumi


class Thing(pulumi.CustomResource):
    directory: pulumi.Output[str]
    python: pulumi.Output[str]
    virtualenv: pulumi.Output[str]

    def __init__(self, name, **properties):
        empty = dict(directory=None, python=None, virtualenv=None)
        super().__init__("tiny:index:Thing", name, {{**empty, **properties}}, pulumi.ResourceOptions(version="1.0.0"))


thing = Thing("thing", **{properties!r})
for name in ("directory", "python", "virtualenv"):
    pulumi.export(name, getattr(thing, name))
"""

QUICK = 4.0
"""Seconds in which an interrupted command has to be gone. The engine gives a host that hangs 5 s; idle, it takes 0.5 s."""

HOST_ENDS = 4.0
"""Seconds in which a host has to end with all that it runs; 0.1 s on an idle machine, and tests run on busy ones."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose processes do not outlive the test."""
    yield tmp_path
    Kept.end()


class Kept:
    """Projects whose processes are ended after the test."""

    projects: list[PulumiProject] = []  # noqa: RUF012 -- one list for the module is meant

    @classmethod
    def project(cls, folder: Path, program: str, **settings: Any) -> PulumiProject:
        project = PulumiProject(folder, program, **settings)
        cls.projects.append(project)
        return project

    @classmethod
    def end(cls) -> None:
        while cls.projects:
            cls.projects.pop().kill_all()


def test_the_engine_is_the_one_that_slipway_installed() -> None:
    assert (BIN / "pulumi").is_symlink()
    assert (BIN / "pulumi-language-python").is_symlink()


class TestProgram:
    def test_runs_with_its_configuration_and_ends(self, folder: Path) -> None:
        project = Kept.project(
            folder,
            "import os, sys, pulumi\n"
            "config = pulumi.Config()\n"
            "print('said by the program')\n"
            "pulumi.export('plain', config.require('plain'))\n"
            "pulumi.export('secret', config.require_secret('secret'))\n"
            "pulumi.export('is_secret', pulumi.Output.is_secret(config.require_secret('secret')))\n"
            "pulumi.export('where', [os.getcwd(), pulumi.get_project(), pulumi.get_stack(), sys.prefix])\n"
            "pulumi.export('arguments', open('/proc/self/cmdline').read())\n",
        )
        project.run("config", "set", "plain", "a 'quoted' ü")
        project.run("config", "set", "--secret", "secret", "sesame-4711")
        said = project.up().stdout
        outputs = project.outputs()
        assert outputs["plain"] == "a 'quoted' ü"
        assert outputs["secret"] == "sesame-4711"
        assert outputs["is_secret"] is True
        assert outputs["where"] == [str(project.folder), "trial", "test", sys.prefix]
        assert "sesame-4711" not in outputs["arguments"]
        assert "said by the program" in said
        assert "warning" not in said
        assert project.gone_within(QUICK) == []

    def test_run_error_is_shown_without_a_traceback(self, folder: Path) -> None:
        project = Kept.project(folder, "import pulumi\nraise pulumi.RunError('no such tier: huge; use small')\n")
        done = project.up(check=False)
        assert done.returncode != 0
        assert "no such tier: huge; use small" in done.stdout
        assert "Traceback" not in done.stdout

    def test_a_bug_is_shown_with_the_programs_own_traceback_once(self, folder: Path) -> None:
        project = Kept.project(folder, "def broken():\n    return {}['absent']\nbroken()\n")
        done = project.up(check=False)
        assert done.returncode != 0
        assert done.stdout.count("KeyError: 'absent'") == 1
        assert "in broken" in done.stdout
        # The executor said it all: the host must not add an error of its own.
        assert "exit code" not in done.stdout

    def test_a_missing_virtual_environment_is_named(self, folder: Path) -> None:
        project = Kept.project(
            folder, "", runtime={"name": "python", "options": {"toolchain": "pip", "virtualenv": "gone"}}
        )
        done = project.up(check=False)
        assert done.returncode != 0
        assert f"{project.folder}/gone" in done.stdout
        assert "pulumi install" in done.stdout

    def test_an_option_it_does_not_have_is_refused(self, folder: Path) -> None:
        project = Kept.project(folder, "", runtime={"name": "python", "options": {"toolchain": "poetry"}})
        done = project.up(check=False)
        assert done.returncode != 0
        assert "toolchain poetry" in done.stdout
        assert "official release" in done.stdout

    def test_about_names_the_interpreter(self, folder: Path) -> None:
        said = Kept.project(folder, "import pulumi\n").run("about").stdout
        assert str(BIN / "python") in said
        assert f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}" in said

    def test_install_makes_the_virtual_environment(self, folder: Path) -> None:
        project = Kept.project(
            folder, "", runtime={"name": "python", "options": {"toolchain": "pip", "virtualenv": "own"}}
        )
        project.run("install")
        assert (project.folder / "own" / "bin" / "python").exists()


class TestPolicyPack:
    def test_violations_stop_a_preview(self, folder: Path) -> None:
        project = Kept.project(folder, "import pulumi\npulumi.ComponentResource('a:b:C', 'forbidden')\n")
        done = project.run("preview", "--policy-pack", str(FIXTURES / "policy"), check=False)
        assert done.returncode != 0
        assert "nothing may be called forbidden" in done.stdout
        assert project.gone_within(QUICK) == []

    def test_nothing_to_say_of_what_is_allowed(self, folder: Path) -> None:
        project = Kept.project(folder, "import pulumi\npulumi.ComponentResource('a:b:C', 'allowed')\n")
        project.run("preview", "--policy-pack", str(FIXTURES / "policy"))


class TestPlugin:
    def test_runs_in_the_project_with_the_hosts_python(self, folder: Path) -> None:
        project = Kept.project(folder, THING.format(properties={}), plugins=PLUGINS)
        project.up()
        outputs = project.outputs()
        assert outputs["directory"] == str(project.folder)
        assert Path(outputs["python"]).parent == BIN
        assert project.gone_within(QUICK) == []

    def test_takes_the_virtual_environment_of_its_own_yaml(self, folder: Path) -> None:
        copy = folder / "plugin"
        shutil.copytree(PLUGIN, copy)
        (copy / "linked").symlink_to(sys.prefix)
        options = {"toolchain": "pip", "virtualenv": "linked"}
        (copy / "PulumiPlugin.yaml").write_text(yaml.safe_dump({"runtime": {"name": "python", "options": options}}))
        project = Kept.project(
            folder,
            THING.format(properties={}),
            plugins={"providers": [{"name": "tiny", "path": str(copy), "version": "1.0.0"}]},
        )
        project.up()
        assert project.outputs()["virtualenv"] == str(copy / "linked")

    def test_one_that_breaks_shows_why(self, folder: Path) -> None:
        broken = folder / "plugin"
        broken.mkdir()
        (broken / "PulumiPlugin.yaml").write_text("runtime: python\n")
        (broken / "__main__.py").write_text("raise SystemExit('the plugin is out of order')\n")
        project = Kept.project(
            folder,
            THING.format(properties={}),
            plugins={"providers": [{"name": "tiny", "path": str(broken), "version": "1.0.0"}]},
        )
        done = project.up(check=False)
        assert done.returncode != 0
        assert "exit status 1" in done.stdout
        assert project.gone_within(QUICK) == []


class TestInterruption:
    """The plugin here has a child in a session of its own that ignores SIGTERM: nothing is left of it either."""

    def start_program(self, folder: Path) -> tuple[PulumiProject, subprocess.Popen[str]]:
        gate = Gate(folder / "gate")
        project = Kept.project(folder, WAITING.format(gate=str(gate.path)))
        engine = project.start("up", "--yes", "--skip-preview")
        gate.wait()
        gate.close()
        return project, engine

    def start_plugin(self, folder: Path, manner: str = "gate") -> tuple[PulumiProject, subprocess.Popen[str]]:
        gate = Gate(folder / "gate")
        project = Kept.project(folder, THING.format(properties={manner: str(gate.path)}), plugins=PLUGINS)
        engine = project.start("up", "--yes", "--skip-preview")
        gate.wait()
        gate.close()
        return project, engine

    @pytest.mark.parametrize("what", ["program", "plugin"])
    def test_an_interrupt_of_the_engine_ends_everything(self, folder: Path, what: str) -> None:
        project, engine = getattr(self, f"start_{what}")(folder)
        began = time.monotonic()
        engine.send_signal(signal.SIGINT)
        said, _ = engine.communicate(timeout=30)
        assert engine.returncode != 0
        assert project.gone_within(QUICK) == []
        assert time.monotonic() - began < QUICK, said
        assert "Traceback" not in said, said

    def test_a_plugin_that_aborts_on_cancel_gets_its_last_word(self, folder: Path) -> None:
        project, engine = self.start_plugin(folder, "polite")
        engine.send_signal(signal.SIGINT)
        said, _ = engine.communicate(timeout=30)
        assert "left half made, in good order" in said
        assert project.gone_within(QUICK) == []

    @pytest.mark.parametrize("what", ["program", "plugin"])
    def test_a_killed_engine_leaves_nothing(self, folder: Path, what: str) -> None:
        project, engine = getattr(self, f"start_{what}")(folder)
        assert len(project.processes()) > 2
        engine.kill()
        engine.communicate(timeout=30)
        assert project.gone_within(QUICK) == []

    def test_a_killed_host_leaves_no_program(self, folder: Path) -> None:
        project, engine = self.start_program(folder)
        (host,) = [p for p in project.processes() if "tools.pulumi.language_host" in p.cmdline()]
        host.kill()
        engine.communicate(timeout=30)
        assert project.gone_within(QUICK) == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_host_ends_soon_after_a_signal(self, folder: Path, number: signal.Signals) -> None:
        project, engine = self.start_program(folder)
        (host,) = [p for p in project.processes() if "tools.pulumi.language_host" in p.cmdline()]
        (program,) = [p for p in project.processes() if "--monitor" in p.cmdline()]
        began = time.monotonic()
        os.killpg(host.pid, number)  # as the engine does
        host.wait(timeout=30)
        assert time.monotonic() - began < HOST_ENDS
        assert not program.is_running()
        said, _ = engine.communicate(timeout=30)
        assert "Traceback" not in said, said


class TestHostAlone:
    """The host without an engine."""

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen([BIN / "pulumi-language-python", "127.0.0.1:1"], stdout=subprocess.PIPE, text=True)

    def test_prints_its_port_first_and_soon(self) -> None:
        began = time.monotonic()
        with self.start() as host:
            assert host.stdout is not None
            port = int(host.stdout.readline())
            took = time.monotonic() - began
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                pass
            host.send_signal(signal.SIGINT)
            assert host.wait(timeout=30) == 0
        assert took < 10.0  # 0.1 to 0.2 s on an idle machine

    def test_ends_with_its_parent(self) -> None:
        # The parent is a shell that is killed, while the host's output stays with us.
        read, write = os.pipe()
        with subprocess.Popen(
            ["sh", "-c", f"{BIN / 'pulumi-language-python'} 127.0.0.1:1; true"],
            stdout=write,
        ) as shell:
            os.close(write)
            with os.fdopen(read) as output:
                assert int(output.readline())
                shell.kill()
                shell.wait()
                # End of file comes when the last holder of the pipe, the host, has ended.
                assert output.read() == ""

    def test_says_what_to_do_without_its_executor(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tools.pulumi.language_host", "--executor", str(tmp_path / "gone"), "x"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert "tools.pulumi.install" in done.stderr
        assert "Traceback" not in done.stderr

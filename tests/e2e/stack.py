"""A stack under test: the genuine engine on a copy of the checkout, and the real hosts behind it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

KEY_FILE = Path("~/.local/state/slipway/lab/id_ed25519").expanduser()
_GONE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
"""A host that goes down in the middle of a command says nothing more: nobody waits for it for longer than this."""
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def copy_checkout(root: Path, target: Path) -> Path:
    """A copy of the checkout's own files, so that tests may edit stacks; the virtual environment is shared."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    for stack in (target / "stacks").glob("Pulumi.*.yaml"):
        # A stack that is up in the checkout has left its passphrase's salt there; the tests have a passphrase of their own.
        lines = stack.read_text().splitlines(keepends=True)
        stack.write_text("".join(line for line in lines if not line.startswith("encryptionsalt:")))
    (target / ".venv").symlink_to(root / ".venv")
    return target


def ssh(address: str, command: str, *, check: bool = True, user: str = "slipway") -> str:
    """Run `command` on a lab host; its standard output."""
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    done = subprocess.run(
        ["ssh", "-i", str(KEY_FILE), *options, *_GONE, "-o", "ConnectTimeout=10", f"{user}@{address}", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{address}: {command!r} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float) -> float:
    """Wait until `condition` holds; how long it took, in seconds."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.25)
    return time.monotonic() - start


class Stack:
    """One stack of a copied checkout, with a state and a plugin log of its own."""

    def __init__(self, name: str, project: Path, state: Path, secrets: Mapping[str, str]) -> None:
        self.name = name
        self.project = project
        self.log = state / f"{name}-playbook.log"
        self.file = project / "stacks" / f"Pulumi.{name}.yaml"
        self.transcript = state / f"{name}-transcript.txt"
        backend = state / "pulumi"
        backend.mkdir(exist_ok=True)
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": f"file://{backend}",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_ERROR_OUTPUT_STRING": "true",
            "NO_COLOR": "1",
            # The shared virtual environment knows the real checkout; the copy's modules must come first.
            "PYTHONPATH": str(project),
            "SLIPWAY_STATE": str(state),
            "SLIPWAY_PLAYBOOK_LOG": str(self.log),
            **secrets,
        }

    # the stack's file

    def read(self) -> dict[str, Any]:
        settings: dict[str, Any] = yaml.safe_load(self.file.read_text())["config"]["slipway:platform"]
        return settings

    def write(self, settings: Mapping[str, Any]) -> None:
        document = yaml.safe_load(self.file.read_text())
        document["config"]["slipway:platform"] = settings
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))

    # the engine

    def command(self, *arguments: str) -> list[str]:
        return ["pulumi", *arguments, "--stack", self.name, "--non-interactive", "--color", "never"]

    def pulumi(self, *arguments: str, check: bool = True) -> str:
        """Run one command of the engine; all that it printed."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1500,
        )
        output = _ANSI.sub("", done.stdout + done.stderr)
        with self.transcript.open("a") as transcript:
            transcript.write(f"$ pulumi {' '.join(arguments)}\n{output}\n")
        if check and done.returncode != 0:
            raise AssertionError(f"pulumi {' '.join(arguments)} ended with {done.returncode}:\n{output}")
        if not check and done.returncode == 0:
            raise AssertionError(f"pulumi {' '.join(arguments)} succeeded:\n{output}")
        return output

    def init(self) -> None:
        done = self.shell(f"pulumi stack select --create {self.name} --non-interactive")
        assert done.returncode == 0, done.stdout + done.stderr

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command line of the documentation in the copied checkout; output and errors are kept apart."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=1500,
        )
        with self.transcript.open("a") as transcript:
            transcript.write(f"$ {command}\n{done.stdout}{done.stderr}\n")
        return done

    def up(self, *arguments: str) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", *arguments)

    def refused(self) -> str:
        """An `up` that must fail; all that it printed."""
        return self.pulumi("up", "--yes", "--skip-preview", check=False)

    def outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = json.loads(self.pulumi("stack", "output", "--json"))
        return outputs

    @cached_property
    def endpoint(self) -> str:
        """As the outputs say, asked for once: a load's clients come in dozens, and each question is a process of a second."""
        return str(self.outputs()["endpoint"])

    def exported_state(self) -> str:
        return self.pulumi("stack", "export")

    def import_state(self, state: str) -> None:
        file = self.transcript.with_suffix(".import.json")
        file.write_text(state)
        self.pulumi("stack", "import", "--file", str(file))

    # the plugin's log

    def runs(self) -> list[dict[str, Any]]:
        """Every Ansible run that the plugin has logged, oldest first."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def runs_of(self, work: Callable[[], object], *, mode: str | None = None) -> list[tuple[str, str]]:
        """Host and instance of each Ansible run that `work` causes."""
        before = len(self.runs())
        work()
        return [(run["host"], run["instance"]) for run in self.runs()[before:] if mode is None or run["mode"] == mode]

    # killing

    def up_killed_when(self, condition: Callable[[], bool]) -> None:
        """Start an `up`, and kill the engine with SIGKILL as soon as `condition` holds."""
        process = subprocess.Popen(
            self.command("up", "--yes", "--skip-preview"),
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: condition() or process.poll() is not None, "the point to kill at", seconds=600)
            assert process.poll() is None, "the up ended before it could be killed"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def processes(text: str) -> Iterator[str]:
    """The command lines of running processes that contain `text`."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(folder.name) != os.getpid():
            yield line

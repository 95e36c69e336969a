"""A Pulumi project in a temporary folder, for tests with the real engine.

Each project has a home, a state and a passphrase of its own, so tests neither see one another nor the user's own stacks. All
processes of a project carry a mark in their environment, by which a test finds what a command left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

BIN = Path(sys.executable).parent
"""Where `python -m tools.pulumi.install` put the engine."""

_MARK = "SLIPWAY_TEST_PROJECT"


class PulumiProject:
    """A project with one stack, `test`."""

    def __init__(self, folder: Path, program: str, *, name: str = "trial", **settings: Any) -> None:
        """Writes the project and makes its stack.

        Args:
            folder: a folder of the test's own; project, home and state go below it.
            program: the text of `__main__.py`.
            name: the project's name.
            settings: more keys of Pulumi.yaml, such as `plugins`.
        """
        self.folder = folder / "project"
        self.mark = uuid.uuid4().hex
        state = folder / "state"
        for made in (self.folder, state):
            made.mkdir(parents=True)
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")},
            "PATH": os.pathsep.join((str(BIN), os.environ["PATH"])),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{state}",
            "PULUMI_CONFIG_PASSPHRASE": "for tests only",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            _MARK: self.mark,
        }
        runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
        document = {"name": name, "runtime": runtime} | settings
        (self.folder / "Pulumi.yaml").write_text(yaml.safe_dump(document))
        (self.folder / "__main__.py").write_text(program)
        self.run("stack", "init", "test")

    def run(
        self,
        *arguments: str,
        check: bool = True,
        timeout: float = 120,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `pulumi ARGUMENTS` to its end; with `check`, a failure fails the test and shows what was said."""
        done = subprocess.run(
            [BIN / "pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"pulumi {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}")
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts `pulumi ARGUMENTS` in a session of its own and returns the engine's process."""
        return subprocess.Popen(
            [BIN / "pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def up(self, **options: Any) -> subprocess.CompletedProcess[str]:
        """`pulumi up`, without questions and without a preview."""
        return self.run("up", "--yes", "--skip-preview", **options)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets in clear."""
        outputs: dict[str, Any] = json.loads(self.run("stack", "output", "--json", "--show-secrets").stdout)
        return outputs

    def processes(self) -> list[psutil.Process]:
        """What runs of this project: the engine, language hosts, programs, plugins and all they started."""
        mark = f"{_MARK}={self.mark}".encode()
        found = []
        for pid in psutil.pids():
            try:
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    process = psutil.Process(pid)
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
            except (OSError, psutil.Error):
                continue
        return found

    def gone_within(self, seconds: float) -> list[str]:
        """Waits until no process of this project is left; returns the command lines of those that are."""
        end = time.monotonic() + seconds
        while left := self.processes():
            if time.monotonic() > end:
                return [_described(process) for process in left]
            # Orphans are nobody's to wait for, and where init does not reap they stay zombies: so it is asked again.
            time.sleep(0.05)
        return []

    def kill_all(self) -> None:
        """Ends what is left, for the end of a test."""
        for process in self.processes():
            # One may have ended since it was listed: a plugin, or the child of one that was just killed.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


class Gate:
    """Lets a test wait for the moment when code in another process gets to a line.

    The other process calls `open(PATH, "w").close()`, the test `wait()`.
    """

    def __init__(self, path: Path) -> None:
        """Makes the named pipe at `path`."""
        self.path = path
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wait(self, seconds: float = 60) -> None:
        """Returns as soon as the other process is there; fails the test after `seconds`."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            raise AssertionError(f"nothing opened {self.path} within {seconds} s")

    def close(self) -> None:
        """Ends its use."""
        os.close(self._descriptor)


def _described(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.Error:
        return str(process.pid)

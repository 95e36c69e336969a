"""Runs of the Pulumi engine, and what an interrupted one leaves behind."""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.environment import stack_environment
from cli.errors import UserError
from slipway.paths import PULUMI_STATE, ROOT
from slipway.review.preview import read_preview
from slipway.settings.load import stack_file

_PR_SET_PDEATHSIG = 1
LOCK_WAIT_S = 900


class PulumiStack:
    """One stack of the checkout's project, driven by the engine on PATH."""

    def __init__(self, name: str) -> None:
        """Prepare the environment for `name`.

        Raises:
            SettingsError: no such stack.
            UserError: there is no engine.
        """
        self.name = name
        self.environment = {**os.environ, **stack_environment(name)}
        engine = shutil.which("pulumi", path=self.environment["PATH"])
        if engine is None:
            raise UserError("there is no Pulumi engine on PATH; run `make setup`, which finds or builds one")
        self._engine = engine

    def select(self) -> None:
        """Make sure that the stack exists in the backend, and that no dead run holds its lock."""
        if not self.exists():
            self._drop_salt()
        self._run("stack", "select", "--create", self.name, stack=False, quiet=True)
        self._wait_for_lock()

    def up(
        self, *, to_stderr: bool, targets: Sequence[str] = (), replaces: Sequence[str] = (), refresh: bool = False
    ) -> None:
        """Run `pulumi up` without asking.

        Args:
            to_stderr: keep stdout for the command's own answer.
            targets: URNs that it is limited to; all where empty.
            replaces: URNs that are made anew whether they changed or not; limits it to them.
            refresh: look first whether hosts are still as they were left.
        """
        self._wait_for_lock()
        limits = [f"--target={urn}" for urn in targets] + [f"--target-replace={urn}" for urn in replaces]
        limits += ["--refresh"] if refresh else []
        self._run("up", "--yes", "--skip-preview", "--suppress-outputs", *limits, to_stderr=to_stderr)

    def preview(self) -> Mapping[str, Any]:
        """What an `up` would do, as `pulumi preview --json` says it.

        Raises:
            UserError: the settings were refused, or the preview failed; its words.
        """
        try:
            document = json.loads(self._run("preview", "--json", quiet=True, partial=True))
        except ValueError:
            document = {}
        errors = read_preview(json.dumps(document)).errors if "steps" in document else ("the engine said nothing",)
        if errors:
            raise UserError(
                "\n".join((f"pulumi preview of {self.name} failed; nothing was touched", *errors)), status=1
            )
        read: Mapping[str, Any] = document
        return read

    def resources(self) -> dict[str, dict[str, Any]]:
        """What the state has, by URN: type and outputs; secret values stay encrypted."""
        state = json.loads(self._run("stack", "export", quiet=True))
        found = (state.get("deployment") or {}).get("resources") or []
        return {each["urn"]: {"type": each["type"], "outputs": each.get("outputs") or {}} for each in found}

    def drift(self, *, deep: bool, mend: bool) -> None:
        """Look at the hosts, name what was changed there by hand and, with `mend`, apply what drifted.

        `deep` runs every layer's role in check mode, where otherwise a look at what was recorded on the host does.

        Raises:
            UserError: something has drifted and was not to be mended, or a host could not be looked at.
        """
        if deep:
            self.environment["SLIPWAY_DEEP"] = "1"
        if mend:
            self._run("up", "--refresh", "--yes", "--skip-preview", "--suppress-outputs")
        else:
            # A host that is missing, and may be, has not drifted.
            self.environment["SLIPWAY_LOOK_ONLY"] = "1"
            self._run("preview", "--refresh", "--expect-no-changes", "--suppress-outputs")

    def destroy(self) -> None:
        """Remove everything of the stack from its hosts, and the stack's state."""
        self._run("destroy", "--yes", "--skip-preview", "--remove", "--preserve-config")

    def forget(self) -> None:
        """Remove the stack's state only, because its hosts are gone."""
        self._run("stack", "rm", "--force", "--yes", "--preserve-config", self.name, stack=False, quiet=True)
        self._drop_salt()

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        stacks = json.loads(self._run("stack", "ls", "--json", stack=False, quiet=True) or "[]")
        return any(entry["name"] == self.name for entry in stacks)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; secret ones stay masked."""
        outputs: dict[str, Any] = json.loads(self._run("stack", "output", "--json", quiet=True))
        return outputs

    def _run(
        self, *arguments: str, stack: bool = True, quiet: bool = False, to_stderr: bool = False, partial: bool = False
    ) -> str:
        """What it printed where `quiet`; with `partial` also where it failed, if it printed anything."""
        command = [self._engine, *arguments, *(["--stack", self.name] if stack else [])]
        if not sys.stdin.isatty() or quiet:
            command.append("--non-interactive")
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL if quiet else None,
            stdout=subprocess.PIPE if quiet else (sys.stderr if to_stderr else None),
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            preexec_fn=_interrupted_with_parent,  # noqa: PLW1509 -- this process has one thread
        )
        try:
            output, errors = process.communicate()
        except KeyboardInterrupt:
            # The terminal has sent the engine the same interrupt; it cancels in an orderly way and must be let to.
            process.wait()
            raise
        if process.returncode != 0 and not (partial and output):
            detail = f": {errors.strip()}" if errors else ", see above"
            raise UserError(f"pulumi {arguments[0]} ended with status {process.returncode}{detail}", status=1)
        return output or ""

    def _drop_salt(self) -> None:
        """Take Pulumi's encryptionsalt out of the stack's file, unless something there is encrypted with it.

        It fits one passphrase only, that of the state which is gone; it would refuse every other.
        """
        file = stack_file(self.name, ROOT)
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("encryptionsalt:")]
        if len(kept) < len(lines) and not any("secure:" in line for line in kept):
            file.write_text("".join(kept), encoding="utf-8")

    def _wait_for_lock(self) -> None:
        """Wait for a live run on this machine to end; clear the lock of one that was killed."""
        deadline = time.monotonic() + LOCK_WAIT_S
        said = False
        while owners := self._lock_owners():
            alive = [pid for pid in owners if _alive(pid)]
            if not alive:
                self._run("cancel", "--yes", self.name, stack=False, quiet=True)
                return
            if time.monotonic() > deadline:
                raise UserError(f"another run on stack {self.name} (pid {alive[0]}) has not ended; end it, then repeat")
            if not said:
                print(
                    f"another run on stack {self.name} (pid {alive[0]}) is going on; waiting for its end",
                    file=sys.stderr,
                )
                said = True
            time.sleep(0.5)

    def _lock_owners(self) -> list[int]:
        """The processes that hold the stack's lock; only locks of this machine in our own backend are judged."""
        backend = self.environment.get("PULUMI_BACKEND_URL", f"file://{PULUMI_STATE}")
        if not backend.startswith("file://"):
            return []
        folder = Path(backend.removeprefix("file://").split("?")[0]).expanduser() / ".pulumi" / "locks"
        owners = []
        for file in folder.glob(f"organization/*/{self.name}/*.json"):
            try:
                lock = json.loads(file.read_text(encoding="utf-8"))
            except (FileNotFoundError, ValueError):
                continue  # just released, or just being written
            if lock.get("hostname") == socket.gethostname():
                owners.append(int(lock["pid"]))
        return owners


def _alive(pid: int) -> bool:
    try:
        return "pulumi" in Path(f"/proc/{pid}/comm").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def _interrupted_with_parent() -> None:
    """In the child: be interrupted when the parent is killed, so that no engine goes on unseen."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)

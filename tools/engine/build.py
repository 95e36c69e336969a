"""Builds the pinned Pulumi engine with Go, once per machine and version.

Only the Go module proxy is needed. The result is kept in a folder named after the version and the digest of go.mod and
go.sum, and appears there whole or not at all: it is built beside, and renamed. One build runs at a time; another waits
for it and uses what it made. A build that was killed leaves a folder that the next one removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

TOOL = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
SDK = "github.com/pulumi/pulumi/sdk/v3"
EXECUTOR = "pulumi-language-python-exec"

_VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_SHOWN_LINES = 15

Report = Callable[[str], None]


class EngineError(Exception):
    """No engine; the text says what is missing and how to get it. `exit_code` is 2 for what only a person can mend."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Pin:
    """What go.mod pins: the engine's version (`v3.259.0`), the lowest Go, and a digest of all modules."""

    version: str
    go: str
    digest: str

    @property
    def key(self) -> str:
        """The name of the engine's folder in the cache."""
        return f"{self.version}-{self.digest}"


def pinned(folder: Path = HERE) -> Pin:
    """Reads go.mod and go.sum."""
    module = (folder / "go.mod").read_text()
    version = re.search(r"github\.com/pulumi/pulumi/pkg/v3 (v\S+)", module)
    go = re.search(r"^go (\S+)$", module, re.MULTILINE)
    if version is None or go is None:
        raise ValueError(f"{folder / 'go.mod'} pins no Pulumi or no Go")
    digest = hashlib.sha256(module.encode() + b"\0" + (folder / "go.sum").read_bytes()).hexdigest()
    return Pin(version[1], go[1], digest[:12])


@dataclass(frozen=True)
class Go:
    """A Go toolchain that fits the pin."""

    executable: Path

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Runs a go command in this folder and returns what it printed.

        Raises:
            EngineError: it failed; the text holds the end of what it said.
        """
        done = subprocess.run(
            [self.executable, *arguments],
            cwd=HERE,
            env=_environment(env),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise _failure(arguments, done.stderr)
        return done.stdout


def find_go(pin: Pin, path: str | None = None) -> Go | None:
    """The Go on PATH, or None.

    Raises:
        EngineError: there is one, but it is too old and may not fetch a newer one.
    """
    found = shutil.which("go", path=path)
    if found is None:
        return None
    # Asked outside the module, GOVERSION is of this very toolchain, and nothing is fetched.
    answer = subprocess.run(
        [found, "env", "GOVERSION", "GOTOOLCHAIN"], cwd="/", capture_output=True, text=True, check=False
    )
    lines = answer.stdout.splitlines()
    if answer.returncode or len(lines) < 2:
        raise EngineError(
            f"{found} does not work ({answer.stderr.strip()[:200]}): mend or remove it. {WAYS.format(pin=pin)}"
        )
    version, toolchain = lines[0].removeprefix("go"), lines[1]
    if _numbers(version) < _numbers(pin.go) and not _may_switch(toolchain):
        raise EngineError(
            f"{found} is Go {version}, and Pulumi {pin.version} builds with {pin.go} or newer "
            f"(GOTOOLCHAIN={toolchain} keeps it from fetching one). {WAYS.format(pin=pin)}"
        )
    return Go(Path(found))


WAYS = (
    "Either install Pulumi {pin.version} or any newer 3.x from Pulumi's own packages, so that `pulumi` and "
    "`pulumi-language-python` are on PATH, or install Go {pin.go} or newer, with which it is built here "
    "once (about 5 minutes on 2 cores). Then run this again."
)
"""The two ways to an engine; a format of `pin`."""


def built_engine(cache: Path, pin: Pin) -> Path:
    """The folder that holds, or will hold, the engine and its language host."""
    return cache / "engine" / pin.key / "bin"


def build(cache: Path, pin: Pin, go: Go, report: Report) -> Path:
    """Returns the folder of the built engine and the program executor; builds them unless they are there.

    Raises:
        EngineError: the build failed.
    """
    folder = built_engine(cache, pin)
    with _lock(cache / "engine", report):
        if (folder / "pulumi").is_file() and (folder / EXECUTOR).is_file():
            return folder
        with _scratch(cache / "engine") as scratch:
            target = scratch / "bin"
            target.mkdir()
            _copy_executor(go, target)
            if (folder / "pulumi").is_file():
                shutil.copy2(folder / "pulumi", target / "pulumi")
            else:
                _compile(go, pin, target, report)
            shutil.rmtree(folder.parent, ignore_errors=True)
            scratch.rename(folder.parent)
    return folder


def executor_only(cache: Path, pin: Pin, go: Go, report: Report) -> Path:
    """The same for an official engine that came without its language host: only the program executor."""
    folder = cache / "engine" / f"{pin.key}-host" / "bin"
    with _lock(cache / "engine", report):
        if not (folder / EXECUTOR).is_file():
            with _scratch(cache / "engine") as scratch:
                (scratch / "bin").mkdir()
                _copy_executor(go, scratch / "bin")
                shutil.rmtree(folder.parent, ignore_errors=True)
                scratch.rename(folder.parent)
    return folder


def _copy_executor(go: Go, folder: Path) -> None:
    go.run("mod", "download", SDK)
    source = go.run("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", SDK).strip()
    target = folder / EXECUTOR
    shutil.copyfile(Path(source, "python", "cmd", EXECUTOR), target)
    target.chmod(0o755)


def _compile(go: Go, pin: Pin, folder: Path, report: Report) -> None:
    report(f"Building Pulumi {pin.version} with Go: about 5 minutes on 2 cores, once for this machine.")
    began = time.monotonic()
    report("  fetching its modules")
    total = len(go.run("list", "-mod=readonly", "-deps", TOOL).split())
    command = [
        str(go.executable),
        "install",
        "-v",  # names each package, which is the progress shown
        "-mod=readonly",
        "-trimpath",
        "-tags=osusergo,grpcnotrace",
        f"-ldflags=-s -w -X {_VERSION_VARIABLE}={pin.version}",
        TOOL,
    ]
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=HERE,
        env=_environment({"GOBIN": str(folder), "CGO_ENABLED": "0"}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        reader = threading.Thread(target=lines.extend, args=(process.stderr or (),), daemon=True)
        reader.start()
        try:
            while not _ended(process, wait=5):
                share = min(99, 100 * len(lines) // max(total, 1))
                report(f"  compiling, {time.monotonic() - began:.0f} s so far, {share} % of {total} packages")
        except BaseException:
            # The compilers are children of go: without this they would go on after an interrupt.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        reader.join()
    if process.returncode:
        raise _failure(["install", TOOL], "".join(lines))
    said = subprocess.run([folder / "pulumi", "version"], capture_output=True, text=True, check=False)
    if said.stdout.strip() != pin.version:
        raise EngineError(f"the engine was built, but calls itself {said.stdout.strip()!r}: {said.stderr.strip()}", 1)
    report(f"  built in {time.monotonic() - began:.0f} s")


def _ended(process: subprocess.Popen[str], wait: float) -> bool:
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        return False
    return True


def _failure(arguments: object, said: str) -> EngineError:
    command = " ".join(arguments) if isinstance(arguments, list | tuple) else str(arguments)
    tail = "\n".join(said.strip().splitlines()[-_SHOWN_LINES:])
    return EngineError(
        f"`go {command}` failed, so there is no engine; GOPROXY has to name a module proxy that this machine reaches. "
        f"Go said:\n{tail}",
        1,
    )


def _environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment for go, without what would make it build for or from elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOWORK")}
    return {**kept, "GOWORK": "off", **(more or {})}


def _may_switch(toolchain: str) -> bool:
    return toolchain not in ("local", "path") and not toolchain.startswith("go")


def _numbers(version: str) -> tuple[int, ...]:
    """`1.25.11`, `1.26rc1` or `1.25.4-X:foo` as numbers that compare."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


@contextlib.contextmanager
def _lock(folder: Path, report: Report) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    # The kernel drops the lock with the process, however it ends; the file itself stays.
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("Another build of the engine is running: waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    for left in folder.glob(".build-*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=".build-", dir=folder))
    scratch.chmod(0o755)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

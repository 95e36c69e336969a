"""What building a pinned Go program takes: the toolchain, one build at a time, progress, and a result that is whole or absent.

Only the Go module proxy is needed. A result is kept in a folder named after what it is built from: it is built beside, and
renamed. One build runs at a time; another waits for it and uses what it made. A build that was killed leaves a folder that
the next one removes, and Go's own cache, from which the next one goes on.

Nothing here needs more than the standard library: it runs before the project is installed.
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
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path.home() / ".cache" / "slipway"

_SHOWN_LINES = 15
_RUNNING = "  compiling"

Report = Callable[[str], None]


class BuildError(Exception):
    """Nothing was built; the text says what is missing and how to get it. `exit_code` is 2 for what only a person can mend."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Pin:
    """What a go.mod pins: the program's version (`v3.259.0`), the lowest Go, and a digest of all modules."""

    version: str
    go: str
    digest: str

    @property
    def key(self) -> str:
        """The name of the program's folder in the cache."""
        return f"{self.version}-{self.digest}"


def read_pin(folder: Path, module: str, *more: str) -> Pin:
    """Reads go.mod and go.sum of a folder; `more` counts in the digest as well.

    Raises:
        ValueError: go.mod names no version of the module, or no Go.
    """
    text = (folder / "go.mod").read_text()
    version = re.search(rf"{re.escape(module)} (v\S+)", text)
    go = re.search(r"^go (\S+)$", text, re.MULTILINE)
    if version is None or go is None:
        raise ValueError(f"{folder / 'go.mod'} pins no {module} or no Go")
    content = b"\0".join([text.encode(), (folder / "go.sum").read_bytes(), *(part.encode() for part in more)])
    return Pin(version[1], go[1], hashlib.sha256(content).hexdigest()[:12])


@dataclass(frozen=True)
class Go:
    """A Go toolchain that fits a pin, and the folder of the go.mod that it builds."""

    executable: Path
    folder: Path

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """Runs a go command in the folder and returns what it printed.

        Raises:
            BuildError: it failed; the text holds the end of what it said.
        """
        done = subprocess.run(
            [self.executable, *arguments],
            cwd=self.folder,
            env=_environment(env),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise _failure(arguments, done.stderr)
        return done.stdout

    def compile(self, verb: Sequence[str], tool: str, env: Mapping[str, str], report: Report) -> None:
        """Builds a tool with `verb` (such as install and its flags), and reports how far it is.

        Raises:
            BuildError: it failed; the text holds the end of what it said.
        """
        began = time.monotonic()
        name = tool.rpartition("/")[2]
        report(f"  fetching the modules of {name}")
        total = len(self.run("list", "-mod=readonly", "-deps", tool, env=env).split())
        # -v names each package, which is the progress shown.
        command = [str(self.executable), *verb, "-v", "-mod=readonly", "-trimpath", tool]
        lines: list[str] = []
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=_environment(env),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            reader = threading.Thread(target=lines.extend, args=(process.stderr or (),), daemon=True)
            reader.start()
            try:
                while not _ended(process, wait=5):
                    # The compilers' warnings are no packages.
                    done = sum(bool(re.fullmatch(r"[\w.~/+-]+\n", line)) for line in list(lines))
                    seconds = time.monotonic() - began
                    report(
                        f"{_RUNNING} {name}, {seconds:.0f} s so far, {done} of {total} packages "
                        "(less what Go has of earlier builds)"
                    )
            except BaseException:
                # The compilers are children of go: without this they would go on after an interrupt.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
            reader.join()
        if process.returncode:
            raise _failure([verb[0], tool], "".join(lines))


def find_go(pin: Pin, folder: Path, name: str, ways: str, path: str | None = None) -> Go | None:
    """The Go on PATH, or None. `name` and `ways` are what is built, and how else to come by it, for messages.

    Raises:
        BuildError: there is one, but it is too old and may not fetch a newer one.
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
        raise BuildError(f"{found} does not work ({answer.stderr.strip()[:200]}): mend or remove it. {ways}")
    version, toolchain = lines[0].removeprefix("go"), lines[1]
    if _numbers(version) < _numbers(pin.go) and not _may_switch(toolchain):
        raise BuildError(
            f"{found} is Go {version}, and {name} {pin.version} builds with {pin.go} or newer "
            f"(GOTOOLCHAIN={toolchain} keeps it from fetching one). {ways}"
        )
    return Go(Path(found), folder)


def _ended(process: subprocess.Popen[str], wait: float) -> bool:
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        return False
    return True


def _failure(arguments: Sequence[str], said: str) -> BuildError:
    tail = "\n".join(said.strip().splitlines()[-_SHOWN_LINES:])
    return BuildError(
        f"`go {' '.join(arguments)}` failed, so nothing was built; GOPROXY has to name a module proxy that this machine "
        f"reaches. Go said:\n{tail}",
        1,
    )


def _environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
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
def lock(folder: Path, report: Report) -> Iterator[None]:
    """One build at a time in a folder of the cache; others wait here."""
    folder.mkdir(parents=True, exist_ok=True)
    # The kernel drops the lock with the process, however it ends; the file itself stays.
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("Another such build is running: waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder to build in, beside the results; under the lock, what earlier builds left there goes first."""
    for left in folder.glob(".build-*"):
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=".build-", dir=folder))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def keep(made: Path, target: Path) -> None:
    """Put a folder that was built to its name in the cache, in place of a damaged one."""
    shutil.rmtree(target, ignore_errors=True)
    made.rename(target)


def reporter() -> Report:
    """Prints progress: on a terminal a running step has one line, elsewhere a line per half minute."""
    state = {"open": False, "count": 0}

    def report(text: str) -> None:
        if not text.startswith(_RUNNING):
            print(("\n" if state["open"] else "") + text, file=sys.stderr, flush=True)
            state["open"] = False
        elif sys.stderr.isatty():
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
            state["open"] = True
        else:
            state["count"] += 1
            if state["count"] % 6 == 1:
                print(text, file=sys.stderr, flush=True)

    return report


def run_command(command: Callable[[], str]) -> int:
    """Run a command that builds, and print what it returns; its exit code."""
    # So that a build is tidied up after on SIGTERM as on an interrupt, also where a shell has started this in the
    # background and had SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        print(command())
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted: nothing is left behind; the next call begins again", file=sys.stderr)
        return 130
    return 0

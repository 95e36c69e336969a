"""The compiled programs of the gateway's bench: built once, and run from here.

Both are labelled stand-ins, in bench/gateway: a load generator and an engine. Compiled, because what they cost is taken from
the same cores. They need Go's standard library and nothing else.
"""

import hashlib
import json
import re
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools import gobuild

SOURCES = Path(__file__).resolve().parent / "gateway"
_WAYS = "Install Go {go} or newer and put it on PATH."


def built() -> Path:
    """The folder of the programs `load` and `engine`; they are built unless they are there.

    Raises:
        BuildError: there is no Go that fits, or it failed.
    """
    pin = _pin()
    ways = _WAYS.format(go=pin.go)
    go = gobuild.find_go(pin, SOURCES, "the load generator", ways)
    if go is None:
        raise gobuild.BuildError(f"There is no Go to build the load generator with. {ways}")
    version = go.run("env", "GOVERSION").strip()
    cache = gobuild.CACHE / "bench"
    folder = cache / f"{pin.digest}-{version}"
    report = gobuild.reporter()
    with gobuild.lock(cache, report):
        if not all((folder / name).is_file() for name in ("load", "engine")):
            report("Building the load generator and the stand-in engine with Go, once for this machine.")
            with gobuild.scratch(cache) as scratch:
                go.run("build", "-trimpath", "-o", f"{scratch}/", "./load", "./engine", env={"CGO_ENABLED": "0"})
                gobuild.keep(scratch, folder)
    return folder


def _pin() -> gobuild.Pin:
    text = (SOURCES / "go.mod").read_text(encoding="utf-8")
    found = re.search(r"^go (\S+)$", text, re.MULTILINE)
    assert found is not None, "bench/gateway/go.mod names no Go"
    files = sorted(file for file in SOURCES.rglob("*.go") if not file.name.endswith("_test.go"))
    parts = [text.encode()]
    for file in files:
        parts += [str(file.relative_to(SOURCES)).encode(), file.read_bytes()]
    return gobuild.Pin("of this checkout", found[1], hashlib.sha256(b"\0".join(parts)).hexdigest()[:12])


class Program:
    """One of the programs, which ends when its standard input does, and is killed after a time in any case."""

    def __init__(self, command: list[str | Path], limit_s: float) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
        )
        self._timer = threading.Timer(limit_s, self._process.kill)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def say(self, line: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def heard(self) -> dict[str, Any]:
        """The next line that it prints.

        Raises:
            RuntimeError: it ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            name = Path(str(self._process.args[0])).name  # type: ignore[index]
            raise RuntimeError(f"the program {name} ended with {self._process.wait()} and no answer")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        """End it."""
        self._timer.cancel()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Engine(Program):
    """The stand-in engine.

    Attributes:
        address: where it listens.
        log: a socket that takes what would go to the system's log.
    """

    def __init__(self, programs: Path, folder: Path, *, rate: float, limit_s: float) -> None:
        self.log = folder / "log"
        super().__init__([programs / "engine", "-rate", str(rate), "-log", self.log], limit_s)
        self.address: str = self.heard()["address"]

    @property
    def url(self) -> str:
        """The base of its API."""
        return f"http://{self.address}/v1"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the load generator does; see bench/gateway/load/main.go."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    authority: str = ""
    model: str
    connections: int
    seconds: float = 0
    drain_s: float = 0
    warm_up_s: float = 60
    max_tokens: int = 1
    stream: bool = False
    merges: bool = False
    hold: bool = False


class Load(Program):
    """The load generator, warmed up.

    Attributes:
        ready: the connections that had an answer.
        first_error: why one had none.
    """

    def __init__(self, programs: Path, task: Task) -> None:
        super().__init__([programs / "load"], task.warm_up_s + task.seconds + task.drain_s + 30)
        try:
            self.say(json.dumps(asdict(task)))
            answer = self.heard()
        except BaseException:
            self.stop()
            raise
        self.ready: int = answer["ready"]
        self.first_error: str = answer["first_error"]

    def go(self) -> dict[str, Any]:
        """Begin; what it found."""
        self.say("go")
        return self.heard()

"""What the gateway's bench measures: ways to an engine, each with what it takes to run it.

Another front is another class here, and a name in `TARGETS`. All of them listen on the loopback interface alone.
"""

import grp
import os
import pwd
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
import yaml

from slipway.engines.vllm.launch import Vllm
from tests.integration.gateway import ENVIRONMENT, KEYS, Gateway, deployment, environment, free_port, key
from tests.unit.roles.loading import load
from tests.unit.roles.rendering import shown

MODELS = ("paced", "burning", "idle")
"""Models of the stand-in engine."""
START_S = 240
_NO_LIMIT = 10**12
"""Counted, and never reached."""


class Target(Protocol):
    """A way to the engine.

    Attributes:
        url: the base of its API.
        headers: what a request has to have.
        authority: the certificate to trust, where it speaks TLS.
    """

    url: str
    headers: Mapping[str, str]
    authority: Path | None

    def __init__(self, folder: Path, engine: str, log: Path) -> None:
        """Nothing runs yet.

        Args:
            folder: for its files; it is there, and its own.
            engine: base URL of the engine.
            log: socket that takes what would go to the system's log.
        """

    def start(self) -> None:
        """Begin to start it; others may start meanwhile."""

    def wait(self) -> None:
        """Wait until it answers."""

    def stop(self) -> None:
        """End all its processes."""

    def processes(self) -> list[int]:
        """The processes that it started; theirs are counted with them."""


class Direct:
    """No gateway at all: the engine, in the clear."""

    authority: Path | None = None

    def __init__(self, _folder: Path, engine: str, _log: Path) -> None:
        self.url = engine
        self.headers: Mapping[str, str] = {}

    def start(self) -> None:
        """Nothing: the engine runs."""

    def wait(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""

    def processes(self) -> list[int]:
        """None: what the engine costs is not counted."""
        return []


class Chain:
    """What Slipway runs today: nginx as its role sets it up, in front of LiteLLM with Slipway's part.

    Keys, limits and usage are on.
    """

    def __init__(self, folder: Path, engine: str, log: Path) -> None:
        self._engine = engine
        self._gateway = Gateway(folder / "litellm")
        self._nginx = Nginx(folder / "nginx", log)
        self.url = f"{self._nginx.url}/v1"
        self.headers: Mapping[str, str] = {"Authorization": f"Bearer {KEYS['open']}"}
        self.authority: Path | None = self._nginx.authority
        self._running = ExitStack()

    def start(self) -> None:
        """Start both."""
        self._running.callback(self._gateway.stop)
        self._gateway.start()
        self._gateway.keys(key("open", requests_per_minute=_NO_LIMIT, tokens_per_minute=_NO_LIMIT))
        native = sorted(Vllm().native)
        self._routes = self._gateway.routes([deployment(name, self._engine, native=native) for name in MODELS])
        self._running.callback(self._nginx.stop)
        self._nginx.start(nginx_upstreams={"gateway": {"address": "127.0.0.1", "port": self._gateway.port}})

    def wait(self) -> None:
        """Wait for both."""
        self._gateway.wait(START_S)
        self._gateway.use(routes=self._routes, timeout_s=60)
        self._nginx.wait()

    def stop(self) -> None:
        """Stop both."""
        self._running.close()

    def processes(self) -> list[int]:
        """Of both."""
        assert self._gateway.process is not None
        return [self._gateway.process.pid, *self._nginx.processes()]


class Stock:
    """LiteLLM of the role's lock as its makers wrote it: one worker, one key, no TLS.

    Nothing of Slipway's is in it but the environment variables, which keep it from asking the internet.
    """

    authority: Path | None = None

    def __init__(self, folder: Path, engine: str, _log: Path) -> None:
        self._folder, self._engine = folder, engine
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self.headers: Mapping[str, str] = {"Authorization": f"Bearer {ENVIRONMENT['LITELLM_MASTER_KEY']}"}

    def start(self) -> None:
        """Start it."""
        parameters = {"api_base": self._engine, "api_key": "none"}
        models = [
            {"model_name": name, "litellm_params": {"model": f"hosted_vllm/{name}", **parameters}} for name in MODELS
        ]
        settings = self._folder / "config.yaml"
        settings.write_text(yaml.safe_dump({"model_list": models}), encoding="utf-8")
        command = [environment() / "bin/litellm", "--config", settings, "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--num_workers", "1", "--telemetry", "False"]
        own = {"HOME": str(self._folder), "PATH": os.environ["PATH"]}
        self._process = started(command, self._folder, ENVIRONMENT | own)

    def wait(self) -> None:
        """Wait for it."""
        until_it_answers(f"http://127.0.0.1:{self._port}/health/liveliness", self._folder, self.processes)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            ended(self._process)

    def processes(self) -> list[int]:
        """Its one, if that still runs."""
        return running(self._process)


class Nginx:
    """nginx of this machine, with what the role writes, in a folder of its own; without root it works too."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._folder, self._log = folder, log
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self.authority = folder / "tls/authority.crt"

    def start(self, **variables: Any) -> None:
        """Write what the role would write with these variables, and start."""
        nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if nginx is None:
            raise FileNotFoundError("there is no nginx; install it, and keep its own service from starting")
        state = self._folder / "state"
        state.mkdir(parents=True)
        certificates = load("roles/nginx/files/certificate.py")
        (self._folder / "tls").mkdir(mode=0o700)
        settings = certificates.Settings(folder=self._folder / "tls", names=("127.0.0.1",))
        certificates.ensure(settings, datetime.now(UTC), dry=False)
        text = shown(
            "nginx", "nginx.conf.j2", nginx_folder=str(self._folder), nginx_port=f"127.0.0.1:{self._port}", **variables
        )
        for there, here in (("/var/lib/slipway/nginx", state), ("unix:/dev/log", f"unix:{self._log}")):
            assert there in text, f"the role's nginx.conf has no {there} any more"
            text = text.replace(there, str(here))
        (self._folder / "nginx.conf").write_text(text, encoding="utf-8")
        own = f"daemon off; pid {self._folder}/nginx.pid;"
        if os.geteuid() == 0:
            # Else root's nginx would give its work to a user who can't read this folder.
            own += f" user {pwd.getpwuid(0).pw_name} {grp.getgrgid(0).gr_name};"
        command = [nginx, "-e", "stderr", "-p", self._folder, "-c", self._folder / "nginx.conf", "-g", own]
        self._process = started(command, self._folder, dict(os.environ))

    def wait(self) -> None:
        """Wait until it answers, and the gateway through it."""
        until_it_answers(f"{self.url}/healthz", self._folder, self.processes, self.authority)

    def stop(self) -> None:
        """Stop it; its workers end with it."""
        if self._process is not None:
            ended(self._process)

    def processes(self) -> list[int]:
        """The one above the workers, if that still runs."""
        return running(self._process)


TARGETS: Mapping[str, type[Target]] = {"direct": Direct, "gateway": Chain, "stock": Stock}
"""By name. A front that is to be measured too has its place here; `--target` chooses it."""


def started(command: list[Any], folder: Path, own: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process whose words go to the file `journal`."""
    with (folder / "journal").open("wb") as journal:
        return subprocess.Popen(
            command, cwd=folder, env=own, stdin=subprocess.DEVNULL, stdout=journal, stderr=subprocess.STDOUT
        )


def running(process: subprocess.Popen[bytes] | None) -> list[int]:
    """The process' id, unless it has ended."""
    return [process.pid] if process is not None and process.poll() is None else []


def ended(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started."""
    tree = family([process.pid])
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs([one for one in tree if one.pid != process.pid], timeout=5)
    for one in left:
        one.kill()


def until_it_answers(
    url: str,
    folder: Path,
    processes: Callable[[], list[int]],
    authority: Path | None = None,
    timeout_s: float = START_S,
) -> None:
    """Wait for status 200.

    Raises:
        RuntimeError: it ended, or took too long; the text has the end of what it said.
    """
    deadline = time.monotonic() + timeout_s
    verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=authority) if authority else False
    with httpx.Client(timeout=5, trust_env=False, verify=verify) as client:
        while processes() and time.monotonic() < deadline:
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
    said = (folder / "journal").read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"{url} does not answer:\n{said}")


def family(processes: list[int]) -> list[psutil.Process]:
    """Processes and all below them that run."""
    found = []
    for number in processes:
        try:
            process = psutil.Process(number)
            found += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def cpu_s(processes: list[int]) -> float:
    """CPU seconds that processes have taken, those below them and those that these have outlived included."""
    total = 0.0
    for process in family(processes):
        try:
            taken = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += taken.user + taken.system + taken.children_user + taken.children_system
    return total


def memory_mib(processes: list[int]) -> float:
    """Their memory and that of those below them; what several share counts once (PSS)."""
    total = 0
    for process in family(processes):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20

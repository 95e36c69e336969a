"""What the gateway's bench measures: ways to engines, each with what it takes to run it.

Another way is another class here, and a name in `TARGETS`. All of them listen on the loopback interface alone.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from bench.gateway_processes import START_S, ended, running, started, until_it_answers
from slipway.engines.vllm.launch import Vllm
from tests.integration import front
from tests.integration.gateway import ENVIRONMENT, KEYS, Gateway, deployment, environment, free_port, key

_NO_LIMIT = 10**12
"""Counted, and never reached."""
_LIMITS = ("requests_per_minute", "tokens_per_minute", "parallel_requests", "tokens_per_month")
_NATIVE = sorted(Vllm().native)


class Target(Protocol):
    """A way to the engines.

    Attributes:
        headers: what a request has to have.
        authority: the certificate to trust, where it speaks TLS.
    """

    headers: Mapping[str, str]
    authority: Path | None

    def __init__(self, folder: Path, engines: Mapping[str, str], log: Path) -> None:
        """Nothing runs yet.

        Args:
            folder: for its files; it is there, and its own.
            engines: base URL of the API of each model's engine, by the model's name.
            log: socket that takes what would go to the system's log.
        """

    def url(self, model: str) -> str:
        """The base of the API at which the model is asked."""

    def start(self) -> None:
        """Begin to start it; others may start meanwhile."""

    def wait(self) -> None:
        """Wait until it answers."""

    def stop(self) -> None:
        """End all its processes."""

    def processes(self) -> list[int]:
        """The processes that it started; theirs are counted with them."""


class Direct:
    """No gateway at all: the engines, in the clear."""

    authority: Path | None = None

    def __init__(self, _folder: Path, engines: Mapping[str, str], _log: Path) -> None:
        self._engines = engines
        self.headers: Mapping[str, str] = {}

    def url(self, model: str) -> str:
        """That of its engine."""
        return self._engines[model]

    def start(self) -> None:
        """Nothing: the engines run."""

    def wait(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""

    def processes(self) -> list[int]:
        """None: what the engines cost is not counted."""
        return []


class FastPath:
    """Slipway's front, which asks the engines itself: nginx of this machine with what the role writes.

    Keys, limits and usage are on, and TLS is as on a host. LiteLLM does not run: no request would come to it.
    """

    fast_path = True
    compiles = True

    def __init__(self, folder: Path, engines: Mapping[str, str], log: Path) -> None:
        if shutil.which("nginx", path="/usr/sbin") is None:
            raise FileNotFoundError(
                "there is no nginx: install nginx, libnginx-mod-http-lua and lua-cjson, and keep its own service from starting"
            )
        self._engines = engines
        self._front = front.Front(folder / "front", workers=None, log=log, compiles=self.compiles)
        self.authority: Path | None = folder / "front/tls/server.pem"
        self.headers: Mapping[str, str] = {"Authorization": f"Bearer {KEYS['open']}"}

    def url(self, _model: str) -> str:
        """The same for every model."""
        return f"{self._front.url}/v1"

    def start(self) -> None:
        """Start it."""
        self._front.start()

    def wait(self) -> None:
        """Wait until all its workers know the team and the models."""
        self._front.wait()
        models = {name: front.model(_backend(name, url)) for name, url in self._engines.items()}
        team = front.team("open", **dict.fromkeys(_LIMITS, _NO_LIMIT))
        self._front.serve(team, models=models, fast_path=self.fast_path, timeout_s=600)

    def stop(self) -> None:
        """Stop it."""
        self._front.close()

    def processes(self) -> list[int]:
        """The one above the workers, if that still runs."""
        return running(self._front.process)


class LitellmPath(FastPath):
    """The same front with ``gateway.fast_path: false``: it has LiteLLM with Slipway's part ask the engines."""

    fast_path = False

    def __init__(self, folder: Path, engines: Mapping[str, str], log: Path) -> None:
        super().__init__(folder, engines, log)
        self._gateway = Gateway(folder / "litellm")

    def start(self) -> None:
        """Start both."""
        self._gateway.start()
        self._gateway.keys(key("open"))
        self._routes = self._gateway.routes(
            [deployment(name, url, native=_NATIVE) for name, url in self._engines.items()]
        )
        self._front.gateway = ("127.0.0.1", self._gateway.port)
        super().start()

    def wait(self) -> None:
        """Wait for both."""
        self._gateway.wait(START_S)
        self._gateway.use(routes=self._routes, timeout_s=60)
        super().wait()

    def stop(self) -> None:
        """Stop both."""
        super().stop()
        self._gateway.stop()

    def processes(self) -> list[int]:
        """Of both."""
        return [*running(self._gateway.process), *super().processes()]


class Interpreted(FastPath):
    """The fast path without LuaJIT's compiler (`front.lua_compiler: false`): what that costs."""

    compiles = False


def _backend(name: str, url: str) -> dict[str, Any]:
    """A model's engine as the front knows it; a model of idle streams would not answer the front's own question."""
    asked = "paced" if name == "idle" else name
    probe = {"path": "/v1/completions", "body": {"model": asked, "prompt": "x", "max_tokens": 1}}
    return front.backend(name, url, native=_NATIVE, probe=probe)


class Stock:
    """LiteLLM of the role's lock as its makers wrote it: one worker, one key, no TLS.

    Nothing of Slipway's is in it but the environment variables, which keep it from asking the internet.
    """

    authority: Path | None = None

    def __init__(self, folder: Path, engines: Mapping[str, str], _log: Path) -> None:
        self._folder, self._engines = folder, engines
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.headers: Mapping[str, str] = {"Authorization": f"Bearer {ENVIRONMENT['LITELLM_MASTER_KEY']}"}

    def url(self, _model: str) -> str:
        """The same for every model."""
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        """Start it."""
        models = [
            {"model_name": name, "litellm_params": {"model": f"hosted_vllm/{name}", "api_base": url, "api_key": "none"}}
            for name, url in self._engines.items()
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


TARGETS: Mapping[str, type[Target]] = {
    "direct": Direct,
    "gateway": FastPath,
    "gateway-interpreted": Interpreted,
    "litellm_path": LitellmPath,
    "stock": Stock,
}
"""By name; `--target` chooses what is held against the goals."""

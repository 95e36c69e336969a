"""vLLM on loopback: the build for CPUs of the role's lock, started as the unit of stack `lab` would start it."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from slipway.deployment.resolve import catalog_of, resolve
from slipway.engines.flags import arguments
from slipway.engines.vllm.launch import NO_DOMAIN
from slipway.paths import ROOT
from slipway.settings.load import read_public
from tests.integration.gateway import environment, free_port

EMBEDDING = {"runner": "pooling", "convert": "embed"}


@dataclass
class Engine:
    """A running engine in a folder of its own.

    Attributes:
        folder: of its files.
        model: folder of the model.
        names: that the model is served under.
        flags: beside those of the lab's stack.
    """

    folder: Path
    model: Path
    names: Sequence[str]
    flags: Mapping[str, Any] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Begin to start it; the first time its environment is installed, which takes minutes."""
        home = environment("vllm", "requirements-cpu.txt")
        settings = read_public("lab", ROOT)
        (instance,) = (each for each in resolve(settings, catalog_of(settings), "lab").instances)
        launch, self.port = instance.launch, free_port()
        for place, file in launch.files.items():
            (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / place).write_text(str(file.content))
        flags: dict[str, Any] = dict(instance.served.adapter.flags(instance.served))
        flags |= {"model": str(self.model), "host": "127.0.0.1", "port": self.port}
        command = [home / "bin/python", *launch.command[1:3], *arguments(flags | self.flags)]
        own = {"HOME": str(self.folder), "PYTHONPATH": str(self.folder / "startup"), "PATH": os.environ["PATH"]}
        with (self.folder / "journal").open("wb") as journal:
            self.process = subprocess.Popen(
                [*command, "--served-model-name", *self.names, "--allowed-media-domains", NO_DOMAIN],
                cwd=self.folder,
                env={**launch.environment, **own, "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor")},
                stdout=journal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, timeout_s: float = 300) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + timeout_s
        with httpx.Client(timeout=5, trust_env=False) as client:
            while True:
                assert self.process is not None
                said = (self.folder / "journal").read_text(errors="replace")[-6000:]
                assert self.process.poll() is None, said
                try:
                    if client.get(f"http://127.0.0.1:{self.port}/health").status_code == 200:
                        return
                except httpx.HTTPError as error:
                    assert time.monotonic() < deadline, f"{error!r}\n{said}"
                time.sleep(0.2)

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

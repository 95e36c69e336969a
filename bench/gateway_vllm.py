"""The tiny vLLM behind the gateway's bench: the real engine, built for CPUs, with the lab's model.

It is the engine of the stack `lab` as its unit would start it, but for where its files are and how many requests it works on at
once. Its environment is that of the role's lock, installed once in this user's cache. What it generates is nonsense, and its
speed says nothing of a GPU's: it takes its part of the same cores.
"""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from bench.gateway_processes import ended, running, started, until_it_answers
from slipway.deployment.resolve import catalog_of, resolve
from slipway.deployment.types import Instance
from slipway.engines.flags import arguments
from slipway.engines.vllm.launch import NO_DOMAIN, Vllm
from slipway.paths import ROOT
from slipway.settings.load import read_public
from tests.integration.gateway import environment, free_port
from tools.lab.model import make_tiny_llama

_ROLE = ROOT / "playbooks/roles/vllm"
_AT_ONCE = 64
_START_S = 300


class TinyVllm:
    """The engine.

    Attributes:
        url: the base of its API.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Nothing runs yet.

        Args:
            folder: for its files; it is made.
            name: of the model; it is known as NAME-inside too, as the gateway calls it.
        """
        self._folder, self._name = folder, name
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            ended(self._process)

    def start(self) -> None:
        """Begin to start it; the first time its environment is installed, which takes minutes."""
        instance = _instance()
        home = _environment()
        startup = self._folder / "startup"
        startup.mkdir(parents=True)
        for name, file in instance.launch.files.items():
            (self._folder / name).write_text(str(file.content), encoding="utf-8")
        flags = Vllm().flags(instance.served) | {
            "model": str(make_tiny_llama(self._folder / "tiny-llama")),
            "host": "127.0.0.1",
            "port": self._port,
            "max-num-seqs": _AT_ONCE,
        }
        command = [home / "bin/python", *instance.launch.command[1:3], *arguments(flags)]
        command += ["--served-model-name", self._name, f"{self._name}-inside", "--allowed-media-domains", NO_DOMAIN]
        own = {
            "HOME": str(self._folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(startup),
            "TORCHINDUCTOR_CACHE_DIR": str(self._folder / "inductor"),
        }
        self._process = started(command, self._folder, {**instance.launch.environment, **own})

    def wait(self) -> None:
        """Wait until it answers."""
        address = f"http://127.0.0.1:{self._port}/health"
        until_it_answers(address, self._folder, lambda: running(self._process), timeout_s=_START_S)


def _instance() -> Instance:
    """The lab's one engine."""
    settings = read_public("lab", ROOT)
    return resolve(settings, catalog_of(settings), "lab").instances[0]


def _environment() -> Path:
    tasks = yaml.safe_load((_ROLE / "tasks/main.yml").read_text(encoding="utf-8"))
    uncompiled = tasks[0]["vars"]["program_uncompiled"]
    return environment("vllm", _ROLE / "files/requirements-cpu.txt", uncompiled)

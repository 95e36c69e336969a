"""The gateway as a host runs it: the locked LiteLLM, with the role's files beside its configuration."""

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from slipway.gateways.litellm import launch
from slipway.gateways.litellm.config import config
from slipway.paths import ROOT

FILES = ROOT / "playbooks/roles/litellm/files"
KEYS = {"open": "sk-open-0123456789", "narrow": "sk-narrow-0123456789", "private": "sk-private-0123456789"}
ENVIRONMENT = launch.ENVIRONMENT | {"LITELLM_MASTER_KEY": "sk-" + "0" * 32}


def environment(role: str = "litellm", lock: str = "requirements.txt") -> Path:
    """The Python environment of one of a role's locks, LiteLLM's unless another is named, in this user's cache; made once."""
    folder = ROOT / "playbooks/roles" / role
    locked = folder / "files" / lock
    cache = Path("~/.cache/slipway").expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / f"{role}-{hashlib.sha256(locked.read_bytes()).hexdigest()[:12]}"
    with (cache / f"{role}.lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            uv = shutil.which("uv") or next(str(path) for path in sorted(cache.glob("uv-*/bin/uv")))
            subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, home], check=True)
            sync = [uv, "pip", "sync", "-q", "--require-hashes", "--python", home / "bin/python", locked]
            subprocess.run(sync, check=True)
            # As the role does: else every start compiles thousands of files.
            uncompiled = yaml.safe_load((folder / "tasks/main.yml").read_text())[0]["vars"]["program_uncompiled"]
            compiling = [sys.executable, "-I", "-S", "-m", "compileall", "-q", "-q", "-j", "0", "-x", uncompiled]
            subprocess.run([*compiling, home / "lib"], check=False)
            (home / "ready").touch()
    return home


def free_port() -> int:
    """A port to listen on in a while.

    It is below those that the kernel gives to connections (net.ipv4.ip_local_port_range): a connection of another test
    may hold one of those by the time that the gateway has loaded its modules.
    """
    while True:
        port = random.randrange(20_000, 30_000)  # noqa: S311 -- a port, not a secret
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def key(who: str, **more: Any) -> dict[str, Any]:
    return {"name": who, "keys": [hashed(KEYS[who])], "models": None, "private": False, **more}


def hashed(key: str, **more: Any) -> dict[str, Any]:
    """What teams.json has of a key."""
    salt = "5a" * 32
    digest = hmac.new(bytes.fromhex(salt), key.encode(), hashlib.sha256).hexdigest()
    return {"id": None, "salt": salt, "hash": digest, "not_after": None, **more}


@dataclass
class Gateway:
    """A running gateway in a folder of its own."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def journal(self) -> str:
        return (self.folder / "journal").read_text()

    def start(self) -> None:
        startup = self.folder / "startup"
        startup.mkdir(parents=True)
        shutil.copy(FILES / "custom_auth.py", self.folder)
        shutil.copy(FILES / "slipway/sitecustomize.py", startup)
        shutil.copytree(FILES / "slipway/slipway_gateway", startup / "slipway_gateway")
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config(60)))
        self.filters({})
        self.port = free_port()
        home = environment()
        command = [home / "bin/litellm", "--config", self.folder / "config.yaml", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--num_workers", "1", "--telemetry", "False"]
        own = {"HOME": str(self.folder), "PYTHONPATH": str(startup), "PATH": os.environ["PATH"]}
        with (self.folder / "journal").open("wb") as journal:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=ENVIRONMENT | own, stdout=journal, stderr=subprocess.STDOUT
            )

    def wait(self, timeout_s: float = 120) -> None:
        """Wait until it answers."""
        self._until(f"{self.url}/health/liveliness", timeout_s)

    def routes(
        self,
        models: Sequence[Mapping[str, Any]],
        aliases: Mapping[str, str] | None = None,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        **more: Any,
    ) -> str:
        """Write other routes; returns their digest."""
        data = {"models": models, "aliases": aliases or {}, "fallbacks": fallbacks or {}, "timeout_s": 20, **more}
        return self.write("routes.json", json.dumps(data))

    def keys(self, *entries: Mapping[str, Any]) -> str:
        return self.write("teams.json", json.dumps({"teams": entries}))

    def filters(self, teams: Mapping[str, Any], patterns: Mapping[str, Any] | None = None) -> str:
        return self.write("filters.json", json.dumps({"patterns": patterns or {}, "teams": teams}))

    def write(self, name: str, text: str) -> str:
        """As Ansible does: the new file takes the old one's place at once."""
        new = self.folder / f"{name}.new"
        new.write_text(text)
        new.replace(self.folder / name)
        return sha256(text)

    def use(self, *, routes: str, timeout_s: float = 10) -> None:
        """Wait until the routes with this digest are in use."""
        self._until(f"{self.url}/slipway/state?routes={routes}", timeout_s)

    def ask(self, path: str, team: str = "open", **body: Any) -> httpx.Response:
        return self.client.post(self.url + path, json=body, headers={"authorization": f"Bearer {KEYS[team]}"})

    def chat(self, model: str, team: str = "open", **more: Any) -> httpx.Response:
        messages = [{"role": "user", "content": "Hello"}]
        return self.ask("/v1/chat/completions", team, model=model, messages=messages, **more)

    def stop(self) -> None:
        self.client.close()
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _until(self, url: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        answer = ""
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.journal[-4000:]
            try:
                response = self.client.get(url, timeout=5)
                if response.status_code == 200:
                    return
                answer = response.text
            except httpx.HTTPError as error:
                answer = repr(error)
            time.sleep(0.1)
        raise TimeoutError(f"{url}: {answer}\n{self.journal[-4000:]}")


def deployment(name: str, url: str, *, here: bool = True, native: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """An entry of routes.json: a backend that is served here, or a provider."""
    return {
        "name": name,
        "id": f"{name}@{url.split(':')[2].split('/', maxsplit=1)[0]}",
        "litellm": {
            "model": f"{'hosted_vllm' if here else 'openai'}/{name}-inside",
            "api_base": url,
            "api_key": "sk-backend",
        },
        "task": "chat",
        "weight": 1,
        "native": list(native),
        "url": url if here else None,
        "private": here,
        **more,
    }

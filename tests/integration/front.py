"""The front with its Lua modules: the real nginx with the role's template, on loopback."""

import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jinja2
import yaml

from slipway.paths import ROOT
from tests.integration.gateway import KEYS, free_port, sha256

ROLE = ROOT / "playbooks/roles/nginx"
_NO_NEW_CODE = (
    "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0, 'no PR_SET_MDWE'; "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Becomes the program that is named, with what the unit's MemoryDenyWriteExecute allows it (prctl(2), PR_SET_MDWE)."""
SALT = "5a" * 16
PROBE = {"path": "/v1/completions", "body": {"model": "tiny-inside", "prompt": "x", "max_tokens": 1}}


def configuration(folder: Path, port: int, log: Path | None = None, **variables: Any) -> str:
    """nginx.conf as the role renders it, but for the journal: that is another socket, or a file here."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701
    environment.filters["to_json"] = json.dumps
    known: dict[str, Any] = {}
    for part in ("defaults/main.yml", "vars/main.yml"):
        known |= yaml.safe_load((ROLE / part).read_text())
    for error in known["nginx_errors"]:
        error["message"] = error["message"].replace("{{ nginx_body_limit_mib }}", str(known["nginx_body_limit_mib"]))
    known |= {
        "nginx_port": port,
        # Of the nginx of this machine: Debian 12's is 1.22.
        "nginx_http2_apart": False,
        "nginx_folder": str(folder),
        "nginx_state_folder": str(folder / "state"),
        "nginx_program_folder": str(ROLE / "files"),
        **variables,
    }
    text = environment.from_string((ROLE / "templates/nginx.conf.j2").read_text()).render(known)
    journal = "syslog:server=unix:/dev/log"
    assert journal in text, f"the role's nginx.conf has no {journal} any more"
    if log is not None:
        return text.replace(journal, f"syslog:server=unix:{log}")
    return text.replace(f"{journal},nohostname,tag=front", str(folder / "access"))


def team(name: str, **more: Any) -> dict[str, Any]:
    """An entry of teams.json whose key is that of `KEYS`, or one made from its name."""
    key = KEYS.get(name, f"sk-key-of-{name}-0123456789")
    return {
        "name": name,
        "models": None,
        "private": False,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "parallel_requests": None,
        "tokens_per_month": None,
        "money_per_month": None,
        "not_after": None,
        "keys": [hashed(key)],
        **more,
    }


def hashed(key: str, **more: Any) -> dict[str, Any]:
    """A key as teams.json has it."""
    digest = hmac.new(bytes.fromhex(SALT), key.encode(), hashlib.sha256).hexdigest()
    return {"id": None, "salt": SALT, "hash": digest, "not_after": None, **more}


def backend(name: str, url: str, *, native: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """A backend of routes.json."""
    port = int(url.split(":")[2].split("/", maxsplit=1)[0])
    return {
        "id": f"{name}@{port}",
        "address": "127.0.0.1",
        "port": port,
        "model": f"{name}-inside",
        "group": name,
        "key": "sk-backend",
        "native": list(native),
        "weight": 1,
        "health": "/health",
        "probe": PROBE,
        "progress": {"path": "/metrics", "counter": "steps_total"},
        **more,
    }


def model(*backends: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A model of routes.json."""
    return {
        "task": "chat",
        "context_window": 4096,
        "max_output_tokens": None,
        "private": False,
        "provided": False,
        "fallbacks": [],
        "backends": list(backends),
        **more,
    }


def peer(address: str, port: int, *, name: str = "gateway", **more: Any) -> dict[str, Any]:
    """A gateway of routes.json."""
    return {"id": f"{name}@{port}", "address": address, "port": port, "key": None, "health": "/health", **more}


@dataclass
class Front:
    """A running front in a folder of its own.

    Attributes:
        folder: of its files.
        gateway: where the gateway listens, as host and port; by default nowhere.
        workers: of nginx; None for as many as the role has.
        log: a socket that takes the log of requests in place of a file.
        variables: of the role, where they are not the defaults.
        compiles: whether LuaJIT compiles, and may: `front.lua_compiler`.
        counters: what counters.json says, for one that shares its counters.
    """

    folder: Path
    gateway: tuple[str, int] = ("127.0.0.1", 9)
    workers: int | None = 2
    log: Path | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    compiles: bool = True
    counters: str | None = None
    port: int = 0
    stamp: int = 0
    process: subprocess.Popen[bytes] | None = None
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False, verify=False))  # noqa: S501

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def journal(self) -> str:
        requests = "" if self.log is not None else (self.folder / "access").read_text()
        return (self.folder / "journal").read_text() + requests

    @property
    def usage(self) -> list[dict[str, Any]]:
        """The records so far; one is written just after the answer's end. Of one that is being written nothing counts."""
        texts = [file.read_text() for file in sorted((self.folder / "state/usage").glob("*.jsonl"))]
        return [json.loads(line) for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]

    def used(self, count: int, timeout_s: float = 10) -> list[dict[str, Any]]:
        """The records, once there are so many."""
        deadline = time.monotonic() + timeout_s
        while len(self.usage) < count:
            assert time.monotonic() < deadline, self.usage
            time.sleep(0.02)
        return self.usage

    def start(self) -> None:
        (self.folder / "tls").mkdir(parents=True)
        (self.folder / "state/usage").mkdir(parents=True)
        (self.folder / "state/content").mkdir(mode=0o700)
        _certificate(self.folder / "tls/server.pem")
        self.port = free_port()
        self._write([team("open")], {})
        if self.counters is not None:
            self.write("counters.json", self.counters)
        self.again()

    def again(self) -> None:
        """Start it, as after a stop."""
        variables = {"nginx_lua_compiler": self.compiles, **self.variables}
        text = configuration(self.folder, self.port, self.log, **variables)
        if self.workers is not None:
            text = text.replace("worker_processes auto;", f"worker_processes {self.workers};")
        (self.folder / "nginx.conf").write_text(text)
        command = ["/usr/sbin/nginx", "-e", "stderr", "-c", self.folder / "nginx.conf"]
        command += ["-g", f"daemon off; pid {self.folder}/pid;" + ("user root;" if os.geteuid() == 0 else "")]
        with (self.folder / "journal").open("ab") as journal:
            self.process = subprocess.Popen(
                command if self.compiles else [sys.executable, "-c", _NO_NEW_CODE, *command],
                stdout=journal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, timeout_s: float = 30) -> None:
        self._until("/healthz", timeout_s)

    def write(self, name: str, text: str) -> str:
        new = self.folder / f"{name}.new"
        new.write_text(text)
        new.replace(self.folder / name)
        return sha256(text)

    def use(self, timeout_s: float = 10, **digests: str) -> None:
        """Wait until every worker uses the files with these digests."""
        wanted = set(digests.items())
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.journal.count
            workers = self.workers or os.cpu_count() or 1
            if all(found(f"{name}.json is in use, SHA-256 {digest}") >= workers for name, digest in wanted):
                return
            assert time.monotonic() < deadline, self.journal[-4000:]
            time.sleep(0.05)

    def serve(self, *teams: Mapping[str, Any], models: Mapping[str, Any], **more: Any) -> None:
        """Have it serve these models to these teams, and wait for it.

        A blank at the end of each file makes it another one each time, so that its being in use can be seen.
        """
        written = self._write(teams or [team("open")], models, **more)
        self.use(**written)

    def _write(self, teams: Sequence[Mapping[str, Any]], models: Mapping[str, Any], **more: Any) -> dict[str, str]:
        """Both files; returns their digests."""
        self.stamp += 1
        gateways = [peer(*self.gateway)]
        routes = {
            "models": models,
            "aliases": {},
            "through": {"open": gateways, "private": gateways},
            "currency": "EUR",
            "fast_path": True,
            "timeout_s": 30,
            "extra_fields": {},
            "allowed_origins": [],
            **more,
        }
        contents = {"teams": {"teams": teams}, "routes": routes}
        return {
            name: self.write(f"{name}.json", json.dumps(data) + " " * self.stamp) for name, data in contents.items()
        }

    def state(self) -> dict[str, Any]:
        return self.client.get(self.url + "/slipway/state").json()

    def ask(self, path: str, as_: str = "open", **body: Any) -> httpx.Response:
        key = KEYS.get(as_, f"sk-key-of-{as_}-0123456789")
        return self.client.post(self.url + path, json=body, headers={"authorization": f"Bearer {key}"})

    def chat(self, model: str, as_: str = "open", **more: Any) -> httpx.Response:
        messages = [{"role": "user", "content": "Hello"}]
        return self.ask("/v1/chat/completions", as_, model=model, messages=messages, **more)

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            # As systemd does: a kill takes the workers along.
            (os.killpg if how == signal.SIGKILL else os.kill)(self.process.pid, how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def close(self) -> None:
        self.client.close()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _until(self, path: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self._said()
            with contextlib.suppress(httpx.HTTPError):
                if self.client.get(self.url + path, timeout=5).status_code == 200:
                    return
            assert time.monotonic() < deadline, self._said()
            time.sleep(0.05)

    def _said(self) -> str:
        """The end of the journal; there may be no log of requests yet."""
        return (self.folder / "journal").read_text()[-4000:]


def _certificate(path: Path) -> None:
    """One for this address, made as the role makes it but without an authority."""
    key = path.with_suffix(".key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", path], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())

"""Roles applied to a lab host by Ansible itself, without the plugin, and doubles of what they meet there."""

import hashlib
import http.server
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.e2e.stack import KEY_FILE, ssh
from tools.lab.network import GATEWAY

PROGRAM = "/opt/slipway/double"
SECRET = 'canary "quoted" $HOME \\ `date` %n #'
PORTS = {"one": 8101, "two": 8102}

Variables = dict[str, Any]

_TASK = re.compile(r"^TASK \[(?:[\w-]+ : )?(.*)\]")


@dataclass(frozen=True)
class Run:
    """One run of Ansible: the names of the tasks that changed something, its exit status and all it printed."""

    changed: list[str]
    status: int
    output: str

    @property
    def results(self) -> Any:
        """What the roles handed on."""
        document = self.output.partition("RUN: ")[2]
        return json.JSONDecoder().raw_decode(document)[0]["playbook_results"]


@dataclass(frozen=True)
class RoleHost:
    """A lab host and the roles of this checkout."""

    name: str
    address: str
    root: Path
    folder: Path
    """For playbooks and variables; the test's own."""
    timeout_s: int = 600
    """Of one run."""

    def run(self, *steps: tuple[str, dict[str, Any]], check: bool = False, fails: bool = False) -> Run:
        """Apply roles, one after the other in one run, each with its variables.

        Raises:
            AssertionError: the run failed, or with `fails` did not.
        """
        tasks = [
            {"name": f"Role {role}", "ansible.builtin.include_role": {"name": role}, "vars": variables}
            for role, variables in steps
        ]
        play = [{"hosts": "all", "gather_facts": False, "become": True, "tasks": tasks}]
        (self.folder / "play.json").write_text(json.dumps(play))
        done = subprocess.run(self._command(check=check), **self._process(), check=False)
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output
        return Run(list(_changed(output)), done.returncode, output)

    def start(self, *steps: tuple[str, dict[str, Any]]) -> subprocess.Popen[str]:
        """Begin to apply roles; the caller waits or kills."""
        tasks = [{"ansible.builtin.include_role": {"name": role}, "vars": variables} for role, variables in steps]
        play = [{"hosts": "all", "gather_facts": False, "become": True, "tasks": tasks}]
        (self.folder / "play.json").write_text(json.dumps(play))
        options = {**self._process(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        del options["timeout"], options["capture_output"]
        return subprocess.Popen(self._command(check=False), start_new_session=True, **options)

    def ssh(self, command: str, *, check: bool = True) -> str:
        """Run a command on the host; its standard output."""
        return ssh(self.address, command, check=check)

    def _command(self, *, check: bool) -> list[str]:
        return [
            *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", f"{self.name},", "--diff"),
            *(["--check"] if check else []),
            str(self.folder / "play.json"),
        ]

    def _process(self) -> dict[str, Any]:
        settings = {
            "ANSIBLE_CONFIG": str(self.root / "playbooks/ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_HOST_KEY_CHECKING": "0",
            "ANSIBLE_REMOTE_TMP": "/tmp/.slipway-${USER}",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible"),
            "ANSIBLE_SSH_ARGS": f"-o HostName={self.address} -o User=slipway -o IdentityFile={KEY_FILE} -o ControlMaster=auto "
            f"-o ControlPersist=60s -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        }
        return {"env": {**os.environ, **settings}, "text": True, "capture_output": True, "timeout": self.timeout_s}


def _changed(output: str) -> Any:
    task = ""
    for line in output.splitlines():
        if match := _TASK.match(line):
            task = match[1]
        elif line.startswith("changed: ") and task:
            yield task
            task = ""  # once for all items of a loop


class Instance:
    """One instance of the double, seen on the host."""

    def __init__(self, host: RoleHost, name: str) -> None:
        self.host, self.name, self.port = host, name, PORTS[name]

    def variables(self, version: str = "old", **more: Any) -> Variables:
        """What role service gets for it."""
        return {
            "service_name": self.name,
            "service_description": f"the double {self.name}, at 100 %",
            "service_command": [f"{PROGRAM}/{version}/engine.py", str(self.port), f'{self.name} "a" $b %c \\'],
            "service_program": {"root": PROGRAM, "folder": f"{PROGRAM}/{version}"},
            "service_environment": {"DOUBLE": f'{self.name} "a" $b 100 % \\'},
            "service_secrets": {"DOUBLE_KEY": SECRET},
            "service_files": {
                "config.yaml": {"content": "a: 1\n"},
                "keys.json": {"content": "[]", "secret": True, "reload": True},
                "startup/first/file.py": {"content": "1\n"},
            },
            "service_probe": {"url": f"http://127.0.0.1:{self.port}/health"},
            "service_also": {"version": f"http://127.0.0.1:{self.port}/version"},
            "service_journal": {"tokens": "KV cache size: ([0-9,]+) tokens", "times": " ([0-9.]+)x"},
            "service_drain_timeout": 5,
            **more,
        }

    def files(self, **changes: str) -> Variables:
        """Its files with other contents, by name without suffix."""
        files: Variables = self.variables()["service_files"]
        for name, content in changes.items():
            key = next(key for key in files if key.startswith(name))
            files[key] = {**files[key], "content": content}
        return {"service_files": files}

    def ask(self, path: str) -> Any:
        """What it answers."""
        script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{self.port}{path}').read().decode())"
        return json.loads(self.host.ssh(f"python3 -c {shlex.quote(script)}"))

    def pid(self) -> str:
        return self.host.ssh(f"systemctl show --property=MainPID --value slipway-{self.name}").strip()

    def trace(self) -> str:
        """All of it on the host: its process and its files with modes, owners and contents."""
        places = (
            f"/etc/slipway/{self.name} /var/lib/slipway/{self.name} /etc/systemd/system/slipway-{self.name}.service*"
        )
        files = self.host.ssh(f"sudo find {places} -printf '%p %y %m %u %g %T@\\n' | sort")
        return self.pid() + files + self.host.ssh(f"sudo find {places} -type f -exec sha256sum {{}} + | sort")


@contextmanager
def outside() -> Iterator[tuple[str, list[str]]]:
    """A listener out of the host; its address with the port, and who has connected."""
    callers: list[str] = []
    with socket.create_server((GATEWAY, 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, (address, _) = server.accept()
                except OSError:
                    return
                callers.append(address)
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        yield f"{GATEWAY}:{server.getsockname()[1]}", callers
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def served(handler: Any) -> Iterator[str]:
    """A server out of the host; its URL."""
    server = http.server.ThreadingHTTPServer((GATEWAY, 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{GATEWAY}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Hub(http.server.BaseHTTPRequestHandler):
    """A double of a model hub, for the hub's own client: it knows one commit of one repository."""

    commit = "a" * 40
    files: ClassVar = {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b"no"}
    keys: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        path, _, name = self.path.partition(f"/resolve/{self.commit}/")
        self.keys.append(self.headers["Authorization"])
        known = path.startswith(("/api/models/o/n", "/o/n")) and self.commit in self.path
        tree = [{"type": "file", "path": key, "size": len(data), "oid": "b" * 40} for key, data in self.files.items()]
        body = self.files[name] if name else json.dumps(tree).encode()
        self.send_response(200 if known else 404)
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()[:40]}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class Gateway(http.server.BaseHTTPRequestHandler):
    """A double of a gateway: an answer for each task. It notes what came."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str]]
    """Method and path of each request; a list of each gateway's own."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.seen.append((self.command, self.path))
        self.send_response(200)
        answer = self._document(body)
        if answer.startswith(b"data:"):
            self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _document(self, body: bytes) -> bytes:
        if self.path == "/v1/chat/completions" and b'"silent"' not in body:
            return b"".join(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n' for _ in range(3))
        documents: dict[str, Any] = {
            "/v1/embeddings": {"data": [{"embedding": [0.5, 1.0]}, {"embedding": [1.0, 0.5]}]},
            "/v1/rerank": {"results": [{"index": index, "relevance_score": 0.5} for index in range(3)]},
            "/v1/audio/transcriptions": {"text": "hm"},
        }
        return json.dumps(documents.get(self.path, {"path": self.path})).encode()


@contextmanager
def gateway() -> Iterator[tuple[Variables, list[tuple[str, str]]]]:
    """A double of a gateway out of the host: its address and port, and what it has been asked."""
    seen: list[tuple[str, str]] = []
    with served(type("Gateway", (Gateway,), {"seen": seen})) as url:
        port = int(url.rpartition(":")[2])
        yield {"id": f"gateway@{port}", "address": GATEWAY, "port": port, "key": None, "health": "/health"}, seen

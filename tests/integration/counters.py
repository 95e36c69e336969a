"""The counters that two fronts share: the real server of Redis, on loopback."""

import json
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.front import Front
from tests.integration.gateway import free_port

PASSWORD = "a-password-of-the-counters"


@dataclass
class Counters:
    """A server in a folder of its own, with what the role's unit starts it with."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD]
        command += ["--appendonly", "yes", "--save", "", "--dir", str(self.folder)]
        with (self.folder / "journal").open("ab") as journal:
            self.process = subprocess.Popen(command, stdout=journal, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while self.ask("PING") != "+PONG":
            assert time.monotonic() < deadline, (self.folder / "journal").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """As a host does that loses its power, but for what the kernel has still to write."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def value(self, *words: str) -> str:
        """The text that a command answers with."""
        return self.ask(*words, line=2)

    def ask(self, *words: str, line: int = 1) -> str:
        """A line of the answer to a command, by default the first; empty where nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as to:
                to.sendall(f"AUTH {PASSWORD}\r\n{' '.join(words)}\r\nQUIT\r\n".encode())
                lines = b"".join(iter(lambda: to.recv(65536), b"")).decode().splitlines()
        except OSError:
            return ""
        return lines[line] if len(lines) > line else ""

    def front(self, folder: Path, name: str) -> Front:
        """A front that shares them with one other; not started."""
        front = Front(folder / name, variables={"nginx_counters": {"front": name}})
        front.counters = json.dumps(
            {"address": "127.0.0.1", "port": self.port, "password": PASSWORD, "front": name, "fronts": 2}
        )
        return front

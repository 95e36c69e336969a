"""The programs llama-server and Ollama on a real host: installed, run under the unit's sandbox, and removed without a trace."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.engines.programs import ROLES, lock_digest
from tests.e2e.conftest import LISTING
from tests.e2e.roles import RoleHost
from tests.e2e.stack import KEY_FILE
from tools.lab import HostSpec, Lab
from tools.lab.model import make_tiny_gguf
from tools.ollama.build import ensure

# Stack lab-models has both programs, too; here is what it doesn't do with them.
pytestmark = pytest.mark.rare

SPEC = HostSpec("e2e-programs", "10.213.77.190")
FILES = ROLES / "llama_cpp" / "files"
LLAMA_CPP = {
    "llama_cpp_folder": "/opt/slipway/llama-cpp/"
    + lock_digest(FILES / "requirements.txt", FILES / "llama_server.py", otherwise="")
}
MODEL = "/var/lib/slipway/models/tiny/tiny-llama.gguf"
SANDBOX = {"MemoryDenyWriteExecute": "yes"}
"""Beyond what every service goes without: neither engine makes code while it runs."""

KEY = "sk-of-the-test-7f3q"
STREAM = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1000, "stream": True}


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def program(file: Path) -> dict[str, Any]:
    return {"ollama_program": {"path": str(file)}, "ollama_folder": f"/opt/slipway/ollama/{digest(file)[:16]}"}


def llama_service(drain: int = 120) -> dict[str, Any]:
    flags = {"model": MODEL, "alias": "tiny", "port": "18080", "api-key-file": "/etc/slipway/llama/keys"}
    flags |= {"ctx-size": "8192", "parallel": "2", "threads": "1", "log-verbosity": "4", "cache-ram": "0", "poll": "0"}
    return {
        "service_name": "llama",
        "service_command": [
            f"{LLAMA_CPP['llama_cpp_folder']}/bin/llama-server",
            *(part for name, value in flags.items() for part in (f"--{name}", value)),
            *("--metrics", "--no-slots", "--no-ui", "--offline"),
        ],
        "service_environment": {"SLIPWAY_DRAIN_TIMEOUT": str(drain)},
        "service_files": {"keys": {"content": f"{KEY}\n", "secret": True}},
        "service_probe": {"url": "http://127.0.0.1:18080/v1/completions", "body": {"prompt": "Hello", "max_tokens": 1}},
        "service_probe_key": KEY,
        "service_journal": {"kv_cache_mib": r"llama_kv_cache: size =\s+([0-9.]+) MiB"},
        "service_sandbox": SANDBOX,
        "service_drain_timeout": drain,
        "service_start_timeout": 120,
    }


def ollama_service(folder: str) -> dict[str, Any]:
    model = {"model": "tiny", "file": MODEL, "chat": True, "parameters": {"num_ctx": 4096, "num_thread": 1}}
    model["template"] = "{{ range .Messages }}{{ .Role }}: {{ .Content }} {{ end }}assistant:"
    return {
        "service_name": "ollama",
        "service_command": [f"{folder}/bin/ollama", "serve"],
        "service_environment": {
            "HOME": "/var/lib/slipway/ollama",
            "OLLAMA_HOST": "127.0.0.1:18434",
            "OLLAMA_MODELS": "/var/lib/slipway/ollama/models",
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_KEEP_ALIVE": "-1",
        },
        # The plugin hands values on as they are; a playbook would take the template for its own.
        "service_files": {"model.json": {"content": f"{{% raw %}}{json.dumps(model)}{{% endraw %}}"}},
        "service_after_start": [[f"{folder}/bin/ollama-create", "/etc/slipway/ollama/model.json"]],
        "service_probe": {
            "url": "http://127.0.0.1:18434/v1/completions",
            "body": {"model": "tiny", "prompt": "Hello", "max_tokens": 1},
        },
        "service_journal": {"weights_mib": r'msg="model weights" device=\S+ size="([0-9.]+) MiB"'},
        "service_sandbox": SANDBOX,
        "service_drain_timeout": 1,
        "service_start_timeout": 120,
    }


@pytest.fixture(scope="module")
def host(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleHost]:
    lab = Lab()
    lab.down([SPEC.name])
    try:
        lab.up([SPEC], print)
        yield RoleHost(SPEC.name, SPEC.address, root, tmp_path_factory.mktemp("programs"))
    finally:
        lab.down([SPEC.name])


@pytest.fixture(scope="module")
def ollama() -> dict[str, Any]:
    return program(ensure())


@pytest.fixture(scope="module")
def prepared(host: RoleHost, ollama: dict[str, Any]) -> set[str]:
    """All files of the host once the layers below are there."""
    # Nothing is there yet, and a check says so instead of failing.
    assert host.run(("llama_cpp", LLAMA_CPP), ("ollama", ollama), check=True).changed
    host.run(("base", {}))
    put(host, make_tiny_gguf(host.folder / "tiny-llama.gguf"), MODEL)
    return listing(host)


def listing(host: RoleHost) -> set[str]:
    """All files, but for the installer's cache, which is role base's."""
    return {file for file in host.ssh(LISTING).splitlines() if not file.startswith("/var/lib/slipway/cache")}


def put(host: RoleHost, file: Path, target: str) -> None:
    command = f"sudo install -D -m 644 /dev/stdin {target}"
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    with file.open("rb") as content:
        subprocess.run(
            ["ssh", "-i", str(KEY_FILE), *options, f"slipway@{host.address}", command],
            stdin=content,
            check=True,
            timeout=120,
        )


def ask(port: int, body: dict[str, Any], once_it_began: str = "true") -> str:
    """A command for the host that asks for a chat completion, runs another once it began, and prints the answer's lines."""
    return (
        "python3 - <<'PY'\nimport json, os, urllib.request as u\n"
        f"r = u.Request('http://127.0.0.1:{port}/v1/chat/completions', data=json.dumps({body!r}).encode(), "
        f"headers={{'Authorization': 'Bearer {KEY}', 'Content-Type': 'application/json'}})\n"
        f"for number, line in enumerate(u.urlopen(r, timeout=120)):\n"
        f"    print(line.decode(), end='')\n    number or os.system('{once_it_began}')\nPY\n"
    )


def test_they_come_once(host: RoleHost, prepared: set[str], ollama: dict[str, Any]) -> None:
    steps = (("llama_cpp", LLAMA_CPP), ("ollama", ollama))
    first = host.run(*steps)
    assert {"Install llama.cpp's server", "Install its command line", "Install the program"} <= set(first.changed)
    assert host.run(*steps).changed == []
    assert host.run(*steps, check=True).changed == []
    assert "error: the following arguments are required: --model" in host.ssh(
        f"{LLAMA_CPP['llama_cpp_folder']}/bin/llama-server 2>&1", check=False
    )


def test_both_serve_in_the_sandbox(host: RoleHost, prepared: set[str], ollama: dict[str, Any]) -> None:
    steps = (("service", llama_service()), ("service", ollama_service(ollama["ollama_folder"])))
    assert host.run(*steps).changed
    assert host.run(*steps).changed == []
    short = STREAM | {"stream": False, "max_tokens": 3, "temperature": 0}
    answers = [json.loads(host.ssh(ask(port, short))) for port in (18080, 18434)]
    texts = {answer["choices"][0]["message"]["content"] for answer in answers}
    assert len(texts) == 1, texts
    print(
        host.ssh("ps -eo user,rss,nlwp,comm | grep slipway; systemd-analyze security --no-pager 'slipway-*' | tail -3")
    )
    # The weights are not copied into Ollama's store, and keys are not told to the journal, not even their ends.
    assert "tiny-llama.gguf" in host.ssh("sudo find /var/lib/slipway/ollama/models/blobs -type l -printf '%l '")
    assert KEY[-4:] not in host.ssh("sudo journalctl -u slipway-llama -o cat")


def test_an_answer_in_flight_is_finished_when_it_stops(host: RoleHost, prepared: set[str]) -> None:
    said = host.ssh(ask(18080, STREAM, "sudo systemctl stop --no-block slipway-llama")).splitlines()
    # Between them, empty lines and those that keep a slow stream alive.
    lines = [line for line in said if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    assert len(lines) > STREAM["max_tokens"]
    assert "answers in flight have 120 s" in host.ssh(
        "sudo journalctl --sync && sudo journalctl -u slipway-llama -o cat"
    )
    host.ssh("sudo systemctl stop slipway-llama; sudo systemctl start slipway-llama")


def test_an_archive_by_url(host: RoleHost, prepared: set[str], ollama: dict[str, Any]) -> None:
    """As a release is packed: bin/ and lib/. The binary's own folder stays, since a unit may run from it."""
    archive = host.folder / "ollama-linux.tgz"
    script = b"#!/bin/sh\necho ollama version is 9\n"
    with tarfile.open(archive, "w:gz") as packed:
        for name, content, mode in (("bin/ollama", script, 0o755), ("lib/ollama/libggml-base.so", b"library", 0o644)):
            entry = tarfile.TarInfo(f"./{name}")
            entry.size, entry.mode, entry.uid = len(content), mode, 1000
            packed.addfile(entry, io.BytesIO(content))
    put(host, archive, "/srv/ollama-linux.tgz")
    source = {"url": "file:///srv/ollama-linux.tgz", "sha256": digest(archive)}
    folder = f"/opt/slipway/ollama/{digest(archive)[:16]}"
    wrong = {"ollama_program": source | {"sha256": "0" * 64}, "ollama_folder": "/opt/slipway/ollama/" + "0" * 16}
    assert "did not match" in host.run(("ollama", wrong), fails=True).output
    variables = {"ollama_program": source, "ollama_folder": folder}
    assert host.run(("ollama", variables)).changed
    assert host.run(("ollama", variables)).changed == []
    assert host.ssh(
        f"{folder}/bin/ollama; stat -c '%a %U' {folder}/lib/ollama/libggml-base.so {folder}/bin/ollama"
    ).split("\n") == [*("ollama version is 9", "644 root", "755 root", "")]
    entries = {folder.rpartition("/")[2], ollama["ollama_folder"].rpartition("/")[2]}
    assert set(host.ssh("ls -A /opt/slipway/ollama").split()) == entries
    host.ssh("sudo rm /srv/ollama-linux.tgz")


def test_they_go_without_a_trace(host: RoleHost, prepared: set[str], ollama: dict[str, Any]) -> None:
    gone = (("ollama", {"ollama_state": "absent"}), ("llama_cpp", {"llama_cpp_state": "absent"}))
    # Nothing is taken from under what runs.
    assert "slipway-ollama.service still runs from /opt/slipway/ollama" in host.run(*gone, fails=True).output
    services = (("service", {"service_name": "llama"}), ("service", {"service_name": "ollama"}))
    host.run(*((role, variables | {"service_state": "absent"}) for role, variables in services))
    assert host.run(*gone).changed
    assert host.run(*gone).changed == []
    assert host.run(*gone, check=True).changed == []
    assert listing(host) == prepared

"""Real hosts for the end-to-end tests, apart from any lab that is up on this machine, and removed in any case."""

import json
import os
import re
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from slipway.paths import MODELS
from tests.e2e.stack import KEY_FILE, Stack, copy_checkout, ssh
from tools.lab import HostSpec, Lab
from tools.lab.model import make_tiny_llama
from tools.lab.places import MEMORY, memory_of_tests


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--release trixie`: any of these tests on lab hosts of another release."""
    parser.addoption("--release", default="", help="what lab hosts run, such as trixie; the machine's own by default")


def pytest_configure(config: pytest.Config) -> None:
    # Not there where this file is met only while tests are collected.
    Lab.release = config.getoption("--release", default="")
    os.environ.setdefault(MEMORY, memory_of_tests(psutil.virtual_memory().total))


LAB = HostSpec("e2e-1", "10.213.77.111")
PAIR = (HostSpec("e2e-21", "10.213.77.121"), HostSpec("e2e-22", "10.213.77.122"))
UNUSED_ADDRESS = "10.213.77.250"

_NOT_OURS = [
    *("/proc", "/sys", "/run", "/dev"),
    *("/var/log", "/var/cache", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd"),
    # What dpkg keeps of its own files, each midnight.
    "/var/backups",
    *("/tmp/systemd-private-*", "/var/tmp/systemd-private-*"),
]
LISTING = f"sudo find / -xdev \\( {' -o '.join(f'-path {place!r}' for place in _NOT_OURS)} \\) -prune -o -print | sort"
"""All files of a host but logs, caches, and what the package manager and systemd keep for themselves."""


@dataclass(frozen=True)
class Workspace:
    """A copied checkout, a folder for state, and this session's secrets (the canaries of the leak test)."""

    project: Path
    state: Path
    secrets: dict[str, str]

    def stack(self, name: str) -> Stack:
        return Stack(name, self.project, self.state, self.secrets)


@pytest.fixture(scope="session")
def workspace(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("e2e")
    make_tiny_llama(MODELS / "tiny-llama")
    state = folder / "state"
    state.mkdir()
    return Workspace(
        project=copy_checkout(root, folder / "checkout"),
        state=state,
        secrets={
            "PULUMI_CONFIG_PASSPHRASE": f"canary-{secrets.token_hex(16)}",
            "SLIPWAY_KEY_DEMO": secrets.token_hex(32),
            "SLIPWAY_ENGINE_KEY": secrets.token_hex(32),
            "SLIPWAY_FRONT_SECRET": secrets.token_hex(32),
        },
    )


def hosts_of(specs: Iterable[HostSpec]) -> dict[str, Any]:
    """Lab hosts as a pool's `hosts`."""
    return {spec.name: {"address": spec.address, "user": "slipway", "key_file": str(KEY_FILE)} for spec in specs}


@pytest.fixture(scope="session")
def bare_host() -> Iterator[HostSpec]:
    """One fresh lab host, with a second user who may not use sudo."""
    lab = Lab()
    lab.down([LAB.name])
    try:
        lab.up([LAB], print)
        ssh(
            LAB.address,
            "sudo useradd --create-home nosudo && sudo cp -r ~/.ssh /home/nosudo/ && sudo chown -R nosudo: /home/nosudo/.ssh",
        )
        yield LAB
    finally:
        lab.down([LAB.name])


@pytest.fixture(scope="session")
def bare_listing(bare_host: HostSpec) -> set[str]:
    """The files of the host before Slipway first saw it."""
    return set(ssh(bare_host.address, LISTING).splitlines())


@pytest.fixture(scope="session")
def lab_stack(workspace: Workspace, bare_host: HostSpec, bare_listing: set[str]) -> Stack:
    """Stack `lab`, pointed at the test's host, not yet taken up."""
    assert bare_listing
    stack = workspace.stack("lab")
    settings = stack.read()
    settings["pools"]["lab"]["hosts"] = hosts_of([bare_host])
    stack.write(settings)
    stack.init()
    return stack


@pytest.fixture(scope="session")
def lab(lab_stack: Stack) -> Stack:
    """Stack `lab`, taken up as a newcomer does it."""
    done = lab_stack.shell("make up")
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stderr)
    assert "export SLIPWAY_KEY_DEMO" not in done.stdout
    assert re.search(r"TTFT \d+ ms, ([3-9]\d|\d{3,}) deltas", done.stderr), done.stderr
    return lab_stack


@pytest.fixture(scope="session")
def pair_hosts() -> Iterator[tuple[HostSpec, HostSpec]]:
    """Two fresh lab hosts."""
    lab = Lab()
    names = [host.name for host in PAIR]
    lab.down(names)
    try:
        lab.up(list(PAIR), print)
        yield PAIR
    finally:
        lab.down(names)


def client(stack: Stack, ca_file: Path, key: str, *, timeout_s: float = 60, retries: int = 0) -> openai.OpenAI:
    """The official client, verifying TLS against `ca_file` alone."""
    trust = ssl.create_default_context(cafile=str(ca_file))
    return openai.OpenAI(
        base_url=stack.endpoint,
        api_key=key,
        max_retries=retries,
        http_client=openai.DefaultHttpxClient(verify=trust, timeout=timeout_s),
    )


def arrivals_of(api: openai.OpenAI) -> list[float]:
    """Ask for 64 streamed tokens; when each delta with text arrived, in seconds from the request."""
    start = time.perf_counter()
    stream = api.chat.completions.create(
        model="tiny-llama", messages=[{"role": "user", "content": "Tell me a story."}], max_tokens=64, stream=True
    )
    return [time.perf_counter() - start for chunk in stream if chunk.choices and chunk.choices[0].delta.content]


def write_ca(stack: Stack) -> Path:
    """The stack's private CA certificate in a file."""
    file = stack.log.with_suffix(".ca.pem")
    file.write_text(stack.outputs()["ca_certificate"])
    return file


def curl(*arguments: str) -> tuple[int, str, dict[str, Any]]:
    """One request with curl: exit status, body, and curl's own report."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{json}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    body, _, report = done.stdout.rpartition("\n")
    return done.returncode, body, json.loads(report)

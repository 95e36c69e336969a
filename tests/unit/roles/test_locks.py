"""What the locks of the Python environments promise: exact versions, hashes, and nothing that must not come in."""

import re
from pathlib import Path

import pytest

from tests.unit.roles.loading import PLAYBOOKS

LOCKS = sorted(PLAYBOOKS.glob("roles/*/files/requirements*.txt"))
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


def pins(lock: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall((PLAYBOOKS / lock).read_text()):
        found.setdefault(name, set()).add(version)
    return found


def identity(path: Path) -> str:
    return str(path.relative_to(PLAYBOOKS))


def test_there_are_locks() -> None:
    names = {identity(path) for path in LOCKS}
    assert {
        f"roles/{name}" for name in ("vllm/files/requirements-cpu.txt", "vllm/files/requirements-cuda.txt")
    } <= names


@pytest.mark.parametrize("lock", LOCKS, ids=identity)
def test_every_requirement_is_pinned_and_hashed(lock: Path) -> None:
    blocks = [block for block in re.split(r"\n(?=\S)", lock.read_text().strip()) if not block.startswith("#")]
    assert blocks
    for block in blocks:
        assert PIN.match(block), block[:80]
        assert "--hash=sha256:" in block, block[:80]


@pytest.mark.parametrize("lock", LOCKS, ids=identity)
def test_no_registry_is_named(lock: Path) -> None:
    assert "://" not in lock.read_text()


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock.parts[-3] in ("vllm", "litellm", "hub")], ids=identity)
def test_its_source_lies_beside_it_and_asks_for_what_is_locked(lock: Path) -> None:
    text = lock.with_suffix(".in").read_text()
    wanted = re.findall(r"^([a-z0-9-]+)(?:\[[a-z]+\])?==(\S+)", text, re.MULTILINE)
    assert wanted
    for name, version in wanted:
        assert pins(identity(lock))[name] == {version}


def test_the_cpu_build_has_a_torch_that_registries_serve_and_no_companions_of_it() -> None:
    found = pins("roles/vllm/files/requirements-cpu.txt")
    assert found["torch"] == {"2.13.0"}
    assert not {"torchvision", "torchaudio", "torchcodec"} & set(found)


@pytest.mark.parametrize("build", ["cpu", "cuda"])
def test_the_engine_has_nothing_that_reports_to_others(build: str) -> None:
    assert not {"sentry-sdk", "fastapi-cloud-cli"} & set(pins(f"roles/vllm/files/requirements-{build}.txt"))


def test_the_gateway_is_none_of_the_releases_that_stole_credentials() -> None:
    assert not pins("roles/litellm/files/requirements.txt")["litellm"] & {"1.82.7", "1.82.8"}

"""The machines of one replica: each ends as soon as another is gone, and nobody else reaches what has no key."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.loading import PLAYBOOKS, load
from tests.unit.roles.test_limits import NAMESPACE, needs_nft, shown

FILES = PLAYBOOKS / "roles/vllm/files"
PEERS = ["10.0.0.1", "10.0.0.2"]
HEAD, PART, OTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"

vacate: Any = load("library/vacate_units.py")
service_ready: Any = load("library/service_ready.py")


# what each of them does of itself

WATCHER = """
import time, slipway_replica
slipway_replica.BEAT_S, slipway_replica.SILENCE_S, slipway_replica.AGAIN_S = 0.1, 1.0, 0.05
slipway_replica.register()
time.sleep(60)
"""


class Machine:
    """A process that keeps watch as an engine's does."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", WATCHER],
                env={**os.environ, "PYTHONPATH": str(FILES), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def ends(self) -> int:
        return self.process.wait(timeout=20)


@pytest.fixture
def port() -> int:
    with socket.create_server((PART, 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def machines(tmp_path: Path, port: int) -> Iterator[dict[str, Callable[[], Machine]]]:
    started: list[Machine] = []

    def keep(machine: Machine) -> Machine:
        started.append(machine)
        return machine

    def head() -> Machine:
        log = tmp_path / f"head-{len(started)}"
        return keep(Machine(log, VLLM_HOST_IP=HEAD, SLIPWAY_REPLICA_PARTS=f"{PART}:{port}"))

    def part() -> Machine:
        log = tmp_path / f"part-{len(started)}"
        return keep(Machine(log, VLLM_HOST_IP=PART, SLIPWAY_REPLICA_HEAD=HEAD, SLIPWAY_REPLICA_PORT=str(port)))

    yield {"head": head, "part": part}
    for machine in started:
        machine.process.kill()
        machine.process.wait()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def together(machines: dict[str, Callable[[], Machine]], *, first: str) -> tuple[Machine, Machine]:
    """Head and part, started in this order, once they have found each other."""
    second = "part" if first == "head" else "head"
    found = {first: machines[first]()}
    time.sleep(0.5)
    found[second] = machines[second]()
    until(lambda: "is there" in found["head"].said and "is there" in found["part"].said)
    return found["head"], found["part"]


@pytest.mark.parametrize("first", ["head", "part"])
@pytest.mark.parametrize("killed", ["head", "part"])
def test_where_one_is_killed_the_other_ends(machines: Any, first: str, killed: str) -> None:
    """Whichever was there first; and not before."""
    head, part = together(machines, first=first)
    time.sleep(1.5)  # longer than the silence that is allowed
    assert head.process.poll() is None
    assert part.process.poll() is None
    gone, left = (head, part) if killed == "head" else (part, head)
    gone.process.kill()
    assert left.ends() == 1
    address = HEAD if killed == "head" else PART
    assert re.search(rf"^ReplicaError: {address}.* is gone; all machines of it start anew$", left.said, re.MULTILINE)
    # As the wait for readiness hands it on.
    assert service_ready.cause(left.said.splitlines()).startswith(f"ReplicaError: {address}")


def test_where_one_falls_silent_the_other_ends(machines: Any) -> None:
    """As after a loss of power: no end of the connection arrives."""
    head, part = together(machines, first="head")
    part.process.send_signal(signal.SIGSTOP)
    assert head.ends() == 1
    part.process.send_signal(signal.SIGCONT)
    assert part.ends() == 1


def test_a_head_that_began_anew_ends_what_waits_for_the_old_one(machines: Any) -> None:
    head, part = together(machines, first="part")
    machines["head"]()
    assert part.ends() == 1
    assert "has begun anew" in part.said
    assert head.ends() == 1


def test_nobody_but_the_head_is_listened_to(machines: Any, port: int) -> None:
    part = machines["part"]()

    def stranger() -> bytes | None:
        try:
            with socket.create_connection((PART, port), timeout=5, source_address=(OTHER, 0)) as connection:
                return connection.recv(1)
        except ConnectionRefusedError:
            return None

    until(lambda: stranger() is not None)
    assert stranger() == b""
    assert part.process.poll() is None
    assert "is there" not in part.said


def test_a_knock_from_the_heads_machine_ends_nothing(machines: Any, port: int) -> None:
    """As of somebody who looks which ports are open; before the head is there, and after."""

    def knock() -> None:
        socket.create_connection((PART, port), timeout=5, source_address=(HEAD, 0)).close()

    part = machines["part"]()
    until(lambda: reached(port))
    knock()
    head = machines["head"]()
    until(lambda: "is there" in part.said)
    knock()
    time.sleep(0.5)
    assert head.process.poll() is None
    assert part.process.poll() is None


def reached(port: int) -> bool:
    try:
        socket.create_connection((PART, port), timeout=5, source_address=(OTHER, 0)).close()
    except OSError:
        return False
    return True


STARTER = """
import subprocess, sys, slipway_replica
slipway_replica.register()
slipway_replica.register()
sys.exit(subprocess.run([sys.executable, "-c", "import slipway_replica; slipway_replica.register()"]).returncode)
"""


def test_a_program_that_the_engine_starts_keeps_no_watch_of_its_own(port: int) -> None:
    """As vLLM starts one to look at a model's architecture: it would find the port taken, or be gone as a head at once."""
    environment = {"VLLM_HOST_IP": PART, "SLIPWAY_REPLICA_HEAD": HEAD, "SLIPWAY_REPLICA_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "-c", STARTER],
        env={**os.environ, "PYTHONPATH": str(FILES), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_model_on_one_machine_keeps_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    replica: Any = load("roles/vllm/files/slipway_replica.py")
    monkeypatch.setattr(replica, "watch", lambda: pytest.fail("it watches"))
    replica.register()


def test_a_later_stage_has_buffers_for_what_it_receives() -> None:
    replica: Any = load("roles/vllm/files/slipway_replica.py")
    made: list[dict[str, Any]] = []

    def make(**how: Any) -> str:
        made.append(how)
        return "buffers"

    def gather(runner: Any, tokens: int) -> tuple[str, int]:
        return runner.intermediate_tensors, tokens

    runner = SimpleNamespace(
        intermediate_tensors=None,
        model=SimpleNamespace(make_empty_intermediate_tensors=make),
        max_num_tokens=4096,
        model_config=SimpleNamespace(dtype="bfloat16"),
        device="cpu",
    )
    gathering = replica.with_buffers(gather)
    assert [gathering(runner, tokens) for tokens in (3, 4)] == [("buffers", 3), ("buffers", 4)]
    assert made == [{"batch_size": 4096, "dtype": "bfloat16", "device": "cpu"}]


def test_vllm_finds_both_plugins() -> None:
    entries = (FILES / "slipway_vllm-1.dist-info/entry_points.txt").read_text()
    assert re.findall(r"= (\w+):register$", entries, re.MULTILINE) == ["slipway_vllm", "slipway_replica"]


# who reaches it

LIMITED = {
    "service_peers": PEERS,
    "service_probe": {"url": "http://10.0.0.1:8100/v1/completions"},
    "service_claims": [{"what": what, "share": 1.0} for what in ("gpu:0", "port:8100", "port:8500")],
}


def test_only_the_replicas_machines_are_answered() -> None:
    rules = shown("egress.nft.j2", **LIMITED)
    accepted = [line.strip() for line in rules.splitlines() if line.strip().endswith(" accept")]
    assert accepted == [
        "tcp sport 8100 accept",
        "ip daddr { 127.0.0.0/8, 10.0.0.1, 10.0.0.2 } accept",
        "ip6 daddr ::1 accept",
        "ip saddr { 127.0.0.0/8, 10.0.0.1, 10.0.0.2 } accept",
        "ip6 saddr ::1 accept",
    ]
    assert "\t\ttcp dport { 8500 } jump closed\n" in rules
    part = shown("egress.nft.j2", **{**LIMITED, "service_probe": {}})
    assert "tcp sport" not in part
    assert "\t\ttcp dport { 8100, 8500 } jump closed\n" in part


@needs_nft
def test_nft_takes_the_rules(tmp_path: Path) -> None:
    rules = tmp_path / "egress.nft"
    rules.write_text(shown("egress.nft.j2", **LIMITED, service_user="root").replace("flags owner;", ""))
    done = subprocess.run(
        [*NAMESPACE, "/usr/sbin/nft", "-c", "-f", str(rules)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


THERE = """
import json, socket, subprocess, sys
def run(*command): subprocess.run(command, check=True)
run("ip", "link", "set", "lo", "up")
for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
    run("ip", "address", "add", f"{address}/32", "dev", "lo")
servers = [socket.create_server(("0.0.0.0", port)) for port in (8100, 8500, 45678)]
def reached(source, port):
    try:
        with socket.create_connection(("10.0.0.1", port), timeout=0.7, source_address=(source, 0)):
            return True
    except OSError:
        return False
def look():
    pairs = [(source, port) for source in ("10.0.0.2", "10.0.0.3") for port in (8100, 8500, 45678)]
    return {f"{source} {port}": reached(source, port) for source, port in pairs}
before = look()
run("/usr/sbin/nft", "-f", sys.argv[1])
print(json.dumps([before, look()]))
"""


@needs_nft
def test_a_stranger_reaches_the_port_that_is_asked_and_no_other(tmp_path: Path) -> None:
    """For real: one that is claimed and one that nobody knows before, from a peer and from a stranger."""
    rules = tmp_path / "egress.nft"
    rules.write_text(shown("egress.nft.j2", **LIMITED, service_user="root").replace("flags owner;", ""))
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", THERE, str(rules)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert all(before.values())
    assert after == {
        "10.0.0.2 8100": True,
        "10.0.0.2 8500": True,
        "10.0.0.2 45678": True,
        "10.0.0.3 8100": True,
        "10.0.0.3 8500": False,
        "10.0.0.3 45678": False,
    }


def test_the_unit_waits_for_the_limit_and_looks_for_nothing_else() -> None:
    text = shown("service.j2", **LIMITED, service_replica=["abc", "def"])
    assert "After=slipway-one.egress.service" in text
    assert "nft list chain inet slipway-one output" in text
    assert "IPAddressDeny" not in text
    assert "InaccessiblePaths" not in text
    assert "X-Slipway-Replica=abc def\n" in text
    alone = shown("service.j2")
    assert "egress" not in alone
    assert "X-Slipway-Replica" not in alone


# which interface it uses

ADDRESSES = [
    {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
    {"ifname": "eth10", "addr_info": []},
    {"ifname": "ib0", "addr_info": [{"local": "10.0.0.1"}, {"local": "fe80::1"}]},
]


def test_the_interface_is_the_one_that_has_the_address() -> None:
    wanted = {"GLOO_SOCKET_IFNAME": "10.0.0.1", "NCCL_SOCKET_IFNAME": "=10.0.0.1"}
    given = {"service_interfaces": wanted, "service_addresses": {"stdout": json.dumps(ADDRESSES)}}
    text = shown("service.j2", **given, service_environment={"A": "1"})
    assert re.findall(r'^Environment="(.*)"$', text, re.MULTILINE) == [
        "A=1",
        "GLOO_SOCKET_IFNAME=ib0",
        "NCCL_SOCKET_IFNAME==ib0",
    ]
    assert shown("service_strange_addresses", **given) == []
    strange = {**given, "service_interfaces": {"X": "=10.0.0.9"}}
    assert shown("service_strange_addresses", **strange) == ["10.0.0.9"]


# when it is ready, and when it makes way


def test_a_part_is_ready_once_its_log_says_so() -> None:
    said = ["Started", "world_size=2 rank=1 local_rank=0 distributed_init_method=tcp://10.0.0.1:8500 backend=nccl"]
    running, starting = (service_ready.State(active, "", 0, "1", "") for active in ("active", "activating"))

    def asked(state: Any, lines: list[str]) -> int:
        request = service_ready.saying("u", r"distributed_init_method=tcp://", lambda _: state, lambda _: lines)
        status, _ = request("", {}, "", 1.0)
        return int(status)

    assert asked(running, said) == 200
    assert asked(running, said[:1]) == 0
    assert asked(starting, said) == 0


def test_a_head_makes_way_where_another_part_changes(tmp_path: Path) -> None:
    for name, digests in (("same", "a 1"), ("moved", "b 1"), ("launched", "a 2"), ("gone", "c 1")):
        (tmp_path / f"slipway-{name}.service").write_text(f"[Unit]\nX-Slipway-Replica={digests}\n")
    (tmp_path / "slipway-plain.service").write_text("[Unit]\n")
    here = vacate.replicas_of(tmp_path)
    assert here == {"same": ["a", "1"], "moved": ["b", "1"], "launched": ["a", "2"], "gone": ["c", "1"]}
    # What is not among them is told of by its claims.
    wanted = {name: ["a", "1"] for name in ("same", "moved", "launched", "new")}
    assert vacate.changing(here, wanted) == {"moved", "launched"}
    assert vacate.same(here, wanted) == {"same"}
    # Whoever knows only where parts sit says nothing of how they are launched, and so can't say that all is as it was.
    seats = {name: digests[:1] for name, digests in wanted.items()}
    assert vacate.changing(here, seats) == {"moved"}
    assert vacate.same(here, seats) == set()


def test_the_role_writes_what_the_module_reads(tmp_path: Path) -> None:
    (tmp_path / "slipway-one.service").write_text(shown("service.j2", service_replica=["0123", "abcd"]))
    assert vacate.replicas_of(tmp_path) == {"one": ["0123", "abcd"]}

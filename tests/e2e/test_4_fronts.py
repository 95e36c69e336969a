"""Stack `lab-fronts`: two hosts with a front and a gateway each, behind one address. Tests run in this order."""

import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Workspace, hosts_of, write_ca
from tests.e2e.stack import Stack, ssh, wait_for
from tools.lab import HostSpec, Lab

HOSTS = (HostSpec("e2e-41", "10.213.77.141"), HostSpec("e2e-42", "10.213.77.142"))
ADDRESS = "10.213.77.140"
DRAIN = "/etc/slipway/keepalived/drain"
BODY = {"model": "tiny-llama", "prompt": "x", "max_tokens": 4}


@dataclass(frozen=True)
class Fronts:
    """The stack, its authority's certificate, and a key."""

    stack: Stack
    ca_file: Path
    key: str

    def ask(self, client: httpx.Client) -> int:
        """The status of an answer; a connection that is lost is tried again, as clients do."""
        for _ in range(60):
            try:
                return client.post(f"https://{ADDRESS}/v1/completions", json=BODY).status_code
            except httpx.TransportError:
                continue
        return 0

    def client(self) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(verify=trust, timeout=httpx.Timeout(60, connect=1), headers=headers)

    def holder(self) -> HostSpec | None:
        """Who has the address."""
        found = [
            host
            for host in HOSTS
            if ADDRESS in ssh(host.address, f"ip -oneline address show to {ADDRESS}", check=False)
        ]
        return found[0] if len(found) == 1 else None

    def other(self, host: HostSpec) -> HostSpec:
        return next(each for each in HOSTS if each != host)


@pytest.fixture(scope="module")
def fronts(workspace: Workspace) -> Iterator[Fronts]:
    lab = Lab()
    names = [host.name for host in HOSTS]
    lab.down(names)
    try:
        lab.up(list(HOSTS), print)
        stack = workspace.stack("lab-fronts")
        settings = stack.read()
        settings["pools"]["lab"]["hosts"] = hosts_of(HOSTS)
        settings["front"]["floating"]["address"] = f"{ADDRESS}/24"
        stack.write(settings)
        stack.init()
        stack.up()
        yield Fronts(stack, write_ca(stack), workspace.secrets["SLIPWAY_KEY_DEMO"])
    finally:
        lab.down(names)


def test_both_fronts_are_of_one_authority_and_a_second_up_changes_nothing(fronts: Fronts) -> None:
    for host in HOSTS:
        with fronts.client() as client:
            assert client.get(f"https://{host.address}/healthz").status_code == 200
            assert fronts.ask(client) == 200
    assert fronts.stack.runs_of(fronts.stack.up, mode="apply") == []


def test_a_host_is_drained_on_request(fronts: Fronts) -> None:
    first = fronts.holder()
    assert first is not None
    ssh(first.address, f"sudo touch {DRAIN}")
    try:
        wait_for(lambda: fronts.holder() == fronts.other(first), "the address to move", seconds=30)
        with fronts.client() as client:
            assert fronts.ask(client) == 200
    finally:
        ssh(first.address, f"sudo rm {DRAIN}")


def test_no_request_is_lost_with_the_host_that_has_the_address(fronts: Fronts) -> None:
    lost = fronts.holder()
    assert lost is not None
    over, answered = threading.Event(), threading.Semaphore(0)

    def load(_: int) -> list[int]:
        statuses = []
        with fronts.client() as client:
            while not over.is_set():
                statuses.append(fronts.ask(client))
                answered.release()
        return statuses

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(load, number) for number in range(8)]
        try:
            for _ in range(40):
                assert answered.acquire(timeout=60)
            # Nothing is stopped first: the host is gone at once, with its engine and, if it is the first, the counters.
            ssh(lost.address, "sudo systemctl reboot --force --force", check=False)
            wait_for(lambda: fronts.holder() == fronts.other(lost), "the address to move", seconds=60)
            for _ in range(200):
                assert answered.acquire(timeout=120)
        finally:
            over.set()
        statuses = [status for client in clients for status in client.result()]
    assert set(statuses) == {200}
    # Who comes back takes nothing away.
    wait_for(
        lambda: "active" in ssh(lost.address, "systemctl is-active slipway-keepalived", check=False).split(),
        "the host to be back",
        seconds=300,
    )
    assert fronts.holder() == fronts.other(lost)
    used = fronts.stack.shell("slipway usage lab-fronts --json")
    assert used.returncode == 0, used.stderr

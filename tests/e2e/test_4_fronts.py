"""Stack `lab-fronts`: two hosts with a front and a gateway each, behind one address. Tests run in this order."""

import json
import re
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from slipway.paths import MODELS
from tests.e2e.conftest import Workspace, client, hosts_of, write_ca
from tests.e2e.load import load
from tests.e2e.stack import Stack, ssh, wait_for
from tools.lab import HostSpec, Lab
from tools.lab.model import make_tiny_gguf

pytestmark = pytest.mark.rare

HOSTS = (HostSpec("e2e-41", "10.213.77.141"), HostSpec("e2e-42", "10.213.77.142"))
ADDRESS = "10.213.77.140"
DRAIN = "/etc/slipway/keepalived/drain"
METERED = 500
"""Requests per minute of a team."""
SILENCE_S = 10
"""After which clients give up."""
BODY = {"model": "tiny-llama", "prompt": "x", "max_tokens": 4}


@dataclass(frozen=True)
class Fronts:
    """The stack, its authority's certificate, and the keys of three teams: of one without a limit, of one with a limit, and of
    one with a filter, whose requests pass a gateway.
    """

    stack: Stack
    ca_file: Path
    key: str
    metered: str
    filtered: str

    def client(self, key: str | None = None) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        headers = {"authorization": f"Bearer {key or self.key}"}
        return httpx.Client(verify=trust, timeout=60, headers=headers)

    def sdk(self) -> openai.OpenAI:
        """The official client, at the address that moves, which tries five times more."""
        return client(self.stack, self.ca_file, self.key, timeout_s=SILENCE_S, retries=5)

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
        make_tiny_gguf(MODELS / "tiny-llama.gguf")
        stack = workspace.stack("lab-fronts")
        settings = stack.read()
        settings["pools"]["lab"]["hosts"] = hosts_of(HOSTS)
        settings["front"]["floating"]["address"] = f"{ADDRESS}/24"
        settings["gateway"]["teams"]["metered"] = {
            "key": {"env": "SLIPWAY_KEY_METERED"},
            "requests_per_minute": METERED,
        }
        settings["gateway"]["teams"]["filtered"] = {
            "key": {"env": "SLIPWAY_KEY_FILTERED"},
            "requests_per_minute": 100_000,
            "filters": {"in": {"email": "mask"}},
        }
        stack.environment["SLIPWAY_KEY_METERED"] = metered = secrets.token_hex(32)
        stack.environment["SLIPWAY_KEY_FILTERED"] = filtered = secrets.token_hex(32)
        stack.write(settings)
        stack.init()
        stack.up()
        assert stack.endpoint == f"https://{ADDRESS}/v1"
        yield Fronts(stack, write_ca(stack), workspace.secrets["SLIPWAY_KEY_DEMO"], metered, filtered)
    finally:
        lab.down(names)


def test_both_fronts_are_of_one_authority_and_a_second_up_changes_nothing(fronts: Fronts) -> None:
    for host in HOSTS:
        with fronts.client() as api:
            assert api.get(f"https://{host.address}/healthz").status_code == 200
            assert api.post(f"https://{ADDRESS}/v1/completions", json=BODY).status_code == 200
    assert fronts.stack.runs_of(fronts.stack.up, mode="apply") == []


def test_a_host_is_drained_on_request(fronts: Fronts) -> None:
    first = fronts.holder()
    assert first is not None
    ssh(first.address, f"sudo touch {DRAIN}")
    try:
        wait_for(lambda: fronts.holder() == fronts.other(first), "the address to move", seconds=30)
        with fronts.client() as api:
            assert api.post(f"https://{ADDRESS}/v1/completions", json=BODY).status_code == 200
    finally:
        ssh(first.address, f"sudo rm {DRAIN}")


def gateways_up(host: HostSpec) -> int:
    """How many gateways are well, as the front of a host sees them."""
    figures = ssh(host.address, "curl --silent --insecure https://127.0.0.1/metrics")
    return len(re.findall(r'^slipway_backend_up\{backend="litellm@[^"]+"\} 1$', figures, re.MULTILINE))


@pytest.mark.parametrize("how", ["killed", "stopped for 10 s"])
def test_the_other_hosts_gateway_answers_for_one_that_is(fronts: Fronts, how: str) -> None:
    """What passes a gateway. Nobody sends a request again by himself."""
    host = fronts.holder()
    assert host is not None
    wait_for(lambda: gateways_up(host) == 2, "both gateways", seconds=120)
    with load(lambda: client(fronts.stack, fronts.ca_file, fronts.filtered, timeout_s=60, retries=0)) as found:
        wait_for(lambda: found.answered > 20, "clients to be answered", seconds=60)
        kill = "sudo systemctl kill --kill-whom=all --signal={} slipway-litellm"
        if how == "killed":
            ssh(host.address, kill.format("KILL"))
        else:
            ssh(host.address, f"{kill.format('STOP')}; sleep 10; {kill.format('CONT')}")
        before = found.answered
        wait_for(lambda: found.answered > before + 100, "clients to be answered", seconds=120)
        wait_for(lambda: gateways_up(host) == 2, "the gateway to be back", seconds=120)
    assert found.lost == []
    # Streams that it had begun end, and say why.
    assert len(found.broken) <= 8
    assert "in silence" not in str(found.broken)


def test_a_teams_key_opens_no_gateway_past_the_front(fronts: Fronts) -> None:
    asked = "curl --silent --max-time 5 --output /dev/null --write-out %{{http_code}} --header 'Authorization: Bearer {}' {}"
    for gateway in HOSTS:
        url = f"http://{gateway.address}:4000/v1/models"
        for host in HOSTS:
            assert ssh(host.address, asked.format(fronts.key, url), check=False).strip() == "401"


def test_limits_hold_and_nothing_is_lost_while_the_counters_are_killed(fronts: Fronts) -> None:
    asked = Counter[int]()
    if time.time() % 60 > 20:
        # Minutes are the clock's.
        time.sleep(60 - time.time() % 60 + 0.05)
    began = int(time.time() / 60)

    def metered(number: int) -> list[int]:
        host = HOSTS[number % 2]
        with fronts.client(fronts.metered) as api:
            return [api.post(f"https://{host.address}/v1/completions", json=BODY).status_code for _ in range(80)]

    with load(fronts.sdk, clients=4) as found, ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(metered, number) for number in range(8)]
        ssh(HOSTS[0].address, "for i in 1 2 3; do sudo systemctl kill --signal=KILL slipway-counters; sleep 3; done")
        for each in clients:
            asked.update(each.result())
    print(f"answers to a team with {METERED} requests per minute: {asked}")
    assert int(time.time() / 60) == began, "took longer than a minute: nothing can be said"
    assert asked.keys() == {200, 429}
    assert asked[200] <= METERED * 1.01
    assert (found.lost, found.broken) == ([], [])
    for host in HOSTS:
        wait_for(lambda host=host: counters_up(host), f"the counters as {host.name} sees them", seconds=30)  # type: ignore[misc]


def counters_up(host: HostSpec) -> bool:
    return "slipway_counters_up 1" in ssh(host.address, "curl --silent --insecure https://127.0.0.1/metrics")


def test_no_request_is_lost_with_the_host_that_has_the_address(fronts: Fronts) -> None:
    """Clients give up after 10 s of silence, and try again by themselves: nobody ends the connections of a host that is gone."""
    lost = fronts.holder()
    assert lost is not None
    with load(fronts.sdk) as found:
        wait_for(lambda: found.answered > 40, "clients to be answered", seconds=60)
        # Nothing is stopped first: the host is gone at once, with its engine and, if it is the first, the counters.
        ssh(lost.address, "sudo systemctl reboot --force --force", check=False)
        moved = wait_for(lambda: fronts.holder() == fronts.other(lost), "the address to move", seconds=60)
        before = found.answered
        wait_for(lambda: found.answered > before + 200, "clients to be answered by the other host", seconds=120)
        # Who waited for the host that is gone is heard of too.
        time.sleep(SILENCE_S + 2)
    print(f"the address moved within {moved:.1f} s")
    assert found.lost == []
    assert len(found.broken) <= 8
    # Who comes back takes nothing away.
    wait_for(
        lambda: "active" in ssh(lost.address, "systemctl is-active slipway-keepalived", check=False).split(),
        "the host to be back",
        seconds=300,
    )
    assert fronts.holder() == fronts.other(lost)
    used = fronts.stack.shell("slipway usage lab-fronts --json")
    assert used.returncode == 0, used.stderr
    assert sum(row["requests"] for row in json.loads(used.stdout)["usage"]) >= found.answered

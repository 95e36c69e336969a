"""Four hosts: what an `up` and a refresh ask of them, and one that is off while the others serve. Tests run in this order."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway.paths import MODELS
from tests.e2e.conftest import Workspace, client, hosts_of, write_ca
from tests.e2e.stack import Stack, ssh, wait_for
from tools.lab import HostSpec, Lab
from tools.lab.model import make_tiny_gguf

pytestmark = pytest.mark.rare

HOSTS = tuple(HostSpec(f"e2e-6{number}", f"10.213.77.16{number}") for number in range(1, 5))
FIRST, SECOND, THIRD, FOURTH = HOSTS
MODEL = "tiny-gguf"


@dataclass(frozen=True)
class Fleet:
    """The stack, up, and its hosts."""

    stack: Stack
    lab: Lab
    ca_file: Path
    key: str

    def off(self, *hosts: HostSpec) -> None:
        """Turns hosts off; what is on them stays."""
        for host in hosts:
            ssh(host.address, "sudo systemctl poweroff", check=False)
        running = {host.name for host in hosts}
        wait_for(
            lambda: not any(each.state == "running" for each in self.lab.list() if each.name in running),
            f"{', '.join(running)} to be off",
            seconds=60,
        )

    def on(self, *hosts: HostSpec) -> None:
        self.lab.up(list(hosts), print)

    def answers(self, requests: int = 12) -> int:
        """How many requests are answered; one after the other, so that each replica gets its part."""
        with client(self.stack, self.ca_file, self.key) as api:
            found = [
                api.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}], max_tokens=4)
                for _ in range(requests)
            ]
        return len(found)

    def replicas(self) -> set[str]:
        """The hosts whose engines the front asks, by what it was told."""
        routes = json.loads(ssh(FIRST.address, "sudo cat /etc/slipway/nginx/routes.json"))
        machines = [backend["machines"][0] for backend in routes["models"][MODEL]["backends"]]
        assert set(machines) == {host.name for host in HOSTS}
        return set(machines) - set(routes["missing"])


def timed(what: str, work: Callable[[], object]) -> None:
    began = time.monotonic()
    with contextlib.ExitStack() as ended:
        ended.callback(lambda: print(f"FIGURE {what}: {time.monotonic() - began:.1f} s"))
        work()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Four fresh lab hosts."""
    made, names = Lab(), [host.name for host in HOSTS]
    made.down(names)
    try:
        made.up(list(HOSTS), print)
        yield made
    finally:
        made.down(names)


@pytest.fixture(scope="module")
def fleet(workspace: Workspace, lab: Lab) -> Fleet:
    """A replica of the tiny model in llama.cpp on each, all four taken up by one command."""
    make_tiny_gguf(MODELS / "tiny-llama.gguf")
    stack = workspace.stack("lab-models")
    settings = stack.read()
    model = settings["models"][MODEL]
    del model["replicas"]
    settings = {
        "pools": {"lab": {"may_be_missing": 1, "hosts": hosts_of(HOSTS)}},
        "models": {MODEL: model},
        "gateway": {**settings["gateway"], "teams": {"demo": settings["gateway"]["teams"]["demo"]}},
    }
    stack.write(settings)
    stack.init()
    timed("first up of 4 bare hosts", stack.up)
    return Fleet(stack=stack, lab=lab, ca_file=write_ca(stack), key=workspace.secrets["SLIPWAY_KEY_DEMO"])


def drift(stack: Stack) -> str:
    """As `slipway drift` looks."""
    done = stack.shell(
        f"SLIPWAY_LOOK_ONLY=1 pulumi preview --refresh --expect-no-changes --stack {stack.name} --non-interactive --color never"
    )
    return f"status {done.returncode}\n{done.stdout}{done.stderr}"


def test_a_second_up_makes_no_ansible_run(fleet: Fleet) -> None:
    runs = fleet.stack.runs_of(lambda: timed("second up of 4 hosts", fleet.stack.up))
    assert runs == []
    assert fleet.stack.outputs()["missing"] == {}
    assert fleet.answers() == 12
    assert fleet.replicas() == {host.name for host in HOSTS}


def test_drift_on_one_host_of_four_names_only_that_one(fleet: Fleet) -> None:
    said: list[str] = []
    runs = fleet.stack.runs_of(lambda: timed("drift preview of 4 hosts", lambda: said.append(drift(fleet.stack))))
    assert said[0].startswith("status 0"), said[0]
    assert runs == []
    unit = f"/etc/systemd/system/slipway-{MODEL}.service"
    ssh(THIRD.address, f"echo '# by hand' | sudo tee -a {unit} >/dev/null")

    runs = fleet.stack.runs_of(lambda: said.append(drift(fleet.stack)))

    assert not said[1].startswith("status 0")
    assert f"{THIRD.name} ({THIRD.address}): layer {MODEL} has drifted" in said[1]
    assert {host for host, _ in runs} == {THIRD.name}
    for host in (FIRST, SECOND, FOURTH):
        assert f"{host.name} (" not in said[1], said[1]
    mended = fleet.stack.runs_of(lambda: fleet.stack.up("--refresh"), mode="apply")
    assert {host for host, _ in mended} <= {THIRD.name, FIRST.name}
    assert (THIRD.name, MODEL) in mended


def test_one_that_is_off_is_left_out_and_the_others_serve(fleet: Fleet) -> None:
    fleet.off(FOURTH)
    settings = fleet.stack.read()
    settings["models"][MODEL]["engine"]["parallel"] = 3
    fleet.stack.write(settings)

    timed("up with one host of 4 off", fleet.stack.up)

    outputs = fleet.stack.outputs()
    assert list(outputs["missing"]) == [FOURTH.name]
    assert FOURTH.address in outputs["missing"][FOURTH.name]
    print(outputs["missing"])
    assert fleet.answers(24) == 24
    assert fleet.replicas() == {FIRST.name, SECOND.name, THIRD.name}
    for host in (FIRST, SECOND, THIRD):
        unit = ssh(host.address, f"cat /etc/systemd/system/slipway-{MODEL}.service")
        assert re.search(r'"--parallel" \\\n\s*"3"', unit), unit


def test_it_is_neither_an_error_nor_drift(fleet: Fleet) -> None:
    assert drift(fleet.stack).startswith("status 0")


def test_two_that_are_off_are_refused_with_both_names(fleet: Fleet) -> None:
    fleet.off(SECOND)

    said = fleet.stack.refused()

    # The engine shows it as it comes, and again at the end.
    told = said[said.rindex("pools.lab.may_be_missing lets 1 be missing, and 2 are") :].splitlines()
    assert {line.split(":")[0].strip() for line in told[1:3]} == {SECOND.name, FOURTH.name}
    assert fleet.answers() == 12, "the other two go on serving"


def test_the_next_up_takes_them_in_once_they_are_back(fleet: Fleet) -> None:
    fleet.on(SECOND, FOURTH)

    runs = fleet.stack.runs_of(lambda: timed("up that takes them in", fleet.stack.up))

    # The front is told of the fourth again, and acceptance asks after every change.
    assert {host for host, _ in runs} <= {FIRST.name, SECOND.name, FOURTH.name}
    assert (FOURTH.name, MODEL) in runs
    assert fleet.stack.outputs()["missing"] == {}
    assert fleet.answers() == 12
    assert fleet.replicas() == {host.name for host in HOSTS}
    assert fleet.stack.runs_of(fleet.stack.up) == []

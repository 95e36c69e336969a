"""One replica over two lab hosts: vLLM's multi-node mode on the CPU, a stage of the pipeline on each.

What it proves of the start, the streams, the firewall, the end of one machine, a change and the removal holds for GPUs too; of
NCCL, InfiniBand and speed it proves nothing.
"""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.conftest import Workspace, arrivals_of, client, hosts_of, write_ca
from tests.e2e.load import load
from tests.e2e.stack import Stack, ssh, wait_for
from tools.lab import HostSpec, Lab

pytestmark = pytest.mark.rare

HEAD, PART = HostSpec("e2e-51", "10.213.77.151"), HostSpec("e2e-52", "10.213.77.152")
UNIT = "slipway-tiny-llama"


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[HostSpec, HostSpec]]:
    """Two fresh lab hosts."""
    lab, names = Lab(), [HEAD.name, PART.name]
    lab.down(names)
    try:
        lab.up([HEAD, PART], print)
        yield HEAD, PART
    finally:
        lab.down(names)


@pytest.fixture(scope="module")
def stack(workspace: Workspace, hosts: tuple[HostSpec, HostSpec]) -> Stack:
    """Stack `lab-pair` with both hosts in its one replica, up."""
    found = workspace.stack("lab-pair")
    settings = found.read()
    settings["pools"]["lab"]["hosts"] = hosts_of(hosts)
    settings["models"]["tiny-llama"] |= {"hosts": 2}
    found.write(settings)
    found.init()
    began = time.monotonic()
    try:
        print(found.up())
    except BaseException:
        for host in hosts:
            print(host.name, journal(host))
        raise
    print(f"up in {time.monotonic() - began:.0f} s")
    return found


def journal(host: HostSpec) -> str:
    return ssh(host.address, f"sudo journalctl -o short-precise --no-pager -u {UNIT} | tail -150", check=False)


def of_unit(host: HostSpec, what: str) -> str:
    return ssh(host.address, f"systemctl show -p {what} --value {UNIT}", check=False).strip()


def streamed(stack: Stack, workspace: Workspace) -> list[float]:
    with client(stack, write_ca(stack), workspace.secrets["SLIPWAY_KEY_DEMO"]) as api:
        return arrivals_of(api)


def answers(stack: Stack, workspace: Workspace) -> bool:
    try:
        # Of 64 tokens, two of which may come as one.
        return len(streamed(stack, workspace)) > 60
    except Exception as error:  # noqa: BLE001 -- while it is away it fails in many ways
        print(f"not yet: {error}")
        return False


def replica(stack: Stack) -> dict[str, Any]:
    (found,) = stack.outputs()["models"]["tiny-llama"]["instances"].items()
    assert found[0] == f"{HEAD.name}/tiny-llama"
    return dict(found[1])


def test_a_model_on_both_hosts_streams(stack: Stack, workspace: Workspace) -> None:
    assert answers(stack, workspace)
    of = replica(stack)
    assert of["parts"] == {f"{PART.name}/tiny-llama": {"gpus": []}}
    tokens = of["sizing"]["kv_cache_tokens"]
    # A GiB on each machine; keys and values, of 64 figures, 2 heads and 2 bytes each, of the one layer in a stage.
    assert tokens["planned"] == tokens["actual"] == (1 << 30) // (2 * 64 * 2 * 2 * 1)
    # A stage of the pipeline on each.
    assert "(Worker_PP0 " in journal(HEAD)
    assert "(Worker_PP1 " in journal(PART)
    assert "Worker_PP1" not in journal(HEAD)


def test_nothing_is_to_be_done_then(stack: Stack) -> None:
    assert stack.runs_of(stack.up) == []


def test_only_the_two_hosts_reach_one_another(stack: Stack) -> None:
    """From this machine, which is in their network; and that it is the limit that keeps it out, since they reach each other."""
    listening = {}
    for host in (HEAD, PART):
        lines = ssh(host.address, "sudo ss -Hltnp | grep VLLM || true").splitlines()
        ports = {int(match[1]) for line in lines if (match := re.search(r"(?:\*|10\.213\.77\.\d+):(\d+)\s", line))}
        listening[host] = ports
        assert len(ports) > 2, lines
    claimed = ssh(HEAD.address, f"grep Claims /etc/systemd/system/{UNIT}.service")
    meeting = int(re.findall(r"port:(\d+)", claimed)[1])
    assert meeting in listening[HEAD]
    for host, ports in listening.items():
        other = PART if host is HEAD else HEAD
        for port in ports:
            with pytest.raises(OSError):  # noqa: PT011 -- refused or timed out
                socket.create_connection((host.address, port), timeout=1).close()
            look = f"timeout 3 bash -c ': </dev/tcp/{host.address}/{port}' && echo reached"
            assert "reached" in ssh(other.address, look, check=False), (host.name, port)


@pytest.mark.parametrize("victim", [PART, HEAD], ids=["part", "head"])
def test_where_one_is_killed_both_start_anew_and_serve_again(
    stack: Stack, workspace: Workspace, victim: HostSpec
) -> None:
    other = HEAD if victim is PART else PART
    before, since = of_unit(other, "MainPID"), ssh(other.address, "date +%s").strip()
    ssh(victim.address, f"sudo systemctl kill --kill-whom=all --signal=KILL {UNIT}")
    ended = wait_for(lambda: of_unit(other, "MainPID") != before, "the other one's end", seconds=30)
    back = wait_for(lambda: answers(stack, workspace), "the replica", seconds=300)
    print(f"{victim.name} killed: {other.name} ended after {ended:.1f} s, served again after {ended + back:.0f} s")
    assert "ReplicaError: " in ssh(other.address, f"sudo journalctl -o cat --no-pager -u {UNIT} -S @{since}")
    assert of_unit(victim, "ActiveState") == of_unit(other, "ActiveState") == "active"


def test_a_change_cuts_off_no_answer(stack: Stack, workspace: Workspace) -> None:
    """The head ends what it has begun before its other part is changed. None is begun then: there is one replica."""
    settings = stack.read()
    settings["models"]["tiny-llama"]["max_model_len"] = 1024
    stack.write(settings)
    stop, ca = threading.Event(), write_ca(stack)

    def ask(_: int) -> list[tuple[int, str | None]]:
        """Of each stream that began, how many pieces it had, and how it ended; None where it was cut off."""
        ended: list[tuple[int, str | None]] = []
        with client(stack, ca, workspace.secrets["SLIPWAY_KEY_DEMO"], timeout_s=300) as api:
            while not stop.is_set():
                pieces, last = 0, None
                with contextlib.suppress(openai.OpenAIError, httpx.HTTPError):
                    for chunk in api.chat.completions.create(
                        model="tiny-llama", messages=[{"role": "user", "content": "x"}], max_tokens=600, stream=True
                    ):
                        pieces += bool(chunk.choices and chunk.choices[0].delta.content)
                        last = (chunk.choices[0].finish_reason if chunk.choices else None) or last
                if pieces:
                    ended.append((pieces, last))
                else:
                    time.sleep(1)
        return ended

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, number) for number in range(4)]
        try:
            time.sleep(5)
            stack.up()
        finally:
            stop.set()
        ended = [each for one in asking for each in one.result()]
    print(f"{len(ended)} streams began while the replica was changed: {sorted(set(ended), key=str)}")
    assert len(ended) >= 4
    assert {last for _, last in ended} == {"length"}
    # Two pieces may come as one.
    assert min(pieces for pieces, _ in ended) > 590
    assert answers(stack, workspace)
    for host in (HEAD, PART):
        assert "--max-model-len=1024" in ssh(host.address, f"cat /etc/systemd/system/{UNIT}.service")


def test_of_two_replicas_one_at_a_time_changes_and_no_request_is_lost(stack: Stack, workspace: Workspace) -> None:
    """Both lie on both hosts, so all four parts change within one `up`."""
    settings = stack.read()
    settings["models"]["tiny-llama"]["replicas"] = 2
    stack.write(settings)
    began = time.monotonic()
    stack.up()
    print(f"second replica up in {time.monotonic() - began:.0f} s")
    settings["models"]["tiny-llama"]["max_model_len"] = 512
    stack.write(settings)
    ca, key = write_ca(stack), workspace.secrets["SLIPWAY_KEY_DEMO"]
    with load(lambda: client(stack, ca, key, timeout_s=60)) as found:
        time.sleep(5)
        before = found.answered
        began = time.monotonic()
        runs = stack.runs_of(stack.up)
        took = time.monotonic() - began
        during = found.answered - before
        time.sleep(5)
    print(f"both replicas changed in {took:.0f} s, {during} requests answered meanwhile")
    # Each takes many seconds to load; if both had been away at once, nobody would have been answered then.
    assert (found.lost, found.broken) == ([], [])
    assert during > took
    engines = [instance for _, instance in runs if instance.startswith("tiny-llama")]
    assert engines == ["tiny-llama", "tiny-llama", "tiny-llama-2", "tiny-llama-2"], runs
    for host in (HEAD, PART):
        for unit in (UNIT, f"{UNIT}-2"):
            assert "--max-model-len=512" in ssh(host.address, f"cat /etc/systemd/system/{unit}.service")
    assert stack.runs_of(stack.up) == []


def test_a_removal_leaves_nothing(stack: Stack) -> None:
    stack.pulumi("destroy", "--yes", "--skip-preview")
    for host in (HEAD, PART):
        assert ssh(host.address, "ls /etc/systemd/system | grep slipway || true") == ""
        assert "slipway" not in ssh(host.address, "sudo nft list tables 2>/dev/null || true")

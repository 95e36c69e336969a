"""The roles by themselves, on one lab host: instances, models and programs come, change, drift and go without touching others.

What runs is a double (tests/e2e/doubles/engine.py), as nothing here is about an engine. Tests run in this order.
"""

import functools
import hashlib
import http.server
import json
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.deployment.teams import key_hash
from tests.e2e.conftest import LISTING, curl
from tests.e2e.roles import PROGRAM, SECRET, Hub, Instance, RoleHost, Variables, gateway, outside, served
from tests.e2e.stack import ssh, wait_for
from tools.lab import HostSpec, Lab
from tools.lab.network import GATEWAY

SPEC = HostSpec("e2e-roles", "10.213.77.131")


@pytest.fixture(scope="module")
def bare() -> Iterator[HostSpec]:
    lab = Lab()
    lab.down([SPEC.name])
    try:
        lab.up([SPEC], print)
        yield SPEC
    finally:
        lab.down([SPEC.name])


@pytest.fixture(scope="module")
def before(bare: HostSpec) -> list[str]:
    """The files of the host before any role was applied."""
    return ssh(bare.address, LISTING).splitlines()


@pytest.fixture(scope="module")
def host(bare: HostSpec, before: list[str], root: Path, tmp_path_factory: pytest.TempPathFactory) -> RoleHost:
    assert before
    made = RoleHost(bare.name, bare.address, root, tmp_path_factory.mktemp("roles"))
    double = (root / "tests/e2e/doubles/engine.py").read_text()
    made.run(("base", {}))
    for version in ("old", "new"):
        made.ssh(f"sudo install -d {PROGRAM}/{version}")
        made.ssh(f"sudo tee {PROGRAM}/{version}/engine.py >/dev/null <<'DOUBLE'\n{double}DOUBLE")
        made.ssh(f"sudo chmod 755 {PROGRAM}/{version}/engine.py")
    return made


@pytest.fixture(scope="module")
def one(host: RoleHost) -> Instance:
    return Instance(host, "one")


@pytest.fixture(scope="module")
def two(host: RoleHost) -> Instance:
    return Instance(host, "two")


# One instance and another


def test_a_check_of_a_bare_host_foresees_and_changes_nothing(host: RoleHost, one: Instance) -> None:
    limited = one.variables(service_egress=[{"address": "192.0.2.7", "ports": [80]}])
    foreseen = host.run(("service", limited), check=True).changed
    assert {"Make the instance's user", "Install nftables", "Write where the instance may connect to"} < set(foreseen)
    assert "Enable and run slipway-one.service" in foreseen
    assert host.ssh("ls /etc/slipway; getent passwd slipway-one", check=False) == ""


def test_two_instances_of_one_role(host: RoleHost, one: Instance, two: Instance) -> None:
    applied = host.run(("service", one.variables()), ("service", two.variables()))
    assert applied.results == {"times": 512.5, "tokens": 1048576, "version": "1.2.3"}
    assert one.ask("/environment")["DOUBLE"] == 'one "a" $b 100 % \\'
    assert one.ask("/environment")["DOUBLE_KEY"] == SECRET
    assert one.ask("/arguments")[1] == 'one "a" $b %c \\'
    assert "canary" not in applied.output
    assert "canary" not in host.ssh("systemctl show slipway-one; systemctl cat slipway-one")
    assert host.run(("service", one.variables()), ("service", two.variables()), check=True).changed == []


def test_neither_can_read_the_other(one: Instance, two: Instance) -> None:
    assert one.ask("/read?path=/etc/slipway/one/config.yaml") == "a: 1\n"
    for path in ("/etc/slipway/one/secrets", "/etc/slipway/two/config.yaml", "/var/lib/slipway/two/x"):
        assert one.ask(f"/read?path={path}") == "PermissionError"
    assert two.ask("/read?path=/etc/slipway/one/keys.json") == "PermissionError"


def test_a_change_of_one_restarts_one(host: RoleHost, one: Instance, two: Instance) -> None:
    pid, other = one.pid(), two.trace()
    changed = host.run(("service", one.variables(**one.files(config="a: 2\n")))).changed
    assert changed == ["Write the instance's files", "Enable and run slipway-one.service"]
    assert one.pid() != pid
    assert two.trace() == other


def test_what_is_read_again_restarts_nothing(host: RoleHost, one: Instance) -> None:
    pid = one.pid()
    changed = host.run(("service", one.variables(**one.files(config="a: 2\n", keys="[1]")))).changed
    assert changed == ["Write the instance's secret files"]
    assert one.ask("/read?path=/etc/slipway/one/keys.json") == "[1]"
    assert one.pid() == pid


def test_another_model_restarts_who_has_read_it(host: RoleHost, one: Instance) -> None:
    host.ssh("echo 1 | sudo tee /var/lib/slipway/models/mark >/dev/null")
    reads = {"service_reads": {"/var/lib/slipway/models/mark": hashlib.sha256(b"1\n").hexdigest()}}
    assert "Enable and run slipway-one.service" in host.run(("service", one.variables(**reads))).changed
    pid = one.pid()
    assert host.run(("service", one.variables(**reads)), check=True).changed == []
    host.ssh("echo 2 | sudo tee /var/lib/slipway/models/mark >/dev/null")
    reads = {"service_reads": {"/var/lib/slipway/models/mark": hashlib.sha256(b"2\n").hexdigest()}}
    assert host.run(("service", one.variables(**reads))).changed == ["Enable and run slipway-one.service"]
    assert one.pid() != pid
    host.ssh("sudo rm /var/lib/slipway/models/mark")


def test_drift_is_named_and_mended(host: RoleHost, one: Instance, two: Instance) -> None:
    host.run(("service", one.variables()))
    other = two.trace()
    host.ssh(
        "sudo chmod 644 /etc/slipway/one/config.yaml; echo x | sudo tee /etc/slipway/one/startup/stray.py >/dev/null;"
        "echo DOUBLE_KEY=x | sudo tee /etc/slipway/one/secrets >/dev/null; sudo systemctl stop slipway-one"
    )
    expected = [
        "Write the instance's files",
        "Write the instance's secrets",
        "Remove files that are not the instance's any more",
        "Enable and run slipway-one.service",
    ]
    assert host.run(("service", one.variables()), check=True).changed == expected
    assert host.run(("service", one.variables())).changed == expected
    assert one.ask("/environment")["DOUBLE_KEY"] == SECRET
    assert host.run(("service", one.variables()), check=True).changed == []
    assert two.trace() == other


@pytest.mark.rare
def test_whoever_is_in_the_way_makes_room(host: RoleHost, one: Instance, two: Instance) -> None:
    """A third instance gets the port of the first; the second is in nobody's way."""

    def claims(port: int) -> list[dict[str, Any]]:
        return [{"what": f"port:{port}", "share": 1}]

    host.run(
        ("service", one.variables(service_claims=claims(one.port))),
        ("service", two.variables(service_claims=claims(two.port))),
    )
    as_it_is = {"one": claims(one.port), "two": claims(two.port)}
    instead = {"three": claims(one.port), "two": claims(two.port)}
    other = two.trace()
    (task,) = host.run(("vacate", {"vacate_instances": instead}), check=True).changed
    assert one.ask("/environment")
    assert host.run(("vacate", {"vacate_instances": as_it_is})).changed == []
    assert host.run(("vacate", {"vacate_instances": instead})).changed == [task]
    assert host.ssh("systemctl is-active slipway-one; systemctl is-enabled slipway-one", check=False).split() == [
        "inactive",
        "disabled",
    ]
    assert str(one.port) not in host.ssh("ss --listening --tcp --numeric --no-header | awk '{print $4}'")
    assert host.run(("vacate", {"vacate_instances": instead})).changed == []
    # It was not removed after all, and nothing of its own step has changed.
    assert host.run(("vacate", {"vacate_instances": as_it_is})).changed == [task]
    wait_for(lambda: host.ssh("systemctl is-active slipway-one", check=False) == "active\n", "the first", seconds=30)
    assert host.run(("service", one.variables(service_claims=claims(one.port))), check=True).changed == []
    assert two.trace() == other
    host.run(("service", one.variables()), ("service", two.variables()))


def test_a_run_killed_between_file_and_restart_is_completed(host: RoleHost, one: Instance) -> None:
    pid = one.pid()
    variables = one.variables(**one.files(config="a: 3\n"))
    killed = host.start(("service", variables))
    # One login that looks on the host: the next tasks would be over before another.
    host.ssh("timeout 60 sh -c 'until sudo grep -q \"a: 3\" /etc/slipway/one/config.yaml; do sleep 0.02; done'")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert one.pid() == pid
    assert host.run(("service", variables), check=True).changed == ["Enable and run slipway-one.service"]
    assert host.run(("service", variables)).changed == ["Enable and run slipway-one.service"]
    assert one.pid() != pid


def test_commands_after_the_start_and_lines_of_the_unit(host: RoleHost, one: Instance) -> None:
    more = {
        "service_after_start": [["/bin/sh", "-c", 'echo "$0 $HOME" >/var/lib/slipway/one/after', 'a "b"']],
        "service_sandbox": {
            "MemoryDenyWriteExecute": True,
            "SystemCallFilter": ["~@mount", "mbind"],
            "PrivateDevices": "no",
        },
        "service_read_only_paths": ["/root/a model"],
        "service_memory_max": "2G",
    }
    host.ssh("sudo mkdir -p '/root/a model' && echo weights | sudo tee '/root/a model/w' >/dev/null")
    host.run(("service", one.variables(**more)))
    assert host.ssh("sudo stat -c %U /var/lib/slipway/one/after; sudo cat /var/lib/slipway/one/after").split("\n")[
        :2
    ] == [
        "slipway-one",
        'a "b" /var/lib/slipway/one',
    ]
    shown = host.ssh(
        "systemctl show slipway-one --property=MemoryDenyWriteExecute,PrivateDevices,MemoryMax,ProtectHome"
    )
    assert set(shown.split()) == {
        "MemoryDenyWriteExecute=yes",
        "PrivateDevices=no",
        "MemoryMax=2147483648",
        "ProtectHome=tmpfs",
    }
    assert one.ask("/read?path=/root/a%20model/w") == "weights\n"
    assert two_lines(host.ssh("systemctl cat slipway-one"), "SystemCallFilter") == ["~@mount", "mbind"]
    host.ssh("sudo rm -r '/root/a model'")


def two_lines(unit: str, name: str) -> list[str]:
    """The last two values that a unit has for a setting."""
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)[-2:]


def test_one_that_is_still_starting_is_stopped_at_once(host: RoleHost, one: Instance) -> None:
    """It listens to nobody, so nothing is in flight; and it would not end before its drain is over, as vLLM does not."""
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(999)"
    starting = {"service_command": ["/usr/bin/python3", "-c", script], "service_start_timeout": 4}
    host.run(("service", one.variables(**starting)), fails=True)
    since = host.ssh("date '+%Y-%m-%d %H:%M:%S'").strip()
    host.ssh("sudo systemctl stop slipway-one")
    said = host.ssh(f"sudo journalctl --sync && sudo journalctl --no-pager -o cat -u slipway-one --since '{since}'")
    assert "status=9/KILL" in said
    assert "timed out" not in said
    host.run(("service", one.variables()))


def test_a_program_that_crashes_is_said_at_once(host: RoleHost, one: Instance) -> None:
    broken = one.variables()
    broken["service_command"] = [f"{PROGRAM}/old/engine.py", "no-port"]
    began = time.monotonic()
    said = host.run(("service", broken), fails=True).output
    assert "slipway-one.service does not come up: it crashed" in said
    assert "ValueError: invalid literal for int() with base 10: 'no-port'" in said
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"service_name": "models"}, 'service_name is "models"; an instance\'s name is a slug of at most 24'),
        ({"service_name": "a" * 25}, "a slug of at most 24 lower-case letters"),
        ({"service_name": "../x"}, "a slug of at most 24 lower-case letters"),
        ({"service_command": ["engine"]}, "service_command must begin with the absolute path of a program"),
        (
            {"service_secrets": {"K": "canary\nX=1"}},
            "service_secrets: K must have the form of a variable",
        ),
        ({"service_files": {"../x": {"content": ""}}}, "service_files: ../x must be names, in at most two folders"),
        ({"service_files": {"secrets": {"content": ""}}}, "service_files: secrets must be names"),
        (
            {"service_egress": [{"address": "192.0.2.7", "ports": []}]},
            "service_egress must name the ports of each address",
        ),
        (
            {"service_sandbox": {"UMask": "0\nUser=root"}},
            "service_sandbox and service_description must be of single lines",
        ),
    ],
)
def test_what_cannot_work_is_refused(host: RoleHost, one: Instance, changes: Variables, expected: str) -> None:
    said = host.run(("service", one.variables(**changes)), check=True, fails=True).output
    assert expected in said
    assert "canary" not in said


# Where an instance may connect to


def pair(target: str) -> Variables:
    """One `address:port` as the role takes it."""
    address, _, port = target.rpartition(":")
    return {"address": address, "ports": [int(port)]}


def test_egress_is_limited_from_the_first_packet_on(host: RoleHost, one: Instance, two: Instance) -> None:
    with outside() as (target, callers):
        limited = one.variables(service_egress=[pair(f"127.0.0.1:{two.port}")])
        limited["service_command"] = [f"{PROGRAM}/old/engine.py", str(one.port), target]
        host.run(("service", limited))
        assert "first connection: ConnectionRefusedError" in host.ssh("sudo journalctl -u slipway-one -o cat -n 5")
        assert one.ask(f"/connect?to={target}") == "ConnectionRefusedError"
        assert one.ask(f"/connect?to=127.0.0.1:{two.port}") == "connected"
        # Something listens there, itself, but that port of the loopback is not named.
        assert one.ask(f"/connect?to=127.0.0.1:{one.port}") == "ConnectionRefusedError"
        assert two.ask(f"/connect?to=127.0.0.1:{one.port}") == "connected"
        assert callers == []
        assert rejected(host) >= 3
        assert two.ask(f"/connect?to={target}") == "connected"
        assert host.run(("service", limited), check=True).changed == []

        # Others who load their own rules, while the instance starts and asks at once; and somebody at the keyboard.
        host.ssh(
            "sudo systemctl restart slipway-one && sudo systemctl restart nftables && sudo systemctl reload nftables"
        )
        one_answers(one)
        host.ssh("sudo systemctl stop nftables && sudo nft flush ruleset")
        assert "Operation not permitted" in host.ssh("sudo nft delete table inet slipway-one 2>&1", check=False)
        assert one.ask(f"/connect?to={target}") == "ConnectionRefusedError"
        assert host.run(("service", limited), check=True).changed == []
        assert callers == [SPEC.address], "the other one's"


@pytest.mark.rare
def test_a_limit_that_is_lost_comes_back_and_a_start_without_it_fails(
    host: RoleHost, one: Instance, two: Instance
) -> None:
    same = one.variables(service_egress=[pair(f"127.0.0.1:{two.port}")])
    with outside() as (target, callers):
        pid = one.pid()
        host.ssh("sudo systemctl kill --signal=KILL slipway-one.egress")
        wait_for(lambda: "slipway-one" in host.ssh("sudo nft list tables"), "the limit", seconds=10)
        assert one.ask(f"/connect?to={target}") == "ConnectionRefusedError"
        assert one.pid() == pid
        # Without nft there is no limit, and so no instance.
        host.ssh("sudo systemctl stop slipway-one; sudo mv /usr/sbin/nft /usr/sbin/nft.away")
        try:
            assert "failed" in host.ssh("sudo timeout 60 systemctl start slipway-one 2>&1", check=False)
            assert host.ssh("sudo pgrep -u slipway-one", check=False) == ""
        finally:
            host.ssh("sudo mv /usr/sbin/nft.away /usr/sbin/nft; sudo systemctl stop slipway-one")
        said = host.run(("service", same), check=True).changed
        assert said[0] == "Enable and run slipway-one.egress.service"
        host.run(("service", same))
        assert one.ask(f"/connect?to={target}") == "ConnectionRefusedError"
        assert callers == []


def test_a_limit_is_there_after_a_reboot(host: RoleHost, one: Instance) -> None:
    with outside() as (target, callers):
        limited = one.variables(service_egress=[])
        limited["service_command"] = [f"{PROGRAM}/old/engine.py", str(one.port), target]
        host.run(("service", limited))

        def first_process() -> str:
            return host.ssh("cut -d ' ' -f 22 /proc/1/stat", check=False)

        before = first_process()
        host.ssh("sudo systemctl reboot", check=False)
        wait_for(lambda: first_process() not in ("", before), "the host after a reboot", seconds=120)
        one_answers(one)
        assert one.ask(f"/connect?to={target}") == "ConnectionRefusedError"
        assert callers == []


def test_listed_pairs_can_be_reached(host: RoleHost, one: Instance, two: Instance) -> None:
    with outside() as (target, callers), outside() as (other, other_callers):
        network = {"address": "192.0.2.0/24", "ports": [80, 443]}
        there = pair(target) | {"address": f"{GATEWAY}/32"}
        listed = one.variables(service_egress=[network, there], service_ingress=[])
        host.run(("service", listed))
        assert one.ask(f"/connect?to={target}") == "connected"
        assert one.ask("/connect?to=198.51.100.7:80") == "ConnectionRefusedError"
        # Another port of the address, where something listens as well.
        assert one.ask(f"/connect?to={other}") == "ConnectionRefusedError"
        assert two.ask(f"/connect?to={other}") == "connected"
        assert other_callers == [SPEC.address], "the other one's"
        assert one.ask(f"/connect?to=127.0.0.1:{two.port}") == "ConnectionRefusedError"
        assert callers == [SPEC.address]
        assert "IPAddressAllow=192.0.2.0/24" in host.ssh("systemctl cat slipway-one")
        assert host.run(("service", listed), check=True).changed == []

        # Other ports come into force while it runs.
        pid = one.pid()
        there["ports"] = [*there["ports"], *pair(other)["ports"]]
        assert host.run(("service", listed)).changed == [
            "Write where the instance may connect to",
            "Enable and run slipway-one.egress.service",
        ]
        assert one.ask(f"/connect?to={other}") == "connected"
        assert one.pid() == pid
        assert host.run(("service", listed), check=True).changed == []


@pytest.mark.rare
def test_two_limits_share_the_package(host: RoleHost, one: Instance, two: Instance) -> None:
    """The package goes with the last of them, whoever brought it; neither takes the other's rules."""
    with outside() as (target, callers):
        host.run(("service", two.variables(service_egress=[])))
        assert two.ask(f"/connect?to={target}") == "ConnectionRefusedError"
        other = two.trace()
        host.run(("service", one.variables()))
        assert one.ask(f"/connect?to={target}") == "connected"
        assert two.ask(f"/connect?to={target}") == "ConnectionRefusedError"
        assert two.trace() == other
        assert "table inet slipway-one" not in host.ssh("sudo nft list tables")
        host.run(("service", two.variables()))
        assert two.ask(f"/connect?to={target}") == "connected"
        assert callers == [SPEC.address] * 2
    assert host.ssh("ls /usr/sbin/nft /etc/systemd/system/*egress*", check=False) == ""
    assert host.run(("service", one.variables()), ("service", two.variables()), check=True).changed == []


def rejected(host: RoleHost) -> int:
    """Packets of the first instance that were turned away."""
    table = host.ssh("sudo nft list table inet slipway-one")
    return sum(map(int, re.findall(r"counter packets (\d+)", table)))


def one_answers(one: Instance) -> None:
    script = f"for try in $(seq 600); do (exec 3<>/dev/tcp/127.0.0.1/{one.port}) 2>/dev/null && exit 0; sleep 0.1; done; exit 1"
    one.host.ssh(f"bash -c {shlex.quote(script)}")


# Programs


def test_an_environment_goes_when_nothing_runs_from_it(host: RoleHost, one: Instance, two: Instance) -> None:
    host.ssh(f"sudo mkdir {PROGRAM}/new && sudo cp {PROGRAM}/old/engine.py {PROGRAM}/new/", check=False)
    other = two.trace()
    host.run(("service", one.variables("new")))
    assert host.ssh(f"ls {PROGRAM}").split() == ["new", "old"]
    assert two.trace() == other
    assert host.run(("service", two.variables("new"))).changed[-1] == "Remove environments that nothing runs from"
    assert host.ssh(f"ls {PROGRAM}").split() == ["new"]
    assert host.run(("service", one.variables("new")), ("service", two.variables("new")), check=True).changed == []


def test_a_program_stays_while_something_runs_from_it(host: RoleHost) -> None:
    said = host.run(("program", {"program_state": "absent", "program_root": PROGRAM}), fails=True).output
    assert "slipway-one.service, slipway-two.service still run from /opt/slipway/double" in said
    assert host.ssh(f"ls {PROGRAM}").split() == ["new"]


def test_a_program_of_a_lock(host: RoleHost) -> None:
    """The hub's client, as the smallest: installed once, in the folder of its lock."""
    assert "Install the program" in host.run(("hub", {}), check=True).changed
    assert "Install the program" in host.run(("hub", {})).changed
    assert host.run(("hub", {})).changed == []
    lock = (host.root / "playbooks/roles/hub/files/requirements.txt").read_bytes()
    assert host.ssh("ls /opt/slipway/hub").split() == [hashlib.sha256(lock).hexdigest()[:16]]
    said = host.run(("hub", {"hub_folder": "/opt/slipway/hub/other"}), check=True, fails=True).output
    assert "/opt/slipway/hub/other is not /opt/slipway/hub/" in said


# Models


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "more").mkdir()
    for name, content in {"config.json": "{}", "model.safetensors": "w", "more/vocab": "v"}.items():
        (folder / name).write_text(content)
    (folder / "model.safetensors").chmod(0o600)
    return folder


def model(name: str, kind: str, **more: Any) -> Variables:
    own = {key: more.pop(key) for key in list(more) if key.startswith("model_")}
    record = json.dumps({"kind": kind, **{key: str(value) for key, value in more.items()}})
    return {"model_name": name, "model_source": {"kind": kind, **more}, "model_record": record, **own}


def models_of(host: RoleHost) -> list[str]:
    return host.ssh("cd /var/lib/slipway/models && find . -mindepth 1 -not -path '*/.cache/*' | sort").split()


@pytest.mark.rare
def test_models_from_this_machine(host: RoleHost, weights: Path, tmp_path: Path) -> None:
    single = tmp_path / "tiny.Q4.gguf"
    single.write_text("GGUF")
    folder = model("llama-3.2", "path", path=str(weights))
    file = model("tiny", "path", path=str(single), model_format="gguf", model_file=single.name)
    assert "Copy the model's files" in host.run(("model", folder), ("model", file), check=True).changed
    host.run(("model", folder), ("model", file))
    assert models_of(host) == [
        *("./llama-3.2", "./llama-3.2/.slipway.json", "./llama-3.2/config.json", "./llama-3.2/model.safetensors"),
        *("./llama-3.2/more", "./llama-3.2/more/vocab", "./tiny", "./tiny/.slipway.json", "./tiny/tiny.Q4.gguf"),
    ]
    assert host.run(("model", folder), ("model", file), check=True).changed == []
    host.ssh(
        "cd /var/lib/slipway/models; sudo chmod 600 tiny/tiny.Q4.gguf; sudo rm llama-3.2/config.json; sudo touch tiny/x.gguf"
    )
    assert host.run(("model", folder), ("model", file), check=True).changed == [
        *("Copy the model's files", "Copy the model's files", "Remove files that are not the model's")
    ]
    host.run(("model", folder), ("model", file))
    host.run(("model", {**file, "model_state": "absent"}))
    assert [path for path in models_of(host) if "tiny" in path] == []
    assert "./llama-3.2/config.json" in models_of(host)


def test_a_model_from_a_mirror(host: RoleHost, weights: Path) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(weights))
    names = ("config.json", "model.safetensors", "more/vocab")
    sums = {name: hashlib.sha256((weights / name).read_bytes()).hexdigest() for name in names}
    with served(handler) as url:
        mirrored = model("mirrored", "mirror", url=f"{url}/", sha256sums=sums)
        host.run(("model", mirrored))
        assert host.run(("model", mirrored), check=True).changed == []
        wrong = model("mirrored", "mirror", url=url, sha256sums={**sums, "config.json": "0" * 64})
        assert "The checksum for" in host.run(("model", wrong), fails=True).output
    host.run(("model", {**mirrored, "model_state": "absent"}))


def test_a_model_from_a_hub(host: RoleHost) -> None:
    folder = host.ssh("ls -d /opt/slipway/hub/*").strip()
    more = {"model_downloader": folder, "model_hub_token": "canary-token", "files": ["*.json", "*.safetensors"]}
    with served(Hub) as url:
        wanted = model("hubbed", "hub", repository="o/n", revision=Hub.commit, endpoint=url, **more)
        done = host.run(("model", wanted))
        assert "canary" not in done.output
        assert set(Hub.keys) == {"Bearer canary-token"}
        held = [path for path in models_of(host) if "hubbed/" in path and "/." not in path[1:]]
        assert held == ["./hubbed/config.json", "./hubbed/model.safetensors"]
        assert host.ssh("stat -c %U /var/lib/slipway/models/hubbed/config.json").strip() == "slipway-hub"
        assert host.run(("model", wanted), check=True).changed == []
        gone = model("hubbed", "hub", repository="o/n", revision="c" * 40, endpoint=url, **more)
        said = host.run(("model", gone), fails=True).output
    assert "o/n at cccccccccccc could not be fetched from http://" in said
    assert "canary" not in said
    # What a client without a hub calls a success, as there is something in the folder.
    said = host.run(("model", wanted), fails=True).output
    assert "could not be fetched" in said
    host.run(("model", {**wanted, "model_state": "absent"}))


def test_a_model_that_lies_on_the_host_is_somebody_elses(host: RoleHost) -> None:
    host.ssh("sudo install -d -m 700 /srv/m && echo {} | sudo tee /srv/m/config.json /srv/m/w.safetensors >/dev/null")
    there = model("llama-3.2", "host_path", path="/srv/m", model_path="/srv/m")
    said = host.run(("model", there), fails=True).output
    assert "/srv/m has not config.json and weights (*.safetensors or *.bin) that every user can read" in said
    assert "chmod -R o+rX /srv/m" in said
    host.ssh("sudo chmod 755 /srv/m")
    assert models_of(host) == [], "what was brought under that name before is gone"
    assert host.run(("model", there)).changed == []
    assert host.run(("model", {**there, "model_state": "absent"})).changed == []
    assert host.ssh("ls -A /srv/m").split() == ["config.json", "w.safetensors"]
    host.ssh("sudo rm -r /srv/m")


# The front, and what is proved through it


MODELS = {
    "cloud": "chat",
    "a.chat": "chat",
    "an-embedder": "embedding",
    "a-ranker": "rerank",
    "an-ear": "transcription",
    "silent": "chat",
}
"""Their tasks."""


def hashed(key: str) -> Variables:
    """A key as teams.json has it."""
    salt = "5a" * 16
    return {"id": None, "salt": salt, "hash": key_hash(salt, key), "not_after": None}


def front_variables(first: Variables, private: Variables | None) -> Variables:
    """The variables of role nginx: two teams, and models that a gateway answers for."""
    limits = (
        "requests_per_minute",
        "tokens_per_minute",
        "parallel_requests",
        "tokens_per_month",
        "not_after",
        "models",
    )
    teams = [
        {"name": name, "private": name == "private", "keys": [hashed(f"key-{name}")], **dict.fromkeys(limits)}
        for name in ("open", "private")
    ]
    model = {"context_window": None, "max_output_tokens": None, "fallbacks": [], "provided": False}
    # Engines of their own they have, but none that the front can ask: the gateway is asked for all of them.
    engine = {"id": "e", "group": "e", "address": "127.0.0.1", "port": 9, "model": "m", "key": None, "native": []}
    backends = [{**engine, "weight": 1, "health": "/health", "probe": None}]
    return {
        "nginx_server_name": SPEC.address,
        "nginx_teams": {"teams": teams},
        "nginx_routes": {
            "models": {name: {**model, "task": task, "backends": backends} for name, task in MODELS.items()},
            "aliases": {},
            "through": {"open": [first], "private": private and [private]},
            "fast_path": True,
            "timeout_s": 60,
            "extra_fields": {},
            "allowed_origins": [],
        },
    }


@pytest.fixture(scope="module")
def front(host: RoleHost) -> Iterator[dict[str, Any]]:
    """The front over two gateways; what each has been asked, and the front's variables."""
    with gateway() as (first, asked), gateway() as (private, asked_privately):
        variables = front_variables(first, private)
        host.run(("nginx", variables))
        yield {
            "variables": variables,
            "gateway": asked,
            "private": asked_privately,
            "peers": {"open": first, "private": private},
        }


def asked(
    front: dict[str, Any], path: str, *headers: str, data: str = '{"model": "cloud"}'
) -> tuple[int, list[str], list[str]]:
    """Ask the front: status, and what each gateway was asked."""
    front["gateway"].clear()
    front["private"].clear()
    options = [option for header in headers for option in ("--header", header)]
    _, _, report = curl("--insecure", "--data", data, *options, f"https://{SPEC.address}{path}")
    return report["http_code"], *(
        [path for method, path in front[name] if method == "POST"] for name in ("gateway", "private")
    )


def test_private_teams_go_to_their_gateway(host: RoleHost, front: dict[str, Any]) -> None:
    path = "/v1/chat/completions"
    assert asked(front, path, "Authorization: Bearer key-open") == (200, [path], [])
    assert asked(front, path, "Authorization: Bearer key-private") == (200, [], [path])
    assert asked(front, path, "Authorization: Bearer wrong") == (401, [], [])
    # Without one there is none that may be asked; the files are taken up while nginx runs.
    pid = host.ssh("systemctl show --property=MainPID --value slipway-nginx")
    alone = front_variables(front["peers"]["open"], None)
    assert host.run(("nginx", alone)).changed == ["Write the routes"]
    try:
        assert asked(front, path, "Authorization: Bearer key-private") == (503, [], [])
        assert asked(front, path, "Authorization: Bearer key-open") == (200, [path], [])
    finally:
        host.run(("nginx", front["variables"]))
    assert host.ssh("systemctl show --property=MainPID --value slipway-nginx") == pid


def test_anthropics_clients_are_understood(front: dict[str, Any]) -> None:
    assert asked(front, "/v1/messages", "x-api-key: key-open") == (200, ["/v1/messages"], [])
    assert asked(front, "/v1/messages?beta=true", "x-api-key: key-private") == (200, [], ["/v1/messages"])
    assert asked(front, "/v1/messages", "x-api-key: wrong") == (401, [], [])
    assert asked(front, "/v1/messages?beta=key-open&key=x", "x-api-key: key-open") == (400, [], [])
    assert asked(front, "/v1/messages") == (401, [], [])
    assert front["gateway"] == [], "nobody is asked about a key that is none"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *((f"/v1/{path}", 200) for path in ("responses", "messages/count_tokens", "embeddings")),
        *((path, 200) for path in ("/v1/rerank", "/rerank", "/tokenize", "/detokenize")),
        *((path, 404) for path in ("/v1/rerank/x", "/v1/responses/1", "/tokenizer", "/v1/key/info", "/")),
    ],
)
def test_the_fronts_paths(front: dict[str, Any], path: str, status: int) -> None:
    passed = [path] if status == 200 else []
    (*_, kind) = path.split("/")
    body = json.dumps({"model": {"embeddings": "an-embedder", "rerank": "a-ranker"}.get(kind, "cloud")})
    assert asked(front, path, "Authorization: Bearer key-open", data=body) == (status, passed, [])


def test_what_was_used_is_noted(host: RoleHost, front: dict[str, Any]) -> None:
    before = host.ssh("sudo sh -c 'cat /var/lib/slipway/nginx/usage/*'").splitlines()
    assert asked(front, "/v1/chat/completions", "Authorization: Bearer key-open")[0] == 200
    (line,) = host.ssh("sudo sh -c 'cat /var/lib/slipway/nginx/usage/*'").splitlines()[len(before) :]
    record = json.loads(line)
    assert (record["team"], record["model"], record["status"]) == ("open", "cloud", 200)
    assert host.ssh("sudo stat -c '%U %a' /var/lib/slipway/nginx").strip() == "slipway-nginx 700"


def test_large_requests_come_through(front: dict[str, Any], tmp_path: Path) -> None:
    large = tmp_path / "large"
    for size, status in ((60, 200), (65, 413)):
        large.write_bytes(b'{"model": "cloud", "input": "' + b"x" * size * 2**20 + b'"}')
        passed = ["/v1/responses"] if status == 200 else []
        found = asked(front, "/v1/responses", "Authorization: Bearer key-open", "Expect:", data=f"@{large}")
        assert found == (status, passed, [])


def test_the_front_sees_no_instances_files(host: RoleHost, front: dict[str, Any]) -> None:
    pid = host.ssh("systemctl show --property=MainPID --value slipway-nginx").strip()
    assert host.ssh(f"sudo ls /proc/{pid}/root/etc/slipway").split() == ["nginx"]
    assert host.run(("nginx", front["variables"]), check=True).changed == []


def acceptance(*models: Variables, **more: Any) -> Variables:
    return {
        "acceptance_address": SPEC.address,
        "acceptance_server_name": SPEC.address,
        "acceptance_ca_file": "/etc/slipway/nginx/tls/authority.crt",
        "acceptance_key": "key-open",
        "acceptance_models": list(models),
        **more,
    }


def test_each_model_is_proved_by_its_task(host: RoleHost, front: dict[str, Any]) -> None:
    here = front["peers"]["open"]
    direct = f"http://{here['address']}:{here['port']}/v1"
    tasks = {"chat": "a.chat", "embedding": "an-embedder", "rerank": "a-ranker", "transcription": "an-ear"}
    models = [{"name": name, "task": task, "max_tokens": 8} for task, name in tasks.items()]
    models[0]["direct_url"] = models[1]["direct_url"] = direct
    front["private"].clear()
    keys = {"acceptance_keys": {"a-ranker": "key-private"}, "acceptance_direct_key": "key-open"}
    said = host.run(("acceptance", acceptance(*models, **keys)))
    assert said.changed == []
    assert [path for method, path in front["private"] if method == "POST"] == ["/v1/rerank"] * 2
    figures = said.results["models"]
    assert {name: sorted(found) for name, found in figures.items()} == {
        "a.chat": ["deltas", "direct_ttft_ms", "task", "tokens_per_second", "ttft_ms"],
        "an-embedder": ["dimensions", "direct_latency_ms", "latency_ms", "task"],
        "a-ranker": ["latency_ms", "task"],
        "an-ear": ["latency_ms", "task"],
    }
    assert figures["an-embedder"]["dimensions"] == 2


def test_private_teams_gateway_is_asked_as_well(host: RoleHost, front: dict[str, Any]) -> None:
    models: list[Variables] = [{"name": "a.chat"}, {"name": "an-embedder", "task": "embedding"}]
    private = {"acceptance_private_key": "key-private", "acceptance_private_gateway": "slipway-litellm-private.service"}
    plain, both = acceptance(*models), acceptance(*models, **private)
    front["private"].clear()
    figures = host.run(("acceptance", plain)).results["models"]
    assert front["private"] == []
    said = host.run(("acceptance", both)).results["models"]
    paths = [path for method, path in front["private"] if method == "POST"]
    assert paths == ["/v1/chat/completions", "/v1/embeddings"]
    assert {name: sorted(of) for name, of in said.items()} == {name: sorted(of) for name, of in figures.items()}

    # One that is gone: the other teams notice nothing.
    host.run(("nginx", front_variables(front["peers"]["open"], {**front["peers"]["private"], "port": 9})))
    try:
        host.run(("acceptance", plain))
        failed = host.run(("acceptance", both), fails=True).output
    finally:
        host.run(("nginx", front["variables"]))
    assert (
        f"model a.chat at https://{SPEC.address}:443/v1, asked as a private team through slipway-litellm-private.service: "
        "answered 503"
    ) in failed
    assert "key-private" not in failed


def test_a_model_that_does_not_answer_is_named(host: RoleHost, front: dict[str, Any]) -> None:
    assert front
    said = host.run(("acceptance", acceptance({"name": "a.chat"}, {"name": "silent"})), fails=True).output
    assert f"model silent at https://{SPEC.address}:443/v1: answered, but no token came" in said
    assert "key-open" not in said
    assert host.run(("acceptance", acceptance({"name": "silent"})), check=True).changed == []


# And away


@pytest.mark.parametrize("first_is_one", [True, pytest.param(False, marks=pytest.mark.rare)])
def test_removed_in_every_order(host: RoleHost, one: Instance, two: Instance, first_is_one: bool) -> None:
    first, last = (one, two) if first_is_one else (two, one)
    host.run(("service", one.variables("new", service_egress=[])), ("service", two.variables("new", service_egress=[])))
    other = last.trace()
    gone = {**first.variables("new", service_egress=[]), "service_state": "absent"}
    assert host.run(("service", gone), check=True).changed != []
    assert last.trace() == other
    host.run(("service", gone))
    assert last.trace() == other
    assert (
        host.ssh(
            f"sudo find / -xdev -name '*slipway-{first.name}*' -not -path '/proc/*'; getent passwd slipway-{first.name}",
            check=False,
        )
        == ""
    )
    assert f"table inet slipway-{first.name}" not in host.ssh("sudo nft list tables")
    assert host.run(("service", gone)).changed == []
    assert host.run(("service", last.variables("new", service_egress=[])), check=True).changed == []


def test_the_last_limit_takes_its_package_along(host: RoleHost, one: Instance, two: Instance) -> None:
    for each in (one, two):
        host.run(("service", {**each.variables("new"), "service_state": "absent"}))
    assert host.ssh("ls /usr/sbin/nft", check=False) == ""


def test_nothing_is_left(host: RoleHost, before: list[str]) -> None:
    host.run(
        ("program", {"program_state": "absent", "program_root": PROGRAM}),
        ("hub", {"hub_state": "absent"}),
        ("nginx", {"nginx_state": "absent"}),
        ("base", {"base_state": "absent"}),
    )
    assert host.ssh(LISTING).splitlines() == before
    assert host.ssh("getent passwd | grep slipway-; getent group | grep slipway-", check=False) == ""

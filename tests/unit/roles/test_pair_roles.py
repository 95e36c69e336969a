"""The roles of what two fronts have beside them: counters and keepalived."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.roles.loading import load
from tests.unit.roles.rendering import shown, unit


@pytest.mark.parametrize(("release", "program"), [("bookworm", "redis"), ("noble", "redis"), ("trixie", "valkey")])
def test_valkey_counts_where_the_distribution_has_it(release: str, program: str) -> None:
    facts = {"ansible_facts": {"ansible_distribution_release": release}}
    assert shown("counters", "counters_program", counters_host=facts) == program


def test_the_counters_listen_on_one_address_with_a_password_and_keep_their_counts() -> None:
    text = shown(
        "counters", "counters.conf.j2", counters_address="10.0.0.11", counters_port=7000, counters_password="abc"
    )
    lines = dict(line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert lines["bind"] == "10.0.0.11"
    assert lines["port"] == "7000"
    assert lines["requirepass"] == "abc"
    assert lines["appendonly"] == "yes"
    assert lines["maxmemory-policy"] == "noeviction"


def test_the_units_are_confined() -> None:
    counters = unit(shown("counters", "slipway-counters.service.j2", counters_program="valkey", counters_port=7000))
    assert counters["ExecStart"] == ["/usr/bin/valkey-server /etc/slipway/counters/counters.conf"]
    assert counters["User"] == ["slipway-counters"]
    assert counters["SocketBindAllow"] == ["tcp:7000"]
    keepalived = unit(shown("keepalived", "slipway-keepalived.service.j2", keepalived_interface="eth0"))
    assert (
        keepalived["CapabilityBoundingSet"][-1] == "CAP_NET_ADMIN CAP_NET_BROADCAST CAP_NET_RAW CAP_SETGID CAP_SETUID"
    )
    for each in (counters, keepalived):
        assert each["NoNewPrivileges"] == ["yes"]
        assert each["ProtectSystem"] == ["strict"]
        assert each["MemoryDenyWriteExecute"] == ["yes"]


def test_who_has_the_address_keeps_it() -> None:
    text = shown(
        "keepalived",
        "keepalived.conf.j2",
        keepalived_address="10.0.0.100/24",
        keepalived_interface="eth0",
        keepalived_password="12345678",
        keepalived_own="10.0.0.11",
        keepalived_peers=["10.0.0.12"],
    )
    lines = [line.strip() for line in text.splitlines()]
    assert {"state BACKUP", "nopreempt", "unicast_src_ip 10.0.0.11", "10.0.0.12", "auth_pass 12345678"} <= set(lines)
    assert "10.0.0.100/24 dev eth0" in lines
    assert text.count("{") == text.count("}")


def test_the_address_is_on_the_interface_with_the_private_one() -> None:
    # As `ip -json address` prints them.
    interfaces = [
        {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]},
        {"ifname": "eth0", "addr_info": []},
        {"ifname": "eth1", "addr_info": [{"local": "10.0.0.9"}, {"local": "10.0.0.11"}, {"local": "fd00::11"}]},
    ]
    found = {"stdout": json.dumps(interfaces)}
    assert shown("keepalived", "keepalived_device", keepalived_interfaces=found, keepalived_own="10.0.0.11") == "eth1"
    assert shown("keepalived", "keepalived_device", keepalived_interfaces=found, keepalived_own="10.0.0.12") == ""
    given = {"keepalived_own": "10.0.0.11", "keepalived_interface": "eth7"}
    assert shown("keepalived", "keepalived_device", keepalived_interfaces=found, **given) == "eth7"


def test_a_drained_host_is_not_well(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    upgraded = tmp_path / "front-drained"
    places = {"keepalived_folder": str(tmp_path), "keepalived_drained": str(upgraded)}
    script = shown("keepalived", "front-is-well.j2", **places, keepalived_front_port=8443)
    assert "https://127.0.0.1:8443/healthz" in script
    script = script.replace("/usr/bin/curl", f"touch {asked}; true")
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 0
    assert asked.exists()
    for mark in (tmp_path / "drain", upgraded):
        mark.touch()
        assert subprocess.run(["sh", "-c", script], check=False).returncode == 1
        mark.unlink()


def test_who_drains_for_a_change_and_keepalived_mean_the_same_file() -> None:
    drain = load("module_utils/slipway_drain.py")
    assert shown("keepalived", "keepalived_drained") == str(drain.RUN / drain.ADDRESS)


def test_a_front_alone_needs_no_client_for_counters() -> None:
    assert "lua-nginx-redis" not in shown("nginx", "nginx_packages")
    assert "lua-nginx-redis" in shown("nginx", "nginx_packages", nginx_counters={"port": 1})

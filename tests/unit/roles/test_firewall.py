"""Which ports firewalld keeps closed. What it answers is in the form of firewalld 1.3, as `firewall-offline-cmd` wrote it."""

import importlib
from typing import Any

import pytest

from tests.unit.roles.loading import PLAYBOOKS

assert PLAYBOOKS
firewall = importlib.import_module("ansible.module_utils.slipway_firewall")

ENGINE = {"port": 8100, "unit": "slipway-m.service", "purpose": "the engine of m", "remote": True}
ZONE = """public (active)
  target: {target}
  icmp-block-inversion: no
  interfaces: eth0
  sources:
  services: {services}
  ports: {ports}
  protocols:
  forward: yes
  masquerade: no
  forward-ports:
  source-ports:
  icmp-blocks:
  rich rules:
{rules}
"""
SERVICES = {
    "ssh": "ssh\n  ports: 22/tcp\n  protocols: \n",
    "https": "https\n  ports: 443/tcp\n  protocols: \n",
}


def answers(**fields: str) -> Any:
    zone = ZONE.format(**{"target": "default", "services": "ssh", "ports": "", "rules": "", **fields})

    def ask(*arguments: str) -> str:
        if arguments[0].startswith("--info-service="):
            return SERVICES[arguments[0].partition("=")[2]]
        return {
            ("--state",): "running\n",
            ("--get-active-zones",): "public\n  interfaces: eth0\n",
            ("--zone=public", "--list-all"): zone,
        }[arguments]

    return ask


@pytest.mark.parametrize(
    ("fields", "open_"),
    [
        ({}, False),
        ({"ports": "8101/tcp 8100/udp"}, False),
        ({"rules": '\trule family="ipv4" source address="10.0.0.9" port port="8100" protocol="tcp" drop'}, False),
        ({"ports": "8100/tcp"}, True),
        ({"ports": "22/tcp 8000-8200/tcp"}, True),
        ({"target": "ACCEPT"}, True),
        ({"rules": '\trule family="ipv4" source address="10.0.0.0/8" port port="8100" protocol="tcp" accept'}, True),
        ({"rules": '\trule family="ipv4" source address="10.0.0.0/8" accept'}, True),
    ],
)
def test_what_lets_a_port_in(fields: dict[str, str], open_: bool) -> None:
    problems = list(firewall.check_firewall([ENGINE], answers(**fields)))
    if open_:
        assert not problems
    else:
        assert problems == [
            "firewalld lets nobody in on port 8100, where other hosts ask the engine of m: open it to them (firewall-cmd "
            "--permanent --add-port=8100/tcp && firewall-cmd --reload, or a rich rule with their addresses)"
        ]


def test_a_service_brings_its_ports() -> None:
    front = {"port": 443, "unit": "slipway-nginx.service", "remote": True}
    assert not list(firewall.check_firewall([front], answers(services="ssh https")))
    assert list(firewall.check_firewall([front], answers(services="ssh")))


def test_who_is_asked_on_the_loopback_alone_needs_nothing() -> None:
    assert not list(firewall.check_firewall([{**ENGINE, "remote": False}], answers()))


def test_without_firewalld_nothing_is_said() -> None:
    assert not list(firewall.check_firewall([ENGINE], lambda *_: ""))

"""Where an instance of role service may connect to: pairs of address and port, in the rules and in the unit."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles import rendering

Variables = dict[str, Any]

NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")
ENGINES = [
    {"address": "127.0.0.1", "ports": [8101, 8102]},
    {"address": "10.0.0.11", "ports": [8101]},
    {"address": "192.0.2.0/24", "ports": [80]},
    {"address": "::1", "ports": [8103]},
    {"address": "fd00::/64", "ports": [8104, 8105]},
]


def allowed(*command: str) -> bool:
    try:
        return subprocess.run([*NAMESPACE, *command], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_nft = pytest.mark.skipif(
    not allowed("/usr/sbin/nft", "list", "tables"), reason="needs nft, and a network namespace of one's own"
)


def shown(what: str, **variables: Any) -> Any:
    """A template of role service, or one of its expressions, for an instance with these variables."""
    return rendering.shown("service", what, **{"service_name": "one", "service_command": ["/opt/x"], **variables})


def accepted(rules: str) -> list[str]:
    return [line.strip() for line in rules.splitlines() if line.strip().endswith(" accept")]


def test_a_pair_opens_its_port_at_its_address_and_nothing_else() -> None:
    assert accepted(shown("egress.nft.j2", service_egress=ENGINES)) == [
        "ip daddr 127.0.0.1 tcp dport { 8101, 8102 } accept",
        "ip daddr 10.0.0.11 tcp dport { 8101 } accept",
        "ip daddr 192.0.2.0/24 tcp dport { 80 } accept",
        "ip6 daddr ::1 tcp dport { 8103 } accept",
        "ip6 daddr fd00::/64 tcp dport { 8104, 8105 } accept",
    ]
    assert accepted(shown("egress.nft.j2", service_egress=[])) == []


@needs_nft
@pytest.mark.parametrize("pairs", [[], ENGINES], ids=["nothing", "engines"])
def test_nft_takes_the_rules(tmp_path: Path, pairs: list[Variables]) -> None:
    rules = tmp_path / "egress.nft"
    rules.write_text(shown("egress.nft.j2", service_egress=pairs, service_user="root"))
    checked = subprocess.run(
        [*NAMESPACE, "/usr/sbin/nft", "-c", "-f", str(rules)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def command(name: str, **variables: Any) -> str:
    """What the limit's unit has the shell run, as systemd hands it on."""
    found = re.findall(rf"^{name}=/bin/sh -c '(.*)'$", shown("egress.service.j2", **variables), re.MULTILINE)
    assert len(found) == 1
    return str(found[0]).replace("\\\\", "\\")


@needs_nft
def test_what_is_not_named_is_refused_on_the_loopback_too(tmp_path: Path) -> None:
    """And other pairs come into force while the program runs; rules that can't be loaded change nothing."""
    targets = [("127.0.0.1", 8101), ("127.0.0.1", 8102), ("127.0.0.2", 8101), ("127.0.0.2", 53), ("::1", 8101)]
    lists = [
        [{"address": "127.0.0.1", "ports": [8101]}],
        [{"address": "127.0.0.1", "ports": [8102]}, {"address": "::1", "ports": [8101]}],
        [{"address": "127.0.0.0/8", "ports": [8101, 8102]}],
        [{"address": "no address", "ports": [8101]}],
    ]
    own = {"service_user": "root", "service_egress_file": str(tmp_path / "egress.nft")}
    given = {
        "file": own["service_egress_file"],
        "start": command("ExecStart", **own),
        "reload": command("ExecReload", **own),
        "texts": [shown("egress.nft.j2", service_egress=pairs, **own) for pairs in lists],
        "targets": targets,
    }
    done = subprocess.run(
        [*NAMESPACE, sys.executable, str(Path(__file__).with_name("limited.py"))],
        input=json.dumps(given), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    yes, no = "connected", "ConnectionRefusedError"
    last = [yes, yes, yes, no, no]
    assert json.loads(done.stdout) == [
        [yes] * 5,
        [yes, no, no, no, no],
        [no, yes, no, no, yes],
        last,
        *(None, last),
    ]


def test_the_unit_lets_through_those_addresses_and_the_callers() -> None:
    """It knows no ports, so each address is there once; without callers, the unit has no limit of its own."""

    def lines(**variables: Any) -> list[str]:
        return re.findall(r"^IPAddress.*$", shown("service.j2", **variables), re.MULTILINE)

    pairs = [{"address": "10.0.0.12", "ports": [1]}, {"address": "10.0.0.11", "ports": [2]}]
    callers = ["10.0.0.31", "10.0.0.11"]
    assert lines(service_egress=pairs, service_ingress=callers) == [
        "IPAddressDeny=any",
        "IPAddressAllow=localhost",
        *(f"IPAddressAllow=10.0.0.{last}" for last in (11, 12, 31)),
    ]
    assert lines(service_egress=[], service_ingress=[]) == ["IPAddressDeny=any", "IPAddressAllow=localhost"]
    assert lines(service_egress=pairs) == []
    assert lines() == []


def test_other_pairs_restart_no_instance() -> None:
    """A model that comes or goes changes them, and the gateway goes on; that a change of addresses does is the unit's text."""
    files = [shown("service_unit_files", service_egress=pairs) for pairs in (None, [], ENGINES)]
    assert files[0] == files[1] == files[2]
    marks = {re.findall("pairs [0-9a-f]{64}", shown("egress.nft.j2", service_egress=of))[0] for of in ([], ENGINES)}
    assert len(marks) == 2

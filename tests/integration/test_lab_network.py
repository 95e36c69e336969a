"""The lab's network, in a network namespace of its own: the real kernel, and nothing of this machine's network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.lab import LabError
from tools.lab.network import BRIDGE, Network

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def _command(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _state() -> tuple[str, str, str]:
    links = [link["ifname"] for link in json.loads(_command("ip", "-json", "link"))]
    return FORWARDING.read_text().strip(), _command("nft", "list", "ruleset"), " ".join(links)


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def comes_and_goes(tmp: Path) -> None:
    """The last host takes everything with it, and what was there before is there again."""
    _command(
        "nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"
    )
    _command("nft", "add rule ip filter FORWARD iifname docker0 accept")
    FORWARDING.write_text("0\n")
    before = _state()
    assert before[0] == "0"
    network = Network(tmp / "run")
    one, two = _folder(tmp, "one"), _folder(tmp, "two")
    network.join("one", "10.213.77.2", one)
    network.join("two", "10.213.77.3", two)
    during = _state()
    network.join("one", "10.213.77.2", one)
    assert _state() == during
    assert during[0] == "1"
    assert BRIDGE in during[2]
    assert "masquerade" in during[1]
    # Docker's policy drops what is forwarded; the way for the lab's hosts stands before its rules.
    rules = during[1].split("chain FORWARD")[1]
    assert rules.count('"slipway-lab"') == 2
    assert rules.index("slipway0") < rules.index("docker0")
    with pytest.raises(LabError, match=r"one at 10\.213\.77\.2 runs on this machine already"):
        network.join("three", "10.213.77.2", tmp)
    with pytest.raises(LabError, match="runs on this machine already"):
        network.join("one", "10.213.77.9", tmp)
    network.leave("two", one)  # not its holder
    network.leave("one", one)
    assert _state() == during
    # A lab whose folder was removed by hand holds nothing any more.
    two.rmdir()
    network.tidy()
    assert _state() == before
    network.tidy()
    assert not (tmp / "run").exists()


def half_made(tmp: Path) -> None:
    """A kill between any two steps is mended by either direction."""
    FORWARDING.write_text("0\n")
    before = _state()
    network = Network(tmp / "run")
    one = _folder(tmp, "one")
    network.join("one", "10.213.77.2", one)
    whole = _state()
    _command("nft", "delete", "table", "ip", "slipway_lab")
    _command("ip", "link", "set", BRIDGE, "down")
    _command("ip", "address", "flush", "dev", BRIDGE)
    FORWARDING.write_text("0\n")
    network.join("one", "10.213.77.2", one)
    assert _state() == whole
    _command("ip", "link", "delete", BRIDGE)
    network.leave("one", one)
    assert _state() == before


def taken(tmp: Path) -> None:
    """A subnet that is routed elsewhere is refused before anything is changed."""
    _command("ip", "link", "add", "office", "type", "bridge")
    _command("ip", "link", "set", "office", "up")
    _command("ip", "route", "add", "10.213.76.0/23", "dev", "office")
    before = _state()
    with pytest.raises(LabError, match=r"10\.213\.77\.0/24 is taken: this machine routes 10\.213\.76\.0/23 to office"):
        Network(tmp / "run").join("one", "10.213.77.2", _folder(tmp, "one"))
    assert _state() == before
    assert not (tmp / "run").exists()


SCENARIOS = {scenario.__name__: scenario for scenario in (comes_and_goes, half_made, taken)}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_network(tmp_path: Path, scenario: str) -> None:
    command = ["unshare", "--net", sys.executable, __file__, scenario, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))

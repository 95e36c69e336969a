"""The lab's network: one bridge, masquerade to the outside, and nothing left when the last host is gone.

Everything is the kernel's state and gone after a reboot, so what was there before is noted under /run, which is gone
as well. Each host holds a lease there; labs with different state folders thus share the bridge and never an address.

Not handled: firewalls that reject forwarded packets by a rule instead of a policy (firewalld's zones). Let traffic
from the bridge through there by hand.
"""

import contextlib
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.lab.errors import LabError
from tools.lab.locks import locked
from tools.lab.places import make_folder, write_atomically
from tools.lab.shell import attempt, run

SUBNET = "10.213.77.0/24"
"""Where every lab host lives. Change it here if it is taken on your machine, and the addresses in your stacks."""

NETWORK = ipaddress.IPv4Network(SUBNET)
GATEWAY = str(NETWORK.network_address + 1)
BRIDGE = "slipway0"

_TABLE = "slipway_lab"
_COMMENT = "slipway-lab"
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_RULES = f"""
add table ip {_TABLE}
delete table ip {_TABLE}
table ip {_TABLE} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {SUBNET} oifname != "{BRIDGE}" masquerade
    }}
}}
"""


class Network:
    """The bridge and who uses it; `run` is the folder of leases."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._leases = run / "leases"
        self._before = run / "before.json"

    def join(self, name: str, address: str, folder: Path) -> None:
        """Take a lease for the host kept in `folder`, and have the network up. Safe to repeat.

        Raises:
            LabError: the subnet, the name or the address is taken.
        """
        with self._locked():
            for lease, other in self._all().items():
                if Path(other["folder"]) != folder and (lease == name or other["address"] == address):
                    raise LabError(
                        f"lab host {name} ({address}): {lease} at {other['address']} runs on this machine already, "
                        f"kept in {other['folder']}; choose another name and address, or take that one down"
                    )
            self._refuse_taken_subnet()
            make_folder(self._leases)
            if not self._before.exists():
                # Noted before anything is changed: a kill between the two costs nothing.
                write_atomically(self._before, json.dumps({"ip_forward": _FORWARDING.read_text().strip()}))
            lease_file = self._leases / name
            write_atomically(lease_file, json.dumps({"address": address, "folder": str(folder)}))
            self._raise_bridge()

    def leave(self, name: str, folder: Path) -> None:
        """Give a host's lease back; the last one takes the network down. Safe to repeat."""
        with self._locked():
            lease = self._all().get(name)
            if lease and Path(lease["folder"]) == folder:
                (self._leases / name).unlink()
            self._take_down_if_idle()

    def tidy(self) -> None:
        """Take the network down if nobody uses it, as after a lab whose folders were removed by hand."""
        with self._locked():
            self._take_down_if_idle()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self._run.with_name(f"{self._run.name}.lock")):
            yield

    def _all(self) -> dict[str, dict[str, Any]]:
        """The leases of hosts that still exist; others are dropped."""
        found: dict[str, dict[str, Any]] = {}
        for file in self._leases.glob("[a-z]*"):
            lease = json.loads(file.read_text())
            if Path(lease["folder"]).is_dir():
                found[file.name] = lease
            else:
                file.unlink()
        return found

    def _refuse_taken_subnet(self) -> None:
        for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "main")):
            if route["dst"] == "default" or route.get("dev") == BRIDGE:
                continue
            if ipaddress.IPv4Network(route["dst"]).overlaps(NETWORK):
                raise LabError(
                    f"the lab's network {SUBNET} is taken: this machine routes {route['dst']} to {route.get('dev')}; "
                    f"set another SUBNET in {Path(__file__).name} and use its addresses in the stack"
                )

    def _raise_bridge(self) -> None:
        if attempt("ip", "link", "show", BRIDGE).returncode != 0:
            run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "replace", f"{GATEWAY}/{NETWORK.prefixlen}", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        if _FORWARDING.read_text().strip() != "1":
            _FORWARDING.write_text("1\n")
        if attempt("nft", "list", "chain", "ip", _TABLE, "postrouting").returncode != 0:
            run("nft", "--file", "-", text=_RULES)
        for chain in _forward_chains():
            # An accept in a table of ours would not overrule a drop in another: Docker's policy is the usual case.
            if chain["policy"] == "drop" and not _our_rules(chain):
                for direction in ("iifname", "oifname"):
                    run("nft", "insert", "rule", *_address(chain), direction, BRIDGE, "accept", "comment", _COMMENT)

    def _take_down_if_idle(self) -> None:
        if self._all():
            return
        if attempt("nft", "list", "table", "ip", _TABLE).returncode == 0:
            run("nft", "delete", "table", "ip", _TABLE)
        for chain in _forward_chains():
            for handle in _our_rules(chain):
                run("nft", "delete", "rule", *_address(chain), "handle", handle)
        if attempt("ip", "link", "show", BRIDGE).returncode == 0:
            run("ip", "link", "delete", BRIDGE)
        if self._before.exists():
            before = json.loads(self._before.read_text())["ip_forward"]
            if _FORWARDING.read_text().strip() != before:
                _FORWARDING.write_text(f"{before}\n")
            self._before.unlink()
        for folder in (self._leases, self._run):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _address(chain: dict[str, Any]) -> tuple[str, str, str]:
    return chain["family"], chain["table"], chain["name"]


def _forward_chains() -> list[dict[str, Any]]:
    """The base chains of other tables that see forwarded IPv4 packets."""
    listed = attempt("nft", "--json", "list", "chains")
    if listed.returncode != 0:
        return []
    chains = [entry["chain"] for entry in json.loads(listed.stdout)["nftables"] if "chain" in entry]
    return [chain for chain in chains if chain.get("hook") == "forward" and chain["family"] in {"ip", "inet"}]


def _our_rules(chain: dict[str, Any]) -> list[str]:
    listed = attempt("nft", "--json", "--handle", "list", "chain", *_address(chain))
    if listed.returncode != 0:
        return []
    rules = [entry["rule"] for entry in json.loads(listed.stdout)["nftables"] if "rule" in entry]
    return [str(rule["handle"]) for rule in rules if rule.get("comment") == _COMMENT]

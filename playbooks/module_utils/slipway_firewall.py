"""firewalld, as RHEL has it running: which of our ports it keeps closed to the hosts that ask there. Nothing is changed.

Who may ask is the administrator's to say, so a port counts as open once anything lets it in: the port, a range with it, a
service, a zone that accepts all, or a rich rule that accepts. What other firewalls do is not looked at.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

Ask = Callable[..., str]
"""`firewall-cmd` with these arguments: what it printed, empty where it failed."""

_RANGE = re.compile(r"\b(\d+)(?:-(\d+))?/tcp\b")


def firewall_cmd(*arguments: str) -> str:
    """Ask firewalld; empty where there is none, or it does not run."""
    if shutil.which("firewall-cmd") is None:
        return ""
    done = subprocess.run(("firewall-cmd", *arguments), capture_output=True, text=True, check=False, timeout=60)
    return done.stdout if done.returncode == 0 else ""


def check_firewall(ports: list[dict[str, Any]], ask: Ask = firewall_cmd) -> Iterator[str]:
    """Ports with `remote` set, which other hosts ask, that a running firewalld lets nobody in on."""
    asked = [wanted for wanted in ports if wanted.get("remote")]
    if not asked or ask("--state").strip() != "running":
        return
    zones = [ask(f"--zone={name}", "--list-all") for name in zone_names(ask("--get-active-zones"))]
    zones = zones or [ask("--list-all")]
    for wanted in asked:
        port = int(wanted["port"])
        if not any(lets_in(zone, port, ask) for zone in zones):
            who = wanted.get("purpose") or wanted["unit"]
            yield (
                f"firewalld lets nobody in on port {port}, where other hosts ask {who}: open it "
                f"to them (firewall-cmd --permanent --add-port={port}/tcp && firewall-cmd --reload, or a rich rule with their "
                "addresses)"
            )


def zone_names(active: str) -> list[str]:
    """The zones in the answer to --get-active-zones: the lines that are not indented."""
    return [line.split()[0] for line in active.splitlines() if line.strip() and not line[0].isspace()]


def lets_in(zone: str, port: int, ask: Ask) -> bool:
    """Whether a zone, as --list-all tells it, lets anybody in on a TCP port."""
    fields = {
        name.strip(): value for name, colon, value in (line.partition(":") for line in zone.splitlines()) if colon
    }
    if fields.get("target", "").strip() == "ACCEPT" or within(fields.get("ports", ""), port):
        return True
    if any(within(ask(f"--info-service={name}"), port) for name in fields.get("services", "").split()):
        return True
    return any(line.strip().startswith("rule ") and line.rstrip().endswith("accept") for line in zone.splitlines())


def within(text: str, port: int) -> bool:
    """Whether a TCP port is among the ports and ranges of a text."""
    return any(int(first) <= port <= int(last or first) for first, last in _RANGE.findall(text))

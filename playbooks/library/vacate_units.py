#!/usr/bin/python
"""Ansible module: stop units whose GPUs or ports another one is about to take.

Each unit of role `service` says in its file what it claims of its host. Compared with what is to be, that tells who gives up
something that somebody else takes.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: vacate_units
short_description: Stop units whose GPUs or ports another one is about to take
description:
  - Stops and disables a unit that is to go when anything new starts on the host, and one that is to move when what it gives up
    is taken by another.
  - Enables and starts a unit that it stopped earlier and that is to be as it was.
  - Stops a unit that forms one with units on other hosts, where any of those is about to change.
options:
  replicas:
    description:
      - By the name of such an instance, the digests that its unit is to have, as a list; a unit with others is stopped.
      - Where fewer are given than the unit has, the first of its own are compared, and it is never started.
    type: dict
    default: {}
  instances:
    description: Who is to be on the host, by name, with a list of claims, each C(what) and C(share).
    type: dict
    default: {}
author:
  - Slipway
"""

EXAMPLES = r"""
- name: Make room for the engine chat on GPU 0
  vacate_units:
    instances:
      chat: [{what: "gpu:0", share: 0.9}, {what: "port:8100", share: 1}]
"""

RETURN = r"""
stopped:
  description: Units that were stopped, in check mode those that would be.
  type: list
  returned: success
started:
  description: Units that were started, in check mode those that would be.
  type: list
  returned: success
manages:
  description: Nothing, so a refresh that looks at the host has nothing to look at here.
  type: list
  returned: success
"""

UNITS = Path("/etc/systemd/system")
STARTED = Path("/run/slipway/started")
_UNIT = re.compile(r"slipway-([a-z0-9-]+)\.service")
_CLAIMS = re.compile(r"^X-Slipway-Claims=(.*)$", re.MULTILINE)
_REPLICA = re.compile(r"^X-Slipway-Replica=(.*)$", re.MULTILINE)
_ROUNDING = 1e-9

Claims = Mapping[str, float]
"""The part that an instance takes of each thing, such as gpu:0 or port:8100."""


def claims_of(folder: Path) -> dict[str, Claims]:
    """What the instances on this host claim, by name; other units are not among them."""
    found: dict[str, Claims] = {}
    for file in sorted(folder.glob("slipway-*.service")):
        name = _UNIT.fullmatch(file.name)
        line = _CLAIMS.search(file.read_text(encoding="utf-8", errors="replace"))
        if name and line:
            pairs = (claim.rpartition("=") for claim in line[1].split())
            found[name[1]] = {what: float(share) for what, _, share in pairs}
    return found


def replicas_of(folder: Path) -> dict[str, list[str]]:
    """The digests of the units that form one with others elsewhere, by name."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.glob("slipway-*.service")):
        name = _UNIT.fullmatch(file.name)
        line = _REPLICA.search(file.read_text(encoding="utf-8", errors="replace"))
        if name and line:
            found[name[1]] = line[1].split()
    return found


def changing(here: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]]) -> set[str]:
    """Who belongs to something that is about to change elsewhere: its answers in flight would be cut off there."""
    return {
        name for name, has in here.items() if name in wanted and list(wanted[name]) != list(has)[: len(wanted[name])]
    }


def same(here: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]]) -> set[str]:
    """Who belongs to something of which nothing changes elsewhere."""
    return {name for name, has in here.items() if list(wanted.get(name, ())) == list(has)}


def leaving(
    here: Mapping[str, Claims],
    wanted: Mapping[str, Claims],
    *,
    running: Collection[str],
    outdated: Collection[str] = (),
) -> list[str]:
    """Who has to stop before anything else starts.

    Whoever goes, where anything comes or grows: it may be in the way with its memory as well. Whoever moves, where it gives up
    what another takes.

    Args:
        here: what the units on the host claim, by name.
        wanted: who is to be there, with its claims.
        running: who of those that are here runs; what is stopped has nothing, whatever its unit claims, and takes it anew.
        outdated: who runs what another unit file said; what it has is not known.
    """
    taken = {
        what: name
        for name, claims in wanted.items()
        for what, share in claims.items()
        if share > (here.get(name, {}) if name in running else {}).get(what, 0) + _ROUNDING
    }

    def is_in_the_way(name: str) -> bool:
        if name not in wanted:
            return bool(taken)
        if name in outdated:
            return any(taker != name for taker in taken.values())
        given_up = [what for what, share in here[name].items() if share > wanted[name].get(what, 0) + _ROUNDING]
        return any(taken.get(what, name) != name for what in given_up)

    return [name for name in here if is_in_the_way(name)]


def staying(here: Mapping[str, Claims], wanted: Mapping[str, Claims]) -> list[str]:
    """Who is to be as it is."""
    return [name for name, claims in here.items() if name in wanted and dict(claims) == dict(wanted[name])]


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemctl; the caller looks at the result."""
    return subprocess.run(("systemctl", *arguments), capture_output=True, text=True, check=False)


def runs(unit: str) -> bool:
    """Whether the unit runs, is on its way up or down, or waits for its next try."""
    return systemctl("is-active", unit).stdout.strip() not in {"inactive", "failed", "unknown", ""}


def is_disabled(unit: str) -> bool:
    """Whether somebody disabled the unit, which role `service` never leaves so."""
    return systemctl("is-enabled", unit).stdout.strip() == "disabled"


def is_outdated(name: str) -> bool:
    """Whether the unit was started from another file than the one that lies there now (role `unit` keeps the checksums)."""
    file = UNITS / unit_of(name)
    try:
        noted = (STARTED / file.name).read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}" not in noted


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={"instances": {"type": "dict", "default": {}}, "replicas": {"type": "dict", "default": {}}},
        supports_check_mode=True,
    )
    wanted = {
        name: {claim["what"]: float(claim["share"]) for claim in claims}
        for name, claims in module.params["instances"].items()
    }
    here = claims_of(UNITS)
    running = {name for name in here if runs(unit_of(name))}
    outdated = {name for name in running if is_outdated(name)}
    replicas = replicas_of(UNITS)
    changes = changing(replicas, module.params["replicas"])
    leavers = [*leaving(here, wanted, running=running, outdated=outdated), *(changes & here.keys())]
    leavers = list(dict.fromkeys(leavers))
    stopped = [unit_of(name) for name in leavers if name in running or not is_disabled(unit_of(name))]
    # Who forms one with others elsewhere is started again by who knows that those are as they were.
    stays = [
        *(name for name in staying(here, wanted) if name not in replicas),
        *sorted(same(replicas, module.params["replicas"]) & here.keys()),
    ]
    started = [unit_of(name) for name in stays if is_disabled(unit_of(name))]
    # All at once: each may have answers to finish.
    for action, units in (("disable", stopped), ("enable", started)):
        if module.check_mode or not units:
            continue
        done = systemctl(action, "--now", *units)
        if done.returncode != 0:
            module.fail_json(
                msg=f"{', '.join(units)}: systemctl {action} --now failed: {done.stderr.strip()}; what comes next would find "
                f"GPUs or ports taken: look at `systemctl status {units[0]}` on the host, then repeat"
            )
    module.exit_json(changed=bool(stopped or started), stopped=stopped, started=started, manages=[])


def unit_of(name: str) -> str:
    """The unit of an instance."""
    return f"slipway-{name}.service"


if __name__ == "__main__":
    main()

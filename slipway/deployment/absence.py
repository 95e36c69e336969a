"""Which machines may be missing, and what then stands for those that are: a pool's `may_be_missing`.

The gateway's and the front's machines never may: without them nobody is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slipway.deployment.types import Deployment, Instance, Machine
from slipway.settings.errors import path


@dataclass(frozen=True)
class Missing:
    """In plain data: stands for the list of machines that turn out to be missing, which is known in the middle of an `up`."""

    quorums: tuple[str, ...]
    """The keys of the quorums that know it."""


def setting(pool: str) -> str:
    """What messages call a pool's allowance."""
    return path("pools", pool, "may_be_missing")


def allowed(deployment: Deployment, machine: Machine) -> int:
    """How many of the machine's pool may be missing; 0 where the machine itself may not."""
    return deployment.settings.pools[machine.pool].may_be_missing if machine.may_be_missing else 0


def pools(deployment: Deployment) -> dict[str, list[Machine]]:
    """The machines that may be missing, by pool; a pool without such a machine is left out."""
    found: dict[str, list[Machine]] = {}
    for machine in deployment.machines.values():
        if machine.may_be_missing:
            found.setdefault(machine.pool, []).append(machine)
    return found


def quorum_key(pool: str, layer: str) -> str:
    """What the quorum of a pool is called after the layer that it counts; no machine is called so."""
    return f"pools.{pool}/{layer}"


def last_quorum(machines: Iterable[Machine]) -> str:
    """The key of the last one of a pool: of its proof where its machines have GPUs, else of its preflight."""
    machines = list(machines)
    layer = "gpus" if any(machine.gpus for machine in machines) else "preflight"
    return quorum_key(machines[0].pool, layer)


def last_quorums(deployment: Deployment) -> tuple[str, ...]:
    """The last quorum of each pool: who is missing is known once it has counted."""
    return tuple(last_quorum(machines) for machines in pools(deployment).values())


def missing(deployment: Deployment) -> dict[str, Missing]:
    """For the routes of fronts and gateways: who is missing; nothing where nobody may be."""
    quorums = last_quorums(deployment)
    return {"missing": Missing(quorums)} if quorums else {}


def machines_of(deployment: Deployment, head: Instance) -> dict[str, list[str]]:
    """For a backend in those routes: the machines without any of which it can't be asked; nothing where nobody may be missing."""
    if not pools(deployment):
        return {}
    return {"machines": [part.machine.name for part in deployment.parts(head)]}


def others(deployment: Deployment) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """By machine and instance the other machines of a shared replica that may be missing: without any of them it is nothing."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for head in deployment.heads:
        parts = deployment.parts(head)
        for each in parts:
            names = tuple(part.machine.name for part in parts if part is not each and part.machine.may_be_missing)
            if names:
                found[each.machine.name, each.name] = names
    return found

"""Machines that may be missing: which steps go on without them, and where they are counted."""

from collections.abc import Iterable
from dataclasses import replace

from slipway.deployment.absence import allowed, others, pools, quorum_key, setting
from slipway.deployment.types import Deployment
from slipway.layers.step import Absence, Quorum, Step


def with_absences(deployment: Deployment, steps: list[Step], *, refuses: bool) -> list[Step]:
    """`steps` with what happens where their machines are missing.

    Args:
        deployment: the stack's.
        steps: of one layer.
        refuses: whether the layer only looks, so that a machine that it refuses is missing.
    """
    if not pools(deployment):
        return steps
    beside = others(deployment)
    found = []
    for step in steps:
        most = allowed(deployment, step.machine)
        without = beside.get((step.machine.name, step.instance), ())
        if most or without:
            absence = Absence(group=setting(step.machine.pool), most=most, refused=refuses and most > 0, others=without)
            found.append(replace(step, absence=absence))
        else:
            found.append(step)
    return found


def quorums(deployment: Deployment, layer: str, steps: Iterable[Step]) -> list[Quorum]:
    """One for each pool of which machines may be missing and have a step in `layer`."""
    found = []
    for pool, machines in pools(deployment).items():
        keys = tuple(step.key for step in steps if step.machine in machines)
        if keys:
            most = allowed(deployment, machines[0])
            found.append(Quorum(key=quorum_key(pool, layer), group=setting(pool), most=most, steps=keys))
    return found

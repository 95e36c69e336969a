"""Base: folders, the installer of Python environments, limits."""

from slipway.deployment.absence import pools, quorum_key
from slipway.deployment.types import Deployment, Machine
from slipway.layers import preflight
from slipway.layers.step import Step, step_key

NAME = "base"


def steps(deployment: Deployment) -> list[Step]:
    """One step per machine, once every machine has passed its preflight: one that is refused leaves all untouched.

    Where some may be missing, no more are than may be.
    """
    passed = (
        *(step_key(machine, preflight.NAME) for machine in deployment.machines.values()),
        *(quorum_key(pool, preflight.NAME) for pool in pools(deployment)),
    )
    return [
        Step(machine=machine, instance=NAME, role="base", variables=variables(deployment, machine), after=passed)
        for machine in deployment.machines.values()
    ]


def variables(deployment: Deployment, machine: Machine) -> dict[str, object]:
    """What the stack says for role base; most say nothing."""
    mirror = deployment.settings.pools[machine.pool].python_mirror
    return {} if mirror is None else {"base_python_mirror": str(mirror)}

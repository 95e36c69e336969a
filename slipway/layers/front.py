"""The front: TLS on the machine that clients reach, or on both that share an address, worded by the front's adapter.

The second one changes once the first one answers again.
"""

from slipway.deployment.absence import last_quorums
from slipway.deployment.types import Deployment
from slipway.fronts import adapter
from slipway.layers import counters, drivers
from slipway.layers.step import Step, step_key


def steps(deployment: Deployment) -> list[Step]:
    """One step per front."""
    front, role = deployment.front, deployment.settings.front.name
    shared = tuple(step.key for step in counters.steps(deployment))
    return [
        Step(
            machine=machine,
            instance=front.name,
            role=role,
            variables=adapter(role).variables(deployment, machine),
            after=(
                drivers.ready(machine),
                *shared,
                *last_quorums(deployment),
                *(step_key(other, front.name) for other in front.machines[:number]),
            ),
        )
        for number, machine in enumerate(front.machines)
    ]

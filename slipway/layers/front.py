"""The front: TLS on the one machine that clients reach, worded by the front's adapter."""

from slipway.deployment.types import Deployment
from slipway.fronts import adapter
from slipway.layers import base
from slipway.layers.step import Step, step_key


def steps(deployment: Deployment) -> list[Step]:
    """One step."""
    front, role = deployment.front, deployment.settings.front.name
    return [
        Step(
            machine=front.machine,
            instance=front.name,
            role=role,
            variables=adapter(role).variables(deployment),
            after=(step_key(front.machine, base.NAME),),
        )
    ]

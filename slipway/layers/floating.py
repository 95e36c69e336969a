"""The address that moves between two fronts."""

from slipway.deployment.names import KEEPALIVED
from slipway.deployment.references import private
from slipway.deployment.types import Deployment
from slipway.layers.step import Step, step_key

FIRST_PRIORITY, STEP = 150, 50


def steps(deployment: Deployment) -> list[Step]:
    """One step per front, where there are two: the first one gets the address where neither has it yet."""
    front, floating = deployment.front, deployment.front.floating
    if floating is None:
        return []
    return [
        Step(
            machine=machine,
            instance=KEEPALIVED,
            role=KEEPALIVED,
            variables={
                "keepalived_address": floating.address,
                "keepalived_interface": floating.interface or "",
                "keepalived_router_id": floating.router_id,
                "keepalived_password": floating.password,
                "keepalived_priority": FIRST_PRIORITY - STEP * number,
                "keepalived_own": private(machine.name),
                "keepalived_peers": [private(other.name) for other in front.machines if other != machine],
                "keepalived_front_port": front.port,
            },
            after=(step_key(machine, front.name),),
        )
        for number, machine in enumerate(front.machines)
    ]

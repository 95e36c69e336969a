"""The counters that two fronts share: how much of its limits each team has used."""

from slipway.deployment.names import COUNTERS
from slipway.deployment.references import private
from slipway.deployment.types import Deployment
from slipway.layers import drivers
from slipway.layers.step import Step


def steps(deployment: Deployment) -> list[Step]:
    """One step, where there are two fronts."""
    floating = deployment.front.floating
    if floating is None:
        return []
    return [
        Step(
            machine=floating.counters,
            instance=COUNTERS,
            role=COUNTERS,
            variables={
                "counters_address": private(floating.counters.name),
                "counters_port": floating.counters_port,
                "counters_password": floating.counters_password,
            },
            after=(drivers.ready(floating.counters),),
        )
    ]

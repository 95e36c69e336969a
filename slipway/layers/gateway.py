"""The gateway layer: one step, worded by the gateway's adapter."""

from slipway.gateways import adapter
from slipway.layers.step import Step
from slipway.settings import Settings


def steps(settings: Settings) -> list[Step]:
    """One step, on the gateway's host."""
    gateway = adapter(settings.gateway.name)
    return [
        Step(
            host=settings.gateway_host,
            role=gateway.role,
            variables=gateway.variables(settings),
            timeout_s=1800,
        )
    ]

"""What follows for two fronts that share one address."""

from slipway.deployment.derived import derived
from slipway.deployment.types import FloatingPlan, Machine
from slipway.settings.front import Floating

VRRP_CHARACTERS = 8
"""Of a password that keepalived takes; what is beyond them it leaves out."""


def floating_plan(floating: Floating, first: Machine) -> FloatingPlan:
    """The plan; `first` is the machine that has the counters."""
    return FloatingPlan(
        address=floating.address,
        interface=floating.interface,
        router_id=floating.router_id,
        password=derived(floating.secret, "keepalived", VRRP_CHARACTERS),
        counters=first,
        counters_port=floating.counters_port,
        counters_password=derived(floating.secret, "counters"),
        authority_seed=derived(floating.secret, "authority"),
    )

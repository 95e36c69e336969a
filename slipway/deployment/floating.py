"""What follows for two fronts that share one address."""

import hashlib
import hmac

from slipway.deployment.types import FloatingPlan, Machine
from slipway.settings.front import Floating
from slipway.settings.types import Secret

VRRP_CHARACTERS = 8
"""Of a password that keepalived takes; what is beyond them it leaves out."""


def floating_plan(floating: Floating, first: Machine) -> FloatingPlan:
    """The plan; `first` is the machine that has the counters."""
    return FloatingPlan(
        address=floating.address,
        interface=floating.interface,
        router_id=floating.router_id,
        password=_derived(floating, "keepalived", VRRP_CHARACTERS),
        counters=first,
        counters_port=floating.counters_port,
        counters_password=_derived(floating, "counters"),
        authority_seed=_derived(floating, "authority"),
    )


def _derived(floating: Floating, purpose: str, characters: int = 64) -> Secret:
    """A secret for one purpose, hexadecimal, from which neither the stack's own nor another purpose's can be found."""
    digest = hmac.new(floating.secret.get_secret_value().encode(), f"slipway {purpose}".encode(), hashlib.sha256)
    return Secret(digest.hexdigest()[:characters])

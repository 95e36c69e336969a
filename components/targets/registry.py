"""Which target brings which pools: the modules beside this file, and the `component` of those of other distributions."""

from importlib import import_module

import pulumi

from components.targets.base import Addresses, Bring
from slipway.deployment.types import Deployment
from slipway.targets.registry import packages


def addresses(deployment: Deployment, opts: pulumi.ResourceOptions) -> dict[str, Addresses]:
    """Have every machine of the deployment there; where each is reached, by its name."""
    pools: dict[str, list[str]] = {}
    for name, pool in deployment.settings.pools.items():
        pools.setdefault(pool.target, []).append(name)
    found: dict[str, Addresses] = {}
    for target, names in pools.items():
        found |= _bring(target)(deployment, pools=names, opts=opts)
    return found


def _bring(target: str) -> Bring:
    package = packages()[target]
    ours = package == f"slipway.targets.{target}"
    # Slipway's own are apart from their settings, which must not know Pulumi.
    found: Bring = import_module(f"components.targets.{target}" if ours else f"{package}.component").bring
    return found

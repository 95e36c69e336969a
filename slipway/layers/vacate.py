"""Vacating: whoever is to go or to move makes way before anybody starts.

Pulumi removes last, and changes what does not depend on one another in any order. So a model that takes the GPUs or the port of
one that goes, or of one that moves, would start while they are still taken.
"""

from slipway.deployment.types import Deployment, Machine
from slipway.layers import models, programs
from slipway.layers.step import Step, step_key

NAME = "vacate"


def steps(deployment: Deployment) -> list[Step]:
    """One step per machine that runs engines or gateways, as late as can be: once all is there that engines need.

    Gateways don't wait for it, so that a key that was revoked is so while a model is still being fetched. What takes a gateway's
    port, or gives it one, does: the gateway tries again until it is free.
    """
    before: dict[str, list[str]] = {}
    for step in (*programs.steps(deployment), *models.steps(deployment)):
        before.setdefault(step.machine.name, []).append(step.key)
    return [
        Step(
            machine=machine,
            instance=NAME,
            role="vacate",
            variables={"vacate_instances": claims},
            after=tuple(before[machine.name]),
            timeout_s=max(deployment.settings.gateway.request_timeout_s, LONGEST_S) + STOPPING_S,
        )
        for machine in deployment.machines.values()
        if (claims := claimed(deployment, machine))
    ]


LONGEST_S = 3600
"""The drain at least that a unit may have that was set up with other settings."""
STOPPING_S = 300
"""What the stops may take beyond the longest answer in flight."""


def key(machine: Machine) -> str:
    """Of the step on `machine`."""
    return step_key(machine, NAME)


def claimed(deployment: Deployment, machine: Machine) -> dict[str, list[dict[str, object]]]:
    """Who is to be on `machine`, with what each claims of it."""
    engines = {each.name: each.claims.data() for each in deployment.on(machine)}
    return engines | {each.name: each.claims.data() for each in deployment.gateways if each.machine == machine}

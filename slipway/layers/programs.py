"""Programs: what engines and gateways run, installed once on each machine."""

from slipway.deployment.types import Deployment, Machine
from slipway.engines.base import Program
from slipway.gateways import adapter as gateway_adapter
from slipway.layers.hub import PROGRAM as HUB
from slipway.layers.service import program_step
from slipway.layers.step import Step


def steps(deployment: Deployment) -> list[Step]:
    """One step per program and machine."""
    return [
        program_step(machine, program)
        for machine in deployment.machines.values()
        for program in programs(deployment, machine)
    ]


def programs(deployment: Deployment, machine: Machine) -> list[Program]:
    """The programs of one machine, each once."""
    instances = deployment.on(machine)
    # A store fetches for all, with a client of its own.
    fetches = deployment.store is None and any(each.served.settings.source.hub is not None for each in instances)
    found = [HUB] if fetches else []
    found += [each.served.program for each in instances]
    if any(gateway.machine == machine for gateway in deployment.gateways):
        found.append(gateway_adapter(deployment.settings.gateway.name).program())
    return list({program.name: program for program in found}.values())

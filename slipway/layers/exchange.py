"""Exchange: GPUs of one machine reach one another, before an engine that spreads over them starts.

It comes after the programs, since the engine brings what GPUs speak by. Where something uses the GPUs, as when an engine changes
while others run, nothing is measured, and nothing is refused.
"""

from slipway.deployment.types import Deployment, Instance, Machine
from slipway.doctor.order import ALL_REDUCE_S, Moment, exchanging, order
from slipway.layers import drivers, gpus
from slipway.layers.service import program_name
from slipway.layers.step import Step, step_key

NAME = "exchange"


def steps(deployment: Deployment) -> list[Step]:
    """One step per machine with an engine that spreads over several of its GPUs."""
    return [_step(deployment, machine) for machine in deployment.machines.values() if _spreading(deployment, machine)]


def after(deployment: Deployment, instance: Instance) -> tuple[str, ...]:
    """Keys of the steps that an engine waits for."""
    machine = instance.machine
    return (step_key(machine, NAME),) if instance in _spreading(deployment, machine) else ()


def _spreading(deployment: Deployment, machine: Machine) -> list[Instance]:
    return [each for each in exchanging(deployment, machine) if len(each.gpus) > 1]


def _step(deployment: Deployment, machine: Machine) -> Step:
    programs = dict.fromkeys(program_name(each.served.program) for each in _spreading(deployment, machine))
    return Step(
        machine=machine,
        instance=NAME,
        role="gpu_exchange",
        variables={"gpu_exchange_order": order(deployment, machine, Moment.EXCHANGE)},
        after=(*gpus.after(machine), *(step_key(machine, name) for name in programs)),
        # Another driver has to prove itself.
        again_after=() if machine.driver is None else (step_key(machine, drivers.NAME),),
        timeout_s=ALL_REDUCE_S + 180,
    )

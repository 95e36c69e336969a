"""GPUs: proved before an engine starts on them, and watched from then on."""

from slipway.deployment.types import Deployment, Machine
from slipway.doctor.order import Moment, order
from slipway.layers import drivers
from slipway.layers.step import Step, step_key

NAME = "gpus"


def steps(deployment: Deployment) -> list[Step]:
    """One step per machine with GPUs."""
    return [
        Step(
            machine=machine,
            instance=NAME,
            role="gpu_watch",
            variables={
                "gpu_watch_proof": order(deployment, machine, Moment.PROOF),
                "gpu_watch_order": order(deployment, machine, Moment.WATCH),
            },
            after=(drivers.ready(machine),),
            # Another driver has to prove itself.
            again_after=() if machine.driver is None else (step_key(machine, drivers.NAME),),
            timeout_s=600,
        )
        for machine in deployment.machines.values()
        if machine.gpus
    ]


def after(machine: Machine) -> tuple[str, ...]:
    """Keys of the steps that an engine on `machine` waits for."""
    return (step_key(machine, NAME),) if machine.gpus else ()

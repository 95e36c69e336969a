"""Engines: one unit per replica of each model that is served here."""

import hashlib

from slipway.deployment.types import Deployment, Instance
from slipway.doctor.order import out_mark
from slipway.layers import drivers, gpus, models, vacate
from slipway.layers.service import program_name, service_step
from slipway.layers.step import Step, step_key

_HOMES = ("/home/", "/root/", "/run/user/")
"""Where services see nothing unless it is given to them."""


def steps(deployment: Deployment) -> list[Step]:
    """One step per instance."""
    return [_step(instance) for instance in deployment.instances]


def _step(instance: Instance) -> Step:
    served, machine, options = instance.served, instance.machine, instance.served.settings.engine
    files, program = served.files, served.program
    driver = (step_key(machine, drivers.NAME),) if machine.driver is not None and instance.gpus else ()
    return service_step(
        machine,
        instance.name,
        instance.launch,
        program,
        url=f"http://{instance.address}:{instance.port}",
        memory_max=options.memory_max,
        drain_s=served.drain_s,
        start_timeout_s=options.start_timeout_s,
        claims=instance.claims,
        rolling=f"model {served.name}" if served.replicas > 1 else None,
        after=(
            *driver,
            *(gpus.after(machine) if instance.gpus else ()),
            step_key(machine, program_name(program)),
            step_key(machine, models.name(served)),
            vacate.key(machine),
        ),
        # Another driver may have rebooted the machine: the engine has to be seen answering again.
        again_after=driver,
        out_mark=out_mark(instance.name) if instance.gpus else None,
        reads={} if files.record is None else {files.mark: hashlib.sha256(files.record.encode()).hexdigest()},
        read_only_paths=(files.path,) if f"{files.path}/".startswith(_HOMES) else (),
    )

"""Engines: one unit per replica of each model that is served here, or one for each machine that shares it.

The parts of a replica are started before its head, and wait for nobody: each has done its own once it looks for the head. The
head is ready once it generates, for which it needs them all. So no step waits for one that comes after it, however few run at the
same time; and a removal ends the head, with its answers, before its parts.
"""

import hashlib

from slipway.deployment.absence import last_quorums
from slipway.deployment.names import UNIT
from slipway.deployment.types import Deployment, Instance
from slipway.doctor.order import out_mark
from slipway.layers import drivers, exchange, gpus, models, vacate
from slipway.layers.service import program_name, service_step
from slipway.layers.step import Step, step_key

_HOMES = ("/home/", "/root/", "/run/user/")
"""Where services see nothing unless it is given to them."""


def steps(deployment: Deployment) -> list[Step]:
    """One step per instance; of a replica that machines share, the head's comes last."""
    return [_step(deployment, instance) for head in deployment.heads for instance in reversed(deployment.parts(head))]


def _step(deployment: Deployment, instance: Instance) -> Step:
    served, machine, options = instance.served, instance.machine, instance.served.settings.engine
    files, program = served.files, served.program
    driver = (step_key(machine, drivers.NAME),) if machine.driver is not None and instance.gpus else ()
    head, *others = deployment.parts(instance) if instance.is_head else [deployment.head_of(instance)]
    return service_step(
        machine,
        instance.name,
        instance.launch,
        program,
        url=f"http://{instance.address}:{instance.port}",
        memory_max=options.memory_max,
        elsewhere=_elsewhere(others),
        replica=vacate.digest(deployment, instance) if others else "",
        drain_s=served.drain_s if instance.is_head else 0,
        start_timeout_s=options.start_timeout_s,
        claims=instance.claims,
        # Parts of a replica that machines share change together.
        rolling=f"model {served.name}" if served.replicas > 1 and served.hosts == 1 else None,
        after=(
            *driver,
            *(gpus.after(machine) if instance.gpus else ()),
            *exchange.after(deployment, instance),
            step_key(machine, program_name(program)),
            step_key(machine, models.name(served)),
            vacate.key(machine),
            # The head has ended its answers before any part of it changes, and starts once all parts are there.
            *([] if instance.is_head else [vacate.key(head.machine)]),
            *(step_key(other.machine, other.name) for other in others),
            # None is changed while more are missing than may be, since the others have to serve for them.
            *last_quorums(deployment),
        ),
        # Another driver may have rebooted the machine: the engine has to be seen answering again.
        again_after=driver,
        out_mark=out_mark(instance.name) if instance.gpus else None,
        reads={} if files.record is None else {files.mark: hashlib.sha256(files.record.encode()).hexdigest()},
        read_only_paths=(files.path,) if f"{files.path}/".startswith(_HOMES) else (),
    )


def _elsewhere(others: list[Instance]) -> str:
    """Of a head, where its parts run."""
    if not others:
        return ""
    units = ", ".join(f"{UNIT.format(other.name)} on {other.machine.name}" for other in others)
    return f"it needs what runs on other hosts too: look at {units}"

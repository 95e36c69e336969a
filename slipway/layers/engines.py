"""Engines: one unit per replica of each model that is served here, or one for each machine that shares it.

The parts of a replica are started before its head, and wait for nobody: each has done its own once it looks for the head. The
head is ready once it generates, for which it needs them all. So no step waits for one that comes after it, however few run at the
same time; and a removal ends the head, with its answers, before its parts.

Replicas of a model change one after the other. One that a machine has alone takes its turn when it changes (`Step.rolling`).
One that machines share has a step of its own for that, after the head of the replica before: it drains the head where any part is
to be launched otherwise, and all parts come after it. So they start one after the other the first time too.
"""

import hashlib

from slipway.deployment.absence import last_quorums
from slipway.deployment.names import DRAIN_PREFIX, UNIT
from slipway.deployment.types import Deployment, Instance
from slipway.doctor.order import out_mark
from slipway.layers import drivers, exchange, gpus, models, vacate
from slipway.layers.service import program_name, service_step
from slipway.layers.step import Step, step_key

_HOMES = ("/home/", "/root/", "/run/user/")
"""Where services see nothing unless it is given to them."""


def steps(deployment: Deployment) -> list[Step]:
    """One step per instance; of a replica that machines share its drain comes first and the head's last."""
    found = []
    last: dict[str, str] = {}
    for head in deployment.heads:
        if head.meeting is not None:
            found.append(_drain(deployment, head, after=last.get(head.served.name)))
            last[head.served.name] = step_key(head.machine, head.name)
        found += [_step(deployment, instance) for instance in reversed(deployment.parts(head))]
    return found


def drain_key(head: Instance) -> str:
    """Of the step that drains a replica that machines share."""
    return step_key(head.machine, f"{DRAIN_PREFIX}{head.name}")


def _drain(deployment: Deployment, head: Instance, *, after: str | None) -> Step:
    """As late as can be: once all is there that any of its parts needs, and the replica before has answered.

    Args:
        deployment: the stack's.
        head: of the replica.
        after: the key of the head's step of the replica before, None for the first one.
    """
    return Step(
        machine=head.machine,
        instance=f"{DRAIN_PREFIX}{head.name}",
        role="vacate",
        variables={"vacate_replicas": {head.name: vacate.digests(deployment, head)}},
        after=tuple(
            dict.fromkeys(
                [
                    *(key for part in deployment.parts(head) for key in _needs(deployment, part)),
                    *(() if after is None else (after,)),
                ]
            )
        ),
        timeout_s=max(head.served.drain_s, vacate.LONGEST_S) + vacate.STOPPING_S,
    )


def _needs(deployment: Deployment, instance: Instance) -> tuple[str, ...]:
    """The steps on its machine that it comes after."""
    machine, served = instance.machine, instance.served
    return (
        *_driver(instance),
        *(gpus.after(machine) if instance.gpus else ()),
        *exchange.after(deployment, instance),
        step_key(machine, program_name(served.program)),
        step_key(machine, models.name(served)),
        vacate.key(machine),
        # None is changed while more are missing than may be, since the others have to serve for them.
        *last_quorums(deployment),
    )


def _driver(instance: Instance) -> tuple[str, ...]:
    return (step_key(instance.machine, drivers.NAME),) if instance.machine.driver is not None and instance.gpus else ()


def _step(deployment: Deployment, instance: Instance) -> Step:
    served, machine, options = instance.served, instance.machine, instance.served.settings.engine
    files, program = served.files, served.program
    head, *others = deployment.parts(instance) if instance.is_head else [deployment.head_of(instance)]
    return service_step(
        machine,
        instance.name,
        instance.launch,
        program,
        url=f"http://{instance.address}:{instance.port}",
        memory_max=options.memory_max,
        elsewhere=_elsewhere(others),
        replica=vacate.digests(deployment, instance) if others else (),
        drain_s=served.drain_s if instance.is_head else 0,
        start_timeout_s=options.start_timeout_s,
        claims=instance.claims,
        rolling=f"model {served.name}" if served.replicas > 1 and served.hosts == 1 else None,
        after=(
            *_needs(deployment, instance),
            # The head has ended its answers before any part of it changes, and starts once all parts are there.
            *([] if head.meeting is None else [drain_key(head)]),
            *(step_key(other.machine, other.name) for other in others),
        ),
        # Another driver may have rebooted a machine that it needs: the engine has to be seen answering again.
        again_after=tuple(key for each in (instance, *others) for key in _driver(each)),
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

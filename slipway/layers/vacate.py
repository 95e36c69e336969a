"""Vacating: whoever is to go or to move makes way before anybody starts.

Pulumi removes last, and changes what does not depend on one another in any order. So a model that takes the GPUs or the port of
one that goes, or of one that moves, would start while they are still taken.

Of a replica that machines share the head makes way too where any of its parts is to sit elsewhere: it would go on answering while
the others end. Its own machine can't see that, so it is told digests of the parts. Where they stay and are only launched
otherwise, the head is drained when its replica's turn comes (`slipway.layers.engines`).
"""

import hashlib
import json

from slipway.deployment.absence import last_quorums
from slipway.deployment.types import Deployment, Instance, Machine
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
            variables={"vacate_instances": claims, **_replicas(deployment, machine)},
            # Nobody makes way while more are missing than may be, since the others have to serve for them.
            after=(*before[machine.name], *_heads_before(deployment, machine), *last_quorums(deployment)),
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


def _heads_before(deployment: Deployment, machine: Machine) -> list[str]:
    """The steps that end the answers of replicas that have a part here, which may have to make way itself.

    Only of machines that come before in the stack, where new heads are: else two machines might wait for each other.
    """
    earlier = list(deployment.machines)[: list(deployment.machines).index(machine.name)]
    heads = [deployment.head_of(each).machine for each in deployment.on(machine) if not each.is_head]
    return list(dict.fromkeys(key(head) for head in heads if head.name in earlier))


def _replicas(deployment: Deployment, machine: Machine) -> dict[str, dict[str, list[str]]]:
    heads = [each for each in deployment.on(machine) if each.meeting is not None and each.is_head]
    return {"vacate_replicas": {head.name: digests(deployment, head)[:1] for head in heads}} if heads else {}


def digests(deployment: Deployment, head: Instance) -> list[str]:
    """Of the other parts of a replica: of where they sit, and of what they are launched from.

    Secrets are none of it, since only the head has one.
    """
    parts = deployment.parts(head)[1:]
    seats = [[part.machine.name, part.name, part.claims.data()] for part in parts]
    launches = [
        [
            *(part.served.program.folder, part.served.files.record, part.launch.command),
            *(dict(part.launch.environment), dict(part.launch.interfaces), list(part.launch.peers)),
            {name: file.content for name, file in part.launch.files.items()},
        ]
        for part in parts
    ]
    return [hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest()[:32] for each in (seats, launches)]


def claimed(deployment: Deployment, machine: Machine) -> dict[str, list[dict[str, object]]]:
    """Who is to be on `machine`, with what each claims of it."""
    engines = {each.name: each.claims.data() for each in deployment.on(machine)}
    return engines | {each.name: each.claims.data() for each in deployment.gateways if each.machine == machine}

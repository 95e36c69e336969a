"""Drivers: the NVIDIA driver of each machine with GPUs whose driver is Slipway's.

The role may reboot the machine. So whatever else is done on it waits for that, and machines that stand in for one another (with
replicas of one model, with a gateway or a front each) change one at a time: the role ends once what ran before the reboot
listens again. Machines that share a replica change together, since it is away without any of them.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from slipway.deployment.types import Deployment, DriverPlan, Machine
from slipway.layers import base
from slipway.layers.step import Step, step_key
from slipway.settings.errors import path

NAME = "driver"
TIMEOUT_S = 3 * 3600
"""Modules are compiled for two kernels in some minutes, a server with eight GPUs boots in up to twenty, and engines load their
weights again."""


def steps(deployment: Deployment) -> list[Step]:
    """One step per machine with a driver of Slipway's."""
    before = _before(deployment)
    plans = {machine.name: machine.driver for machine in deployment.machines.values() if machine.driver is not None}
    found: dict[str, Step] = {}
    while left := [name for name in before if name not in found]:
        machine = deployment.machines[next(name for name in left if set(before[name]) <= set(found))]
        found[machine.name] = Step(
            machine=machine,
            instance=NAME,
            role="nvidia_driver",
            variables=variables(plans[machine.name], machine.pool),
            after=(step_key(machine, base.NAME), *(found[name].key for name in before[machine.name])),
            timeout_s=TIMEOUT_S,
        )
    return list(found.values())


def ready(machine: Machine) -> str:
    """The key of the step after which other things may be installed on `machine`: none of its reboots is to come."""
    return step_key(machine, base.NAME if machine.driver is None else NAME)


def variables(plan: DriverPlan, pool: str) -> dict[str, Any]:
    """What role nvidia_driver gets to know. Nothing of it follows from models: a driver is no matter of theirs."""
    settings, entry = plan.settings, plan.entry
    found: dict[str, Any] = {
        "nvidia_driver_source": settings.source,
        "nvidia_driver_branch": plan.branch,
        "nvidia_driver_version": plan.version or "",
        "nvidia_driver_vendor_version": plan.vendor_version or "",
        "nvidia_driver_modules": plan.modules,
        "nvidia_driver_broken_kernels": [
            {"system": each.system, "first": each.first, "below": each.below}
            for each in (entry.broken_kernels if entry is not None else ())
            if each.modules == plan.modules
        ],
        "nvidia_driver_reboot": settings.reboot,
        "nvidia_driver_persistence": settings.persistence,
        "nvidia_driver_power_limit_w": settings.power_limit_w or 0,
        "nvidia_driver_clocks_mhz": list(settings.clocks_mhz or ()),
        "nvidia_driver_dcgm": settings.dcgm,
        "nvidia_driver_cuda": 13 if entry is None else entry.cuda_major,
        "nvidia_driver_setting": path("pools", pool, "driver"),
    }
    if settings.mirror_url is not None:
        found["nvidia_driver_mirror_url"] = settings.mirror_url
    if settings.key_file is not None:
        found["nvidia_driver_key"] = settings.key_file.read_text(encoding="ascii")
    if settings.key_fingerprint is not None:
        found["nvidia_driver_key_fingerprint"] = settings.key_fingerprint
    return found


def _before(deployment: Deployment) -> dict[str, list[str]]:
    """By the name of a machine those whose drivers change right before its own."""
    order = [machine.name for machine in deployment.machines.values() if machine.driver is not None]
    found: dict[str, list[str]] = {name: [] for name in order}
    earlier: dict[str, set[str]] = {name: set() for name in order}
    for alternatives in _stand_ins(deployment):
        away = [tuple(name for name in order if name in names) for names in alternatives]
        away = sorted(dict.fromkeys(filter(None, away)), key=lambda names: order.index(names[0]))
        for number, those in enumerate(away):
            for these in reversed(away[:number]):
                for one, other in product(these, those):
                    # Who comes first does not matter, only that they are never away at the same time.
                    if one in those or other in these or one in earlier[other] or other in earlier[one]:
                        continue
                    found[other].append(one)
                    for name in order:
                        if name == other or other in earlier[name]:
                            earlier[name] |= {one, *earlier[one]}
    return found


def _stand_ins(deployment: Deployment) -> Iterator[list[set[str]]]:
    """Lists of what stands in for one another, each as the names of the machines that it needs: replicas, gateways, fronts."""
    for name in deployment.served:
        yield [{part.machine.name for part in deployment.parts(head)} for head in deployment.of(name)]
    yield [{gateway.machine.name} for gateway in deployment.gateways]
    yield [{machine.name} for machine in deployment.front.machines]

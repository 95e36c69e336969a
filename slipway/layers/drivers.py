"""Drivers: the NVIDIA driver of each machine with GPUs whose driver is Slipway's.

The role may reboot the machine. So whatever else is done on it waits for that, and machines that stand in for one another (with
replicas of one model, with a gateway or a front each) change one at a time: the role ends once what ran before the reboot
listens again.
"""

from collections.abc import Iterator
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
    together = [frozenset(names) for names in _sets(deployment)]
    last: dict[frozenset[str], str] = {}
    found: list[Step] = []
    for machine in deployment.machines.values():
        if machine.driver is None:
            continue
        own = [names for names in together if machine.name in names]
        before = dict.fromkeys(last[names] for names in own if names in last)
        step = Step(
            machine=machine,
            instance=NAME,
            role="nvidia_driver",
            variables=variables(machine.driver, machine.pool),
            after=(step_key(machine, base.NAME), *before),
            timeout_s=TIMEOUT_S,
        )
        last |= dict.fromkeys(own, step.key)
        found.append(step)
    return found


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


def _sets(deployment: Deployment) -> Iterator[set[str]]:
    """Names of machines that stand in for one another."""
    for name in deployment.served:
        yield {instance.machine.name for instance in deployment.of(name)}
    yield {gateway.machine.name for gateway in deployment.gateways}
    yield {machine.name for machine in deployment.front.machines}

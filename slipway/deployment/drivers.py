"""The NVIDIA driver of each machine: the branch that goes with its GPUs and with what its engines were built for.

Nothing is refused here: what does not go together is said by `slipway.checks.drivers`. No choice depends on the day, so that a
stack that nobody changes keeps its driver.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from slipway.catalog import Catalog, DriverBranch, Gpu
from slipway.catalog.types import KernelModules
from slipway.deployment.types import Deployment, DriverPlan, Machine, Served
from slipway.engines.releases import Needs, needs
from slipway.settings.driver import Driver
from slipway.settings.platform import Settings

KINDS: tuple[KernelModules, ...] = ("open", "proprietary")
"""Kinds of kernel modules, the better one first."""


def with_drivers(
    settings: Settings, catalog: Catalog, machines: Mapping[str, Machine], served: Mapping[str, Served]
) -> dict[str, Machine]:
    """`machines` with the driver that Slipway installs on each."""
    plans = {
        name: driver_plan(pool.driver, catalog, members[0], _needs(name, served))
        for name, pool in settings.pools.items()
        for members in [[machine for machine in machines.values() if machine.pool == name]]
    }
    return {name: replace(machine, driver=plans[machine.pool]) for name, machine in machines.items()}


def driver_plan(
    asked: Driver, catalog: Catalog, machine: Machine, needed: tuple[tuple[str, Needs], ...]
) -> DriverPlan | None:
    """The driver of a machine like `machine` whose engines need this; None where it is none of Slipway's."""
    if asked.source == "present" or not machine.gpus or (machine.gpu is not None and machine.gpu.vendor != "nvidia"):
        return None
    if asked.branch is not None:
        branch = str(asked.branch)
    elif asked.version is not None:
        branch = asked.version.partition(".")[0]
    else:
        branch = _chosen(catalog, asked.modules, machine.gpu, needed).id
    entry = catalog.drivers.get(branch)
    return DriverPlan(
        settings=asked,
        branch=branch,
        entry=entry,
        modules=asked.modules or modules_for(entry, machine.gpu),
        needs=needed,
    )


def modules_for(entry: DriverBranch | None, gpu: Gpu | None) -> KernelModules:
    """The kind that a branch has for this GPU, the open one where both or neither do."""
    if entry is None or gpu is None:
        return KINDS[0]
    return next((kind for kind in KINDS if gpu.architecture in entry.modules.of(kind)), KINDS[0])


def drives(entry: DriverBranch, gpu: Gpu | None, modules: KernelModules | None) -> bool:
    """Whether a branch has modules for this GPU, of one kind or of any; also where the GPU is not known."""
    kinds = KINDS if modules is None else (modules,)
    return gpu is None or any(gpu.architecture in entry.modules.of(kind) for kind in kinds)


def _chosen(
    catalog: Catalog, modules: KernelModules | None, gpu: Gpu | None, needed: tuple[tuple[str, Needs], ...]
) -> DriverBranch:
    """The default branch if it will do; else of those that do one with support, the one that has it longest."""
    major = max((cuda_major(need) for _, need in needed), default=0)
    branches = sorted(
        catalog.drivers.values(),
        key=lambda each: (each.default, each.support != "ended", each.ends or "", each.id),
        reverse=True,
    )
    doing = (each for each in branches if drives(each, gpu, modules) and each.cuda_major >= major)
    return next(doing, branches[0])


def cuda_major(need: Needs) -> int:
    """The major version of the CUDA that an engine was built with."""
    return int(need.cuda.partition(".")[0])


def _needs(pool: str, served: Mapping[str, Served]) -> tuple[tuple[str, Needs], ...]:
    """What is known of the engines on a pool's GPUs."""
    found = (
        (each.name, needs(each.settings.engine.engine, each.program.release))
        for each in served.values()
        if each.pool == pool and each.on_gpus
    )
    return tuple((name, need) for name, need in found if need is not None)


def announcements(deployment: Deployment, had: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What a preview says of drivers that come or change, since it asks no host: a line for each machine.

    Args:
        deployment: the stack's.
        had: by machine the variables that its driver was last applied with, as the stack's state has them.
    """
    for machine in deployment.machines.values():
        plan, before = machine.driver, had.get(machine.name)
        if plan is None and before is not None:
            yield (
                f"{machine.name}: the NVIDIA driver that Slipway installed (branch {before.get('nvidia_driver_branch', '?')}) is "
                "removed, since its driver is Slipway's no more; no GPU computes until somebody installs another"
            )
        if plan is None or (before is not None and _same(plan, before)):
            continue
        then = (
            "it reboots unless just that driver is loaded already, and its engines are gone meanwhile"
            if plan.settings.reboot
            else "it is not rebooted (driver.reboot is false): where another driver is loaded the up stops and says so"
        )
        yield f"{machine.name}: gets NVIDIA driver {plan.shown} with {plan.modules} kernel modules; {then}"


def reboots_for_driver(machine: Machine, had: Mapping[str, Any] | None) -> bool:
    """Whether the machine may reboot for its driver; `had` are the variables that it was last applied with, None for none."""
    plan = machine.driver
    return plan is not None and plan.settings.reboot and (had is None or not _same(plan, had))


def _same(plan: DriverPlan, before: Mapping[str, Any]) -> bool:
    now = {
        "nvidia_driver_source": plan.settings.source,
        "nvidia_driver_branch": plan.branch,
        "nvidia_driver_version": plan.version or "",
        "nvidia_driver_vendor_version": plan.vendor_version or "",
        "nvidia_driver_modules": plan.modules,
    }
    return all(before.get(name) == value for name, value in now.items())

"""Whether the NVIDIA driver goes with the GPUs, with the engines' CUDA, and with the calendar."""

import datetime as dt
from collections.abc import Iterator

from slipway.catalog import DriverBranch, Gpu
from slipway.deployment.drivers import KINDS, cuda_major, drives
from slipway.deployment.types import Deployment, DriverPlan, Machine, Served
from slipway.engines.releases import needs, releases
from slipway.findings import Finding, Severity
from slipway.settings.errors import place
from slipway.versions import older

ENDING_DAYS = 180
"""So long before a branch ends there is a warning: time for a test and a window of maintenance."""


def drivers(deployment: Deployment, today: dt.date) -> Iterator[Finding]:
    """What is to be said of the driver of each pool."""
    for pool in deployment.settings.pools:
        machine = deployment.members(pool)[0]
        if machine.driver is None:
            yield from _elsewhere(deployment, machine)
            continue
        plan, entry = machine.driver, machine.driver.entry
        yield from _power(machine, plan)
        if entry is None:
            yield _unknown(deployment, pool, plan)
            continue
        yield from _modules(deployment, machine, plan, entry)
        yield from _cuda(deployment, pool, plan, entry)
        yield from _version(pool, plan, entry)
        yield from _end(deployment, pool, plan, entry, today)


def _elsewhere(deployment: Deployment, machine: Machine) -> Iterator[Finding]:
    """Of machines whose driver is none of Slipway's: what it has to be, or that there is none for their GPUs."""
    pool, gpu = machine.pool, machine.gpu
    asked = "driver" in deployment.settings.pools[pool].model_fields_set
    if asked and not machine.gpus:
        yield Finding(
            id="driver.unused",
            severity=Severity.WARNING,
            where=place("pools", pool, "driver"),
            message="machines of this tier have no GPUs, so no driver is installed: set gpus, or remove driver",
        )
    here = [served for served in deployment.served.values() if served.pool == pool and served.on_gpus]
    if gpu is not None and gpu.vendor != "nvidia":
        # Of engines that are built for CUDA `compatibility.vendor` says it.
        if asked or not all(releases(served.settings.engine.engine) for served in here):
            yield Finding(
                id="driver.vendor",
                severity=Severity.ERROR,
                where=place("pools", pool, "driver" if asked else "gpu"),
                message=f"{gpu.name} is no NVIDIA GPU, and Slipway installs NVIDIA's driver alone (no ROCm); engines would find "
                "no GPU: use NVIDIA GPUs, or gpus: 0 for the CPU",
            )
        return
    for served in here:
        need = needs(served.settings.engine.engine, served.program.release)
        if need is not None:
            yield Finding(
                id="compatibility.driver",
                severity=Severity.NOTE,
                where=place("pools", pool, "driver", "source"),
                message=f"{_engine(served)} is built with CUDA {need.cuda}; with a driver older than {need.driver} it would not "
                "start: look at nvidia-smi on each host, or leave the driver to Slipway",
            )


def _power(machine: Machine, plan: DriverPlan) -> Iterator[Finding]:
    """A limit above the board's own, which the driver refuses. The lowest that it takes is no figure that is printed."""
    limit, gpu = plan.settings.power_limit_w, machine.gpu
    if limit is not None and gpu is not None and limit > gpu.power_w:
        yield Finding(
            id="driver.power",
            severity=Severity.ERROR,
            where=place("pools", machine.pool, "driver", "power_limit_w"),
            message=f"{limit} W is more than {gpu.name} takes ({gpu.power_w:g} W); the driver would refuse it, and the GPUs "
            f"would not be made ready at boot: set at most {gpu.power_w:g}, or remove it",
        )


def _unknown(deployment: Deployment, pool: str, plan: DriverPlan) -> Finding:
    known = sorted(deployment.catalog.drivers, key=int, reverse=True)
    return Finding(
        id="driver.branch",
        severity=Severity.ERROR,
        where=_where(pool, plan),
        message=f"the catalogue has no driver branch {plan.branch}; whether it drives these GPUs and engines can't be told: use "
        f"one of {', '.join(known)}, or add an entry to the file that {place('catalog')} names",
    )


def _modules(deployment: Deployment, machine: Machine, plan: DriverPlan, entry: DriverBranch) -> Iterator[Finding]:
    """The GPU has kernel modules of the kind that was asked for."""
    gpu = machine.gpu
    if gpu is None or drives(entry, gpu, plan.modules):
        return
    other = next((kind for kind in KINDS if kind != plan.modules and drives(entry, gpu, kind)), None)
    able = [
        each.id
        for each in sorted(deployment.catalog.drivers.values(), key=lambda each: each.id, reverse=True)
        if drives(each, gpu, None) and each.support != "ended"
    ]
    if other is not None:
        mend, key = f"set driver.modules to {other}, or remove it", "modules"
    else:
        mend, key = f"use branch {' or '.join(able)}" if able else "use another GPU", "branch"
    yield Finding(
        id="driver.modules",
        severity=Severity.ERROR,
        where=_where(machine.pool, plan, key),
        message=f"branch {entry.id} has no {plan.modules} kernel modules for {gpu.name}{_why(gpu, plan)}; the GPU would stay "
        f"without a driver: {mend}",
    )


def _why(gpu: Gpu, plan: DriverPlan) -> str:
    if plan.modules == "open" and gpu.architecture == "volta":
        return f" ({gpu.architecture}; the open ones begin with Turing)"
    return f" ({gpu.architecture})"


def _cuda(deployment: Deployment, pool: str, plan: DriverPlan, entry: DriverBranch) -> Iterator[Finding]:
    """It runs what the engines were built with."""
    version = plan.version or (plan.vendor_version if plan.from_vendor else None) or plan.branch
    for name, need in plan.needs:
        if entry.cuda_major >= cuda_major(need) and not older(version, need.driver):
            continue
        able = [
            each.id
            for each in sorted(deployment.catalog.drivers.values(), key=lambda each: each.id)
            if each.cuda_major >= cuda_major(need) and each.support != "ended"
        ]
        yield Finding(
            id="driver.cuda",
            severity=Severity.ERROR,
            where=_where(pool, plan),
            message=f"driver {version} is too old for {_engine(deployment.served[name])}, which is built with CUDA {need.cuda} "
            f"and needs {need.driver} or later; the engine would not start: use branch {' or '.join(able)}, or an older release",
        )


def _version(pool: str, plan: DriverPlan, entry: DriverBranch) -> Iterator[Finding]:
    """An exact version is known wherever the driver comes from NVIDIA's repository."""
    if plan.vendor_version is None and plan.settings.source != "distribution":
        sure = plan.from_vendor
        yield Finding(
            id="driver.version",
            severity=Severity.ERROR if sure else Severity.WARNING,
            where=_where(pool, plan),
            message=f"no version of branch {entry.id} is known to have been tried, and none is given; "
            f"{'nothing could be pinned' if sure else 'on all systems but Ubuntu nothing could be pinned'}: set driver.version",
        )
    elif plan.version is not None and plan.version != entry.tested:
        tried = "none of this branch was" if entry.tested is None else f"{entry.tested} was"
        yield Finding(
            id="driver.version",
            severity=Severity.NOTE,
            where=place("pools", pool, "driver", "version"),
            message=f"whether there is a driver {plan.version} is not known here ({tried} tried by others); a version that the "
            "source does not have shows when the up looks for it: look at the source's list of packages",
        )


def _end(deployment: Deployment, pool: str, plan: DriverPlan, entry: DriverBranch, today: dt.date) -> Iterator[Finding]:
    """It still gets security updates, and will for some time."""
    last = entry.last_day
    over = entry.support == "ended" or (last is not None and last < today)
    if not over and (last is None or (last - today).days > ENDING_DAYS):
        return
    when = "has ended" if over else "ends"
    if last is not None:
        when += f" ({entry.ends})"
    longer = [
        each.id
        for each in sorted(deployment.catalog.drivers.values(), key=lambda each: each.last_day or dt.date.max)
        if each.last_day is not None and (each.last_day - today).days > ENDING_DAYS and each.support != "ended"
    ]
    mend = f"use branch {' or '.join(longer)}" if longer else "look for a newer branch"
    yield Finding(
        id="driver.ends",
        severity=Severity.WARNING,
        where=_where(pool, plan),
        message=f"driver branch {entry.id} {when}; after that nobody mends holes in it: {mend}",
    )


def _engine(served: Served) -> str:
    return f"{served.settings.engine.engine} {served.program.release}".rstrip()


def _where(pool: str, plan: DriverPlan, key: str = "branch") -> str:
    """The key that said so, as far as one did."""
    given = plan.settings.model_fields_set
    said = next((name for name in dict.fromkeys((key, "branch", "version")) if name in given), None)
    return place("pools", pool, "driver", *([] if said is None else [said]))

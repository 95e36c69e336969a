"""What a host is asked: the stack's promise, and the checks of a moment with the limits for its kind of GPU.

A host without GPUs is asked what is asked of every host, and nothing where that has nothing to ask there.
"""

from enum import StrEnum
from typing import Any

from slipway.catalog import Catalog
from slipway.deployment.references import private
from slipway.deployment.types import Deployment, Instance, Machine
from slipway.doctor.names import names
from slipway.settings.errors import path


class Moment(StrEnum):
    """When checks are made."""

    PREFLIGHT = "preflight"
    """Before anything is changed: there may be no driver yet."""
    PROOF = "proof"
    """Before engines are started."""
    EXCHANGE = "exchange"
    """Once engines are installed and before they start, where one spreads over several GPUs: they bring what GPUs speak by."""
    HOSTS = "hosts"
    """When somebody asks for it (`slipway doctor --between-hosts`): it needs all hosts of a replica at once, and idle GPUs."""
    WATCH = "watch"
    """Every minute, beside running engines."""


OUT = "/var/lib/slipway/gpu-watch/out"
"""The folder on a machine in which its watch marks engines that are out of service."""
ALL_REDUCE_S = 120
"""Seconds that an all-reduce may take with all that goes before it."""
_MOST_BYTES, _PART = 8 << 30, 8
"""Of an all-reduce on each GPU: at most, and at most this part of its memory."""
_ON_BUS = frozenset({"ampere", "hopper"})
"""Architectures whose NVSwitches are devices on the PCI bus; B200's are behind a network card."""


def order(deployment: Deployment, machine: Machine, moment: Moment | None) -> dict[str, Any]:
    """Plain data for `gpu_host.examine`: ``{"promise": …, "checks": […], "driver_due": bool, "nccl": {…}, "names": […]}``.

    Args:
        deployment: the stack's.
        machine: any of its machines.
        moment: whose checks; None for those of all moments that a host can be asked by itself.

    Returns:
        The order; empty for a machine without GPUs that has no name to ask for.
    """
    # What exchanges is asked at few moments: elsewhere a new engine would change the order.
    exchanges = machine.gpus > 0 and moment in {None, Moment.EXCHANGE}
    resolves = moment in {None, Moment.PREFLIGHT}
    if machine.gpus == 0 and not (resolves and names(deployment, machine)):
        return {}
    return {
        "promise": promise(machine),
        "checks": _checks(deployment.catalog, machine, moment),
        "driver_due": machine.gpus > 0 and moment is not Moment.PREFLIGHT,
        **({"nccl": _nccl(exchanging(deployment, machine), due=moment is Moment.EXCHANGE)} if exchanges else {}),
        **({"names": names(deployment, machine)} if resolves else {}),
    }


def exchanging(deployment: Deployment, machine: Machine) -> list[Instance]:
    """The engines on `machine` each of which spreads over several of its GPUs, or over hosts, by NCCL."""
    return [
        each
        for each in deployment.on(machine)
        if each.gpus and each.served.gpus > 1 and each.served.program.nccl is not None
    ]


def meeting_orders(deployment: Deployment, head: Instance) -> dict[str, dict[str, Any]]:
    """What all machines of the replica of `head` are asked at once: by machine, an order of `Moment.HOSTS`.

    Empty where the replica is on one machine, or its engine does not speak NCCL. Addresses in it are references.
    """
    parts = deployment.parts(head)
    if len(parts) < 2 or head.served.program.nccl is None or head.meeting is None:
        return {}
    found = {}
    for part in parts:
        machine, launch = part.machine, part.launch
        named = {
            name: value.replace(inner, f"@{inner}")
            for name, value in launch.interfaces.items()
            for inner in [value.lstrip("=")]
        }
        meeting = {
            "address": private(head.machine.name),
            "port": head.meeting.port,
            "host": part.rank,
            "hosts": len(parts),
            "gpus": machine.gpus,
        }
        environment = {
            name: value for name, value in {**launch.environment, **named}.items() if name.startswith("NCCL_")
        }
        found[machine.name] = {
            "promise": promise(machine),
            "checks": _checks(deployment.catalog, machine, Moment.HOSTS),
            "driver_due": True,
            "nccl": {**_nccl([part], due=True), "meeting": meeting, "environment": environment},
        }
    return found


def _nccl(instances: list[Instance], *, due: bool) -> dict[str, Any]:
    """How the GPUs of a machine are asked to exchange; empty where no engine does. Sizes are in bytes.

    `due`: whether the engines have to be installed, so that nobody can say there is nothing to ask yet.
    """
    if not instances:
        return {}
    gpu = instances[0].machine.gpu
    memory = 0 if gpu is None else gpu.driver_mib << 20
    size = min(_MOST_BYTES, memory // _PART) if memory else _MOST_BYTES // _PART
    programs = [each.served.program for each in instances]
    return {
        "libraries": list(dict.fromkeys(f"{each.folder}/{each.nccl}" for each in programs)),
        "due": due,
        "size": size // 4096 * 4096,
        "limit": ALL_REDUCE_S,
        "meeting": None,
        "environment": {},
    }


def out_mark(instance: str) -> str:
    """The file beside which the engine `instance` does not start."""
    return f"{OUT}/{instance}"


def promise(machine: Machine) -> dict[str, Any]:
    """What the stack says of the machine's GPUs. Memory is in MiB."""
    gpu = machine.gpu
    kind = None if gpu is None else gpu.interconnect.kind
    driver = None if machine.driver is None else machine.driver.settings
    return {
        "gpus": machine.gpus,
        "name": None if gpu is None else gpu.name,
        "names": [] if gpu is None else [gpu.name, gpu.id, *gpu.aliases],
        "pci_ids": [] if gpu is None else list(gpu.pci_ids),
        "memory_mib": None if gpu is None else gpu.driver_mib,
        "pcie_generation": None if gpu is None or gpu.pcie is None else gpu.pcie.generation,
        "nvlink": kind in {"nvswitch", "nvlink"},
        "nvswitch": kind == "nvswitch",
        "nvswitch_on_bus": kind == "nvswitch" and gpu is not None and gpu.architecture in _ON_BUS and machine.gpus > 1,
        "power_limit_w": None if driver is None else driver.power_limit_w,
        "clock_max_mhz": None if driver is None or driver.clocks_mhz is None else driver.clocks_mhz[1],
    }


def _checks(catalog: Catalog, machine: Machine, moment: Moment | None) -> list[dict[str, Any]]:
    pool = path("pools", machine.pool)
    tier = None if machine.tier is None else catalog.tiers.get(machine.tier)
    network = None if tier is None or tier.hosts == 1 else tier.network_gbit_s / 8
    return [
        {
            "id": check.id,
            "what": check.what,
            "severity": check.severity,
            "consequence": check.consequence,
            "mend": check.mend.replace("pools.NAME", pool),
            "unit": check.unit,
            "limit": check.limit_for(machine.gpu, machine.gpus, network),
            "codes": list(check.codes),
        }
        for check in catalog.checks.values()
        if (machine.gpus > 0 or check.every_host)
        and (moment in check.moments if moment is not None else list(check.moments) != [Moment.HOSTS])
    ]

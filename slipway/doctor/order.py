"""What a GPU host is asked: the stack's promise, and the checks of a moment with the limits for its kind of GPU."""

from enum import StrEnum
from typing import Any

from slipway.catalog import Catalog
from slipway.deployment.types import Deployment, Machine
from slipway.settings.errors import path


class Moment(StrEnum):
    """When checks are made."""

    PREFLIGHT = "preflight"
    """Before anything is changed: there may be no driver yet."""
    PROOF = "proof"
    """Before engines are started."""
    WATCH = "watch"
    """Every minute, beside running engines."""


OUT = "/var/lib/slipway/gpu-watch/out"
"""The folder on a machine in which its watch marks engines that are out of service."""
_ON_BUS = frozenset({"ampere", "hopper"})
"""Architectures whose NVSwitches are devices on the PCI bus; B200's are behind a network card."""


def order(deployment: Deployment, machine: Machine, moment: Moment | None) -> dict[str, Any]:
    """Plain data for `gpu_host.examine`: ``{"promise": …, "checks": […], "driver_due": bool}``.

    Args:
        deployment: the stack's.
        machine: one with GPUs.
        moment: whose checks; None for those of all moments.
    """
    return {
        "promise": promise(machine),
        "checks": _checks(deployment.catalog, machine, moment),
        "driver_due": moment is not Moment.PREFLIGHT,
    }


def out_mark(instance: str) -> str:
    """The file beside which the engine `instance` does not start."""
    return f"{OUT}/{instance}"


def promise(machine: Machine) -> dict[str, Any]:
    """What the stack says of the machine's GPUs. Memory is in MiB."""
    gpu = machine.gpu
    kind = None if gpu is None else gpu.interconnect.kind
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
    }


def _checks(catalog: Catalog, machine: Machine, moment: Moment | None) -> list[dict[str, Any]]:
    pool = path("pools", machine.pool)
    return [
        {
            "id": check.id,
            "what": check.what,
            "severity": check.severity,
            "consequence": check.consequence,
            "mend": check.mend.replace("pools.NAME", pool),
            "unit": check.unit,
            "limit": check.limit_for(machine.gpu),
            "codes": list(check.codes),
        }
        for check in catalog.checks.values()
        if moment is None or moment in check.moments
    ]

"""Simulated hosts and what they are asked, for one kind of GPU or another."""

from pathlib import Path
from typing import Any

from slipway.catalog import Catalog, load
from slipway.deployment.types import Deployment
from slipway.doctor.order import Moment, order
from tests.fixtures.gpu_simulator.asking import examine
from tests.fixtures.gpu_simulator.simulator import GpuHost
from tests.unit.deployment.stacks import deployment
from tests.unit.settings.documents import good

SERVER, CARD = "h100-sxm-80gb", "rtx-4090"
SUMMED = 1 << 14
"""Bytes of an all-reduce on each simulated GPU."""


def catalog() -> Catalog:
    """Ours."""
    return load()


def promised(gpu: str | None, gpus: int, **driver: Any) -> Deployment:
    """A stack whose pool promises so many GPUs of a kind on its only host, with such settings of the driver."""
    document = good()
    pool = next(iter(document["pools"].values()))
    pool.update({"gpus": gpus} if gpu is None else {"gpu": gpu, "gpus": gpus})
    if driver:
        pool["driver"] = driver
    return deployment(document)


def server(root: Path, count: int = 8) -> GpuHost:
    """A host with SXM GPUs and NVSwitches, and an engine's NCCL."""
    return _with_nccl(GpuHost(root, load().gpus[SERVER], count, switches=4))


def card(root: Path, count: int = 1) -> GpuHost:
    """A host with cards, and an engine's NCCL where there are several."""
    host = GpuHost(root, load().gpus[CARD], count)
    return host if count == 1 else _with_nccl(host)


def _with_nccl(host: GpuHost) -> GpuHost:
    for library in asked(promised(host.gpu.id, host.count))["nccl"]["libraries"]:
        host.bring_nccl(library)
    return host


def asked(stack: Deployment, moment: Moment | None = None) -> dict[str, Any]:
    """What its only machine is asked; no more is summed than a CPU sums in no time."""
    found = order(stack, next(iter(stack.machines.values())), moment)
    if found.get("nccl"):
        found["nccl"]["size"] = SUMMED
    return found


def results(host: GpuHost, wanted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What came of each check, by its id."""
    return {each["id"]: each for each in examine(host, wanted)["results"]}


def failed(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What failed, with the evidence in one line."""
    return {name: "; ".join(each["evidence"]) for name, each in found.items() if each["state"] == "failed"}

"""One examination of a host: from an order to results, both plain data.

An order is what `slipway.doctor.order` makes: ``{"promise": {…}, "checks": [{"id", "what", "severity", "consequence", "mend",
"limit", "codes"}], "driver_due", "ptx", "nccl": {"libraries", "due", "size", "limit", "meeting", "environment"}, "names"}``.
A result is a check's entry with ``state`` (passed, failed, skipped: nothing to check
here, unknown: it could not be seen), ``evidence`` (lines) and ``gpus`` (whose fault it is).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .checks import CHECKS
from .machine import Machine
from .nvml import Device
from .view import NeedlessError, UnknownError, View

WATCH = "/var/lib/slipway/gpu-watch/state.json"
"""Where the watch keeps what it found."""


def examine(order: dict[str, Any], root: Path = Path("/")) -> dict[str, Any]:
    """Makes the order's checks.

    Returns:
        ``{"results": […], "driver", "cuda", "gpus": [{"index", "name", "uuid", "bus_id", "memory_mib", "ecc", "h2d_gb_s",
        "copy_gb_s"}], "all_reduce": as `nccl.reduce_all` or {}, "watch": {"out": {instance: {"since", "reason"}}} or {}, "ended":
        seconds since 1970}``. A GPU's bandwidths are None where they were not measured.
    """
    wanted = order["checks"]
    proves = any(check["id"].startswith("cuda.") for check in wanted)
    view = View(
        order["promise"],
        Machine(root),
        driver_due=order["driver_due"],
        ptx=order.get("ptx", "") if proves else "",
        bandwidth=any(check["id"].startswith("cuda.bandwidth") for check in wanted),
        nccl=order.get("nccl"),
        names=order.get("names", ()),
    )
    results = [_result(check, view) for check in wanted]
    # Of a host without GPUs nobody asks its driver, should it have one.
    driver = view.driver if order["promise"]["gpus"] and (view.module or view.driver_due) else None
    proof = view.__dict__.get("proof") or {"gpus": []}
    measured = {each["bus_id"][:10]: each for each in proof["gpus"]}
    return {
        "results": results,
        "driver": driver.version if driver else "",
        "cuda": driver.cuda if driver else "",
        "gpus": [_gpu(each, measured) for each in driver.devices if isinstance(each, Device)] if driver else [],
        "all_reduce": view.__dict__.get("all_reduce", {}),
        "watch": json.loads(view.machine.text(WATCH) or "{}"),
        "ended": view.now,
    }


def problems(report: dict[str, Any], severity: str) -> list[str]:
    """What failed with this severity, each as one line: what, consequence and mend."""
    return [
        f"{result['id']}: {'; '.join(result['evidence'])}; {result['consequence']}: {result['mend']}"
        for result in report["results"]
        if result["state"] == "failed" and result["severity"] == severity
    ]


def unseen(report: dict[str, Any]) -> list[str]:
    """What could not be seen, each as one line: what is unproven, why, what follows where it is not so, and the mend."""
    return [
        f"{result['id']} is unknown: {'; '.join(result['evidence'])}; it is unproven that {result['what']} (else "
        f"{result['consequence']}): ask again with `slipway doctor` when this is no longer so"
        for result in report["results"]
        if result["state"] == "unknown"
    ]


def _result(check: dict[str, Any], view: View) -> dict[str, Any]:
    try:
        faults = list(CHECKS[check["id"]](view, check))
    except (UnknownError, NeedlessError) as reason:
        state = "unknown" if isinstance(reason, UnknownError) else "skipped"
        return {**check, "state": state, "evidence": [str(reason)], "gpus": []}
    gpus = sorted({fault.gpu for fault in faults if fault.gpu is not None})
    return {
        **check,
        "state": "failed" if faults else "passed",
        "evidence": [fault.text for fault in faults],
        "gpus": gpus,
    }


def _gpu(device: Device, measured: dict[str, Any]) -> dict[str, Any]:
    proved = measured.get(device.bus_id[:10], {})
    return {
        "index": device.index,
        "name": device.name,
        "uuid": device.uuid,
        "bus_id": device.bus_id,
        "memory_mib": device.memory_mib,
        "ecc": device.ecc,
        "h2d_gb_s": proved.get("h2d_gb_s"),
        "copy_gb_s": proved.get("copy_gb_s"),
    }

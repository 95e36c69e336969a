"""`slipway doctor`: all checks of a stack's GPU hosts, made now."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cli.carried import UnreadableError
from cli.carried import asked as answered
from cli.errors import UserError
from cli.remote import RemoteError
from slipway.deployment.absence import setting
from slipway.deployment.resolve import deployment_of
from slipway.deployment.types import Deployment, Machine
from slipway.doctor.order import meeting_orders, order
from slipway.doctor.report import HostReport, State, lines, read
from slipway.paths import ROOT

_AT_ONCE = 16
"""Hosts that are asked at the same time."""
_TIMEOUT_S = 300


def examine_stack(
    stack: str, *, hosts: Sequence[str], as_json: bool, between_hosts: bool = False, root: Path = ROOT
) -> bool:
    """Examine the GPU hosts of `stack` and print what was found.

    Args:
        stack: its name.
        hosts: of these alone; all where it is empty.
        as_json: print one object instead of tables.
        between_hosts: have the hosts of each replica that hosts share exchange, instead of the checks of each by itself.
        root: the project's folder.

    Returns:
        Whether all of them can serve what the stack asks of them.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UserError: no such host, or no replica that hosts share.
    """
    deployment = deployment_of(stack, root)
    reports: list[HostReport] = []
    if between_hosts:
        if hosts:
            raise UserError("--host and --between-hosts exclude one another: all hosts of a replica are needed at once")
        rounds = [orders for head in deployment.heads if (orders := meeting_orders(deployment, head))]
        if not rounds:
            raise UserError(
                f"stack {stack} has no replica that hosts share by NCCL, so there is nothing between hosts to check"
            )
    else:
        machines = _chosen(deployment, stack, hosts)
        rounds = [{machine.name: own_order(deployment, machine, root) for machine in machines}]
    for orders in rounds:
        # Those of one replica wait for one another.
        with ThreadPoolExecutor(max(len(orders), 1) if between_hosts else _AT_ONCE) as pool:
            reports += pool.map(
                lambda name, orders=orders: examined(deployment, deployment.machines[name], orders[name], root),
                orders,
            )
    well = all(report.well and (not between_hosts or _exchanged(report)) for report in reports)
    if as_json:
        print(json.dumps({"stack": stack, "well": well, "hosts": [report.data() for report in reports]}, indent=2))
    else:
        print("\n\n".join("\n".join(lines(report)) for report in reports))
    return well


def _exchanged(report: HostReport) -> bool:
    """Whether it took part: who asks for this alone is not served by a host on which nothing could be seen."""
    return any(result.id == "nccl.all-reduce" and result.state is State.PASSED for result in report.results)


def examined(deployment: Deployment, machine: Machine, asked: dict[str, Any], root: Path) -> HostReport:
    """What one host answers to an order; why it does not, where it doesn't."""
    try:
        found = answered(
            deployment, machine, root, "gpu_host.examine.examine", deployment.known(asked), timeout_s=_TIMEOUT_S
        )
    except UnreadableError as error:
        return HostReport(host=machine.name, error=str(error))
    except RemoteError as error:
        allowance = setting(machine.pool) if machine.may_be_missing else None
        return HostReport(host=machine.name, error=str(error), allowance=allowance)
    return read(machine.name, found)


def own_order(deployment: Deployment, machine: Machine, root: Path) -> dict[str, Any]:
    """All checks that one host makes by itself, with the kernel of the proof."""
    return {**order(deployment, machine, None), "ptx": ptx(root)}


def ptx(root: Path) -> str:
    """The kernel of the proof."""
    return (root / "playbooks" / "roles" / "gpu_watch" / "files" / "proof.ptx").read_text(encoding="utf-8")


def _chosen(deployment: Deployment, stack: str, names: Sequence[str]) -> list[Machine]:
    """The machines with GPUs, or those of the names."""
    unknown = next((name for name in names if name not in deployment.machines), None)
    if unknown is not None:
        raise UserError(f"stack {stack} has no host {unknown!r}; its hosts: {', '.join(deployment.machines)}")
    asked = [machine for name, machine in deployment.machines.items() if not names or name in names]
    for machine in asked:
        if not machine.gpus:
            print(f"{machine.name}: no GPUs are promised, so there is nothing to check", file=sys.stderr)
    return [machine for machine in asked if machine.gpus]

"""`slipway doctor`: what preflight looks at and all checks of a stack's hosts, made now.

Not whether models answer: that is the acceptance's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from slipway.layers.preflight import survey_order
from slipway.paths import ROOT

_AT_ONCE = 16
"""Hosts that are asked at the same time."""
_TIMEOUT_S = 300
_BESIDE_SURVEY = ("slipway_firewall", "slipway_system_checks", "slipway_systems")
_NOT_CHECKED = "Not checked here: whether the models answer; each `up` asks them at its end (acceptance)."


def examine_stack(
    stack: str,
    *,
    hosts: Sequence[str],
    as_json: bool,
    between_hosts: bool = False,
    strict: bool = False,
    root: Path = ROOT,
) -> bool:
    """Examine the hosts of `stack` and print what was found.

    Args:
        stack: its name.
        hosts: of these alone; all where it is empty.
        as_json: print one object instead of tables.
        between_hosts: have the hosts of each replica that hosts share exchange, instead of the checks of each by itself.
        strict: a check that could see nothing counts as one that failed.
        root: the project's folder.

    Returns:
        Whether all of them can serve what the stack asks of them.

    Raises:
        SettingsError: no such stack, or its settings were refused.
        UserError: no such host, or no replica that hosts share.
    """
    deployment = deployment_of(stack, root)
    if between_hosts:
        if hosts:
            raise UserError("--host and --between-hosts exclude one another: all hosts of a replica are needed at once")
        reports = _met(deployment, stack, root)
    else:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            reports = list(
                pool.map(lambda machine: _looked_over(deployment, machine, root), _chosen(deployment, stack, hosts))
            )
    well = all(report.well and (not between_hosts or _exchanged(report)) for report in reports)
    if as_json:
        print(json.dumps({"stack": stack, "well": well, "hosts": [report.data() for report in reports]}, indent=2))
    else:
        print("\n\n".join("\n".join(lines(report)) for report in reports))
        if not between_hosts:
            print(f"\n{_NOT_CHECKED}")
    return well and not (strict and any(report.unknown for report in reports))


def _met(deployment: Deployment, stack: str, root: Path) -> list[HostReport]:
    """What the hosts of each shared replica say of one another."""
    rounds = [orders for head in deployment.heads if (orders := meeting_orders(deployment, head))]
    if not rounds:
        raise UserError(
            f"stack {stack} has no replica that hosts share by NCCL, so there is nothing between hosts to check"
        )
    reports: list[HostReport] = []
    for orders in rounds:
        # Those of one replica wait for one another.
        with ThreadPoolExecutor(len(orders)) as pool:
            reports += pool.map(
                lambda name, orders=orders: examined(deployment, deployment.machines[name], orders[name], root),
                orders,
            )
    return reports


def _looked_over(deployment: Deployment, machine: Machine, root: Path) -> HostReport:
    """What preflight would say of one host, and its own checks."""
    order = {**survey_order(deployment, machine), "time": time.time()}
    call = "host_survey.survey.survey"
    try:
        survey = answered(
            deployment,
            machine,
            root,
            call,
            deployment.known(order),
            timeout_s=_TIMEOUT_S,
            beside=_BESIDE_SURVEY,
        )
    except RemoteError as error:
        return _unasked(machine, error)
    asked = own_order(deployment, machine, root)
    if not asked:
        return HostReport(host=machine.name, survey=survey)
    return replace(examined(deployment, machine, asked, root), survey=survey)


def _exchanged(report: HostReport) -> bool:
    """Whether it took part: who asks for this alone is not served by a host on which nothing could be seen."""
    return any(result.id == "nccl.all-reduce" and result.state is State.PASSED for result in report.results)


def examined(deployment: Deployment, machine: Machine, asked: dict[str, Any], root: Path) -> HostReport:
    """What one host answers to an order; why it does not, where it doesn't."""
    try:
        found = answered(
            deployment, machine, root, "gpu_host.examine.examine", deployment.known(asked), timeout_s=_TIMEOUT_S
        )
    except RemoteError as error:
        return _unasked(machine, error)
    return read(machine.name, found, checks=deployment.catalog.checks, promised=machine.gpus)


def _unasked(machine: Machine, error: RemoteError) -> HostReport:
    """Why a host answered nothing, and whether an `up` goes on without it."""
    allowed = machine.may_be_missing and not isinstance(error, UnreadableError)
    return HostReport(host=machine.name, error=str(error), allowance=setting(machine.pool) if allowed else None)


def own_order(deployment: Deployment, machine: Machine, root: Path) -> dict[str, Any]:
    """All checks that one host makes by itself, with the kernel of the proof; empty where there are none."""
    asked = order(deployment, machine, None)
    return {**asked, "ptx": ptx(root)} if asked else {}


def ptx(root: Path) -> str:
    """The kernel of the proof."""
    return (root / "playbooks" / "roles" / "gpu_watch" / "files" / "proof.ptx").read_text(encoding="utf-8")


def _chosen(deployment: Deployment, stack: str, names: Sequence[str]) -> list[Machine]:
    """All machines, or those of the names."""
    unknown = next((name for name in names if name not in deployment.machines), None)
    if unknown is not None:
        raise UserError(f"stack {stack} has no host {unknown!r}; its hosts: {', '.join(deployment.machines)}")
    return [machine for name, machine in deployment.machines.items() if not names or name in names]

"""`slipway check`: what would be refused, or disappoint, before anything is touched. It never asks a host or a cloud.

Settings, sizing and compatibility come from `slipway.deployment` and `slipway.checks`, the rest from the policy pack, which
judges the resources that the stack will have.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

from cli.errors import UserError
from cli.model_table import model_table
from cli.stack_report import FINE, Report, report
from policies.judge import Found, Open
from policies.resources import Resource
from policies.rule import Level
from slipway.deployment.declaration import declaration
from slipway.findings import Severity
from slipway.paths import ROOT
from slipway.settings.load import stack_names


class Form(StrEnum):
    """How the answer is printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


def check_stacks(stacks: list[str], *, form: Form = Form.TEXT, root: Path = ROOT) -> None:
    """Check `stacks`, or all that have a file; secrets that come from the environment need not be set.

    Raises:
        UserError: there is no stack to check.
        SystemExit: with status 1 where something would be refused, and 2 where settings or policies can't be read.
    """
    odd = [name for name in stacks if re.fullmatch(r"[A-Za-z0-9_.-]+", name) is None]
    if odd:
        raise UserError(f"{odd[0]!r} can't be a stack's name; letters, digits and . _ - can")
    names = stacks or stack_names(root)
    if not names:
        raise UserError(f"there is no stack in {root / 'stacks'}; put a Pulumi.NAME.yaml there")
    reports = [report(name, root) for name in dict.fromkeys(names)]
    print(_printer(form)(reports, root))
    status = max(entry.status for entry in reports)
    if status != FINE:
        sys.exit(status)


def _printer(form: Form) -> Callable[[list[Report], Path], str]:
    if form is Form.SARIF:
        from cli.sarif import sarif

        return sarif
    if form is Form.JUNIT:
        from cli.junit import junit

        return junit
    if form is Form.JSON:
        return lambda reports, _: json.dumps({"stacks": [data(entry) for entry in reports]}, indent=2)
    return lambda reports, _: "\n".join(line for entry in reports for line in lines(entry))


def lines(entry: Report) -> list[str]:
    """A report as a person reads it: the verdict, the deployment, the findings, the policies."""
    if entry.deployment is None:
        return [f"{entry.stack}: settings refused", *(f"  {'error':9} {problem}" for problem in entry.problems)]
    judgement = entry.judgement
    return [
        f"{entry.stack}: {_verdict(entry)}",
        *(f"  {line}" for line in model_table(entry.deployment)),
        *(f"  {finding.severity:9} {finding.line}" for finding in entry.findings),
        *(f"  {'error':9} {problem}" for problem in entry.policy_problems),
        *(f"  {found.level:9} {_named(found, found.line)}" for found in _sorted(judgement.violations)),
        *(f"  {'unknown':9} {_named(unknown, unknown.line)}" for unknown in judgement.open),
        *(f"  {'excepted':9} {_named(found, _exception(found))}" for found in judgement.excepted),
    ]


def _named(found: Found | Open, line: str) -> str:
    return f"{found.rule.id}: {found.resource.name}: {line}"


def _exception(found: Found) -> str:
    exception = found.exception
    assert exception is not None  # noqa: S101 -- what makes it excepted
    return f"until {exception.expires}, {exception.owner}: {exception.reason} ({found.violation.what})"


def _sorted(found: Iterable[Found]) -> list[Found]:
    """What refuses first."""
    return sorted(found, key=lambda one: one.level is Level.ADVISORY)


def _verdict(entry: Report) -> str:
    if entry.policy_problems:
        return "policy configuration refused"
    if any(finding.severity is Severity.ERROR for finding in entry.findings):
        return "would fail"
    if entry.refused:
        return "violates mandatory policies"
    served = {} if entry.deployment is None else entry.deployment.served
    unknown = [name for name, model in served.items() if model.measured.figures is None]
    if not unknown:
        return "fits" if served else "nothing wrong was found"
    if len(served) == 1:
        return "nothing wrong was found; whether the model fits was not checked"
    return f"nothing wrong was found; whether {', '.join(unknown)} fit{'s' * (len(unknown) == 1)} was not checked"


def data(entry: Report) -> dict[str, Any]:
    """A report as plain data."""
    if entry.deployment is None:
        return {
            "stack": entry.stack,
            "status": entry.status,
            "problems": list(entry.problems),
            "findings": [],
            "policies": [],
        }
    judgement = entry.judgement
    return {
        "stack": entry.stack,
        "status": entry.status,
        "problems": list(entry.policy_problems),
        "findings": [
            {"id": finding.id, "severity": str(finding.severity), "where": finding.where, "message": finding.message}
            for finding in entry.findings
        ],
        "policies": [
            *(_found(found) for found in _sorted(judgement.violations)),
            *(_found(found) for found in judgement.excepted),
            *(
                _judged(unknown, unknown.where) | {"unknown": True, "message": unknown.line}
                for unknown in judgement.open
            ),
        ],
        "deployment": entry.deployment.known(declaration(entry.deployment)),
    }


def _found(found: Found) -> dict[str, Any]:
    exception = found.exception
    return _judged(found, found.violation.where) | {
        "level": str(found.level),
        "value": found.violation.value,
        "message": found.line,
        "exception": None
        if exception is None
        else {"reason": exception.reason, "owner": exception.owner, "expires": str(exception.expires)},
    }


def _judged(found: Found | Open, where: str) -> dict[str, Any]:
    resource: Resource = found.resource
    return {
        "id": found.rule.id,
        "severity": str(found.rule.severity),
        "resource": resource.name,
        "type": resource.type,
        "where": where,
        "source": found.rule.source,
    }

"""`slipway check`: what would be refused, or disappoint, before anything is touched. It never asks a host."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.checks import Finding, Severity, Subject, catalog_of, examine, findings
from slipway.checks.actual import planned
from slipway.cli.errors import UserError
from slipway.paths import ROOT
from slipway.performance.copies import is_mixture
from slipway.settings import SettingsError
from slipway.settings.engine import Build
from slipway.settings.load import read_public, stack_file, stack_names

FINE, FOUND, BAD_INPUT = 0, 1, 2
"""Exit statuses: no error among the findings; an error among them; settings that can't even be read."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One stack's answer: either findings, or the problems for which it could not be looked at."""

    stack: str
    subject: Subject | None = None
    findings: tuple[Finding, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The exit status that this stack asks for."""
        if self.subject is None:
            return BAD_INPUT
        return FOUND if any(finding.severity is Severity.ERROR for finding in self.findings) else FINE


def check_stacks(stacks: list[str], *, as_json: bool, root: Path = ROOT) -> None:
    """Check `stacks`, or all that have a file; secrets that come from the environment need not be set.

    Raises:
        UserError: there is no stack to check.
        SystemExit: with status 1 where a finding is an error, and 2 where settings can't be read.
    """
    names = stacks or stack_names(root)
    if not names:
        raise UserError(f"there is no stack in {root / 'stacks'}; put a Pulumi.NAME.yaml there")
    reports = [report(name, root) for name in dict.fromkeys(names)]
    if as_json:
        print(json.dumps({"stacks": [_data(entry) for entry in reports]}, indent=2))
    else:
        print("\n".join(line for entry in reports for line in lines(entry)))
    status = max(entry.status for entry in reports)
    if status != FINE:
        sys.exit(status)


def report(stack: str, root: Path) -> Report:
    """Look at one stack."""
    try:
        settings = read_public(stack, root)
        source = str(stack_file(stack, root).relative_to(root))
        subject = examine(settings, catalog_of(settings, root), source)
        return Report(stack=stack, subject=subject, findings=tuple(findings(subject)))
    except SettingsError as error:
        return Report(stack=stack, problems=error.problems)


def lines(entry: Report) -> list[str]:
    """A report as a person reads it: the verdict, the deployment, the findings."""
    if entry.subject is None:
        return [f"{entry.stack}: settings refused", *(f"  {'error':8} {problem}" for problem in entry.problems)]
    return [
        f"{entry.stack}: {_verdict(entry)}",
        *(f"  {line}" for line in _deployment(entry.subject)),
        *(f"  {finding.severity:8} {finding.line}" for finding in entry.findings),
    ]


def _verdict(entry: Report) -> str:
    if entry.status == FOUND:
        return "would fail"
    if entry.subject is None or entry.subject.sizing is None:
        return "nothing wrong was found; whether the model fits was not checked"
    return "fits"


def _deployment(subject: Subject) -> list[str]:
    settings, sizing = subject.settings, subject.sizing
    if settings.build is Build.CPU:
        hardware = "CPU"
    else:
        name = "GPU" if subject.gpu is None else subject.gpu.name
        hardware = f"{settings.hardware.gpus} x {name}, tensor parallel {settings.tensor_parallel}"
        if settings.pipeline_parallel > 1:
            hardware += f", pipeline parallel {settings.pipeline_parallel}"
        if settings.data_parallel > 1:
            hardware += f", data parallel {settings.data_parallel}"
    hosts = len(settings.engine_hosts)
    each = " each" if hosts > 1 else ""
    name = settings.model.name if subject.architecture is None else subject.architecture.name
    told = [f"{_copies(subject)}{name} on {hosts} host{'s' if hosts > 1 else ''}, {hardware}{each}"]
    if sizing is None or not sizing.fits:
        return told
    if (memory := sizing.memory) is not None:
        told.append(
            f"per GPU: {memory.total:.1f}, of which the engine may take {memory.requested:.1f}: weights {memory.weights:.1f}, "
            f"activation {memory.activation:.1f}, KV cache {memory.kv_cache:.1f}"
        )
    whose = " of each copy" if settings.data_parallel > 1 else " of each host" if hosts > 1 else ""
    told.append(
        f"KV cache{whose}: {sizing.kv_cache_tokens:,} tokens, "
        f"{sizing.max_concurrency:.1f} requests of {settings.model.max_model_len:,}"
    )
    return told


def _copies(subject: Subject) -> str:
    """How many, where it is not one on each host."""
    settings = subject.settings
    architecture = subject.architecture
    if settings.data_parallel == 1 or architecture is None or is_mixture(architecture):
        return ""
    return f"{settings.data_parallel * len(settings.engine_hosts)} copies of "


def _data(entry: Report) -> dict[str, Any]:
    if entry.subject is None:
        return {"stack": entry.stack, "status": entry.status, "problems": list(entry.problems), "findings": []}
    subject = entry.subject
    settings = subject.settings
    return {
        "stack": entry.stack,
        "status": entry.status,
        "problems": [],
        "findings": [
            {"id": finding.id, "severity": str(finding.severity), "where": finding.where, "message": finding.message}
            for finding in entry.findings
        ],
        "deployment": {
            "build": str(settings.build),
            "hosts": len(settings.engine_hosts),
            "gpus": settings.hardware.gpus,
            "gpu": None if subject.gpu is None else subject.gpu.id,
            "model": None if subject.architecture is None else subject.architecture.name,
            "tensor_parallel": settings.tensor_parallel,
            "pipeline_parallel": settings.pipeline_parallel,
            "data_parallel": settings.data_parallel,
        },
        "sizing": planned(subject.sizing) or None,
    }

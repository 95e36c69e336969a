"""How the examination of a stack's hosts reads: a table of checks for each host, and one exit status for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from slipway.catalog.types import Check

SURVEYED = "system, roles, Python, disk, memory, ports, firewall, clock and paths"
"""What the host survey looks at."""


class State(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be seen."""
    SKIPPED = "skipped"
    """There was nothing to check on this host."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One check on one host."""

    id: str
    what: str
    severity: str
    state: State
    evidence: tuple[str, ...]
    gpus: tuple[int, ...]
    consequence: str
    mend: str
    limit: float | None = None
    """The one that it was held against, for the host's kind of GPU; None where there is none."""
    unit: str | None = None
    sources: tuple[Mapping[str, Any], ...] = ()
    """As the catalogue has them: figures, source, date."""

    @property
    def weighs(self) -> bool:
        """Whether the host is not to be used for it."""
        return self.state is State.FAILED and self.severity == "critical"


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """What one host answered."""

    host: str
    results: tuple[Result, ...] = ()
    gpus: tuple[Mapping[str, Any], ...] = ()
    """Of each: index, name, uuid, bus_id, memory_mib, ecc, h2d_gb_s and copy_gb_s where they were measured."""
    all_reduce: Mapping[str, Any] = field(default_factory=dict)
    """Where one was made: ranks, gb_s (bus bandwidth), version (of NCCL), error, hangs."""
    driver: str = ""
    cuda: str = ""
    watch: Mapping[str, Any] = field(default_factory=dict)
    """What the host's own watch last found: since when and why engines are out of service."""
    promised: int = 0
    """GPUs that the stack promises."""
    survey: Mapping[str, Any] = field(default_factory=dict)
    """Where the host survey was made, which preflight makes: problems (lines), host (what it is)."""
    error: str | None = None
    """Why it answered nothing."""
    allowance: str | None = None
    """The setting by which an `up` goes on without it; None where it may not be missing."""

    @property
    def well(self) -> bool:
        """Whether it can serve what the stack asks of it."""
        return (
            self.error is None
            and not self.survey.get("problems")
            and not any(result.weighs for result in self.results)
            and not self.watch.get("out")
        )

    @property
    def unknown(self) -> bool:
        """Whether something could not be seen."""
        return any(result.state is State.UNKNOWN for result in self.results)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "well": self.well}


def read(
    host: str, answer: Mapping[str, Any], *, checks: Mapping[str, Check] | None = None, promised: int = 0
) -> HostReport:
    """From what `gpu_host.examine` returned; sources come from the catalogue's `checks`."""
    return HostReport(
        host=host,
        promised=promised,
        results=tuple(
            Result(
                id=each["id"],
                what=each["what"],
                severity=each["severity"],
                state=State(each["state"]),
                evidence=tuple(each["evidence"]),
                gpus=tuple(each["gpus"]),
                consequence=each["consequence"],
                mend=each["mend"],
                limit=each.get("limit"),
                unit=each.get("unit"),
                sources=_sources((checks or {}).get(each["id"])),
            )
            for each in answer["results"]
        ),
        gpus=tuple(answer["gpus"]),
        driver=answer["driver"],
        cuda=answer["cuda"],
        all_reduce=answer.get("all_reduce", {}),
        watch=answer.get("watch", {}),
    )


def lines(report: HostReport) -> Iterator[str]:
    """For people: what the host is, each check in one line, and of each that did not pass what follows and what to do."""
    if report.error is not None:
        goes_on = "" if report.allowance is None else f"; {report.allowance} lets `pulumi up` go on without it"
        yield f"{report.host}: not asked: {report.error}{goes_on}"
        return
    driver = f"driver {report.driver}, CUDA up to {report.cuda}" if report.driver else "no driver"
    if report.promised or report.gpus or not report.survey:
        yield f"{report.host}: {_kinds(report)}; {driver}{_corrected(report)}"
    else:
        yield f"{report.host}: the stack promises no GPUs here, so none is checked"
    width = max(len(name) for name in ("preflight", *(result.id for result in report.results)))
    if report.survey:
        if not report.survey["problems"]:
            yield f"  passed  {'preflight':{width}}  {SURVEYED} are as the stack needs them"
        for problem in report.survey["problems"]:
            yield f"  FAILED  {'preflight':{width}}  {problem}"
    for result in report.results:
        mark = result.state.value
        if result.state is State.FAILED:
            mark = "FAILED" if result.severity == "critical" else "warning"
        said = "; ".join(result.evidence) if result.state is not State.PASSED else result.what
        yield f"  {mark:8}{result.id:{width}}  {said}"
        if result.state is State.FAILED:
            yield f"  {'':8}{'':{width}}  {result.consequence}: {result.mend}"
    for instance, why in report.watch.get("out", {}).items():
        yield f"  out of service: {instance} since {why['since']}: {why['reason']}"


def _sources(check: Check | None) -> tuple[Mapping[str, Any], ...]:
    return () if check is None else tuple(msgspec.to_builtins(check.sources))


def _corrected(report: HostReport) -> str:
    """The state of ECC, where GPUs have it."""
    states = [gpu.get("ecc") for gpu in report.gpus]
    off = [str(number) for number, state in enumerate(states) if state is False]
    if off:
        return f"; ECC off on GPU {', '.join(off)}"
    return "; ECC on" if any(states) else ""


def _kinds(report: HostReport) -> str:
    names = [str(gpu["name"]) for gpu in report.gpus]
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or "no GPU that the driver knows"

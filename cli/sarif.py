"""`slipway check --sarif`: findings as code-review services read them (SARIF 2.1.0, OASIS)."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cli.locations import of_finding, of_judged, of_problem
from cli.stack_report import Report
from policies.registry import by_id
from policies.rule import Level
from slipway import __version__
from slipway.findings import Severity
from slipway.settings.lines import Line
from slipway.settings.load import stack_file

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
_TITLES = {
    "settings": "What the stack's file may say",
    "sizing": "Whether the model fits",
    "compatibility": "Whether engine, GPU, driver and number formats go together",
    "flags": "Whether the engine has its flags and parsers",
    "model": "What the model asks of who serves it",
}
"""By the first part of a finding's id."""
SETTINGS = "settings.refused"


def sarif(reports: list[Report], root: Path) -> str:
    """One run over all stacks, as JSON text."""
    results = [result for report in reports for result in _results(report, root)]
    _fingerprint(results)
    used = dict.fromkeys(result["ruleId"] for result in results)
    driver = {
        "name": "slipway",
        "version": __version__,
        "rules": [_rule(name) for name in used],
    }
    index = {name: number for number, name in enumerate(used)}
    for result in results:
        result["ruleIndex"] = index[result["ruleId"]]
    return json.dumps(
        {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}, indent=2
    )


def _rule(name: str) -> dict[str, Any]:
    rule = by_id().get(name)
    if rule is None:
        title = _TITLES.get(name.partition(".")[0], "A check of Slipway's")
        return {
            "id": name,
            "shortDescription": {"text": f"{title} ({name})."},
            "fullDescription": {"text": f"{title}: {name}, of what `slipway check` computes."},
            "help": {"text": "The message says what follows, and what to do."},
        }
    return {
        "id": rule.id,
        "name": rule.title,
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": f"{rule.title}: {rule.reason}."},
        "help": {"text": f"{rule.mend}. Source: {rule.source}"},
        "helpUri": rule.url,
        "defaultConfiguration": {"level": _level(rule.level)},
        "properties": {"tags": [str(rule.group), f"severity:{rule.severity}"]},
    }


def _results(report: Report, root: Path) -> Iterator[dict[str, Any]]:
    file = str(stack_file(report.stack, root).relative_to(root))
    for problem in report.problems:
        line = of_problem(problem, report.stack, root)
        yield _result(SETTINGS, "error", problem, file=file, line=line, place=problem.partition(": ")[0])
    for problem in report.policy_problems:
        policies, _, said = problem.partition(": ")
        yield _result(SETTINGS, "error", said, file=policies, line=Line(1, 1), place=said.partition(": ")[0])
    for finding in report.findings:
        line = of_finding(finding, report.stack, root)
        yield _result(finding.id, _LEVELS[finding.severity], finding.line, file=file, line=line, place=finding.where)
    # What an exception covers is no finding: services that show SARIF would take it for one all the same.
    for found in report.judgement.violations:
        where = f"{found.resource.name} {found.violation.where}"
        text = f"{found.resource.name}: {found.line}"
        line = of_judged(found, report.stack, root)
        yield _result(found.rule.id, _level(found.level), text, file=file, line=line, place=where)
    for unknown in report.judgement.open:
        where, text = f"{unknown.resource.name} {unknown.where}", f"{unknown.resource.name}: {unknown.line}"
        line = of_judged(unknown, report.stack, root)
        yield _result(unknown.rule.id, "note", text, file=file, line=line, place=where)


def _level(level: Level) -> str:
    return {Level.ADVISORY: "warning", Level.DISABLED: "none"}.get(level, "error")


def _result(rule: str, level: str, text: str, *, file: str, line: Line, place: str) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(file)},
                    "region": {"startLine": line.line, "startColumn": line.column},
                }
            }
        ],
        "place": place,
    }


def _fingerprint(results: list[dict[str, Any]]) -> None:
    """Of what and where, and not of the wording or the line: both move without the finding being another."""
    seen: Counter[str] = Counter()
    for result in results:
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        digest = hashlib.sha256(f"{result['ruleId']}\0{uri}\0{result.pop('place')}".encode()).hexdigest()
        seen[digest] += 1
        # Services know the second key; two findings of one rule at one place are told apart by their number.
        prints = {"slipway/v1": f"{digest}:{seen[digest]}", "primaryLocationLineHash": f"{digest[:16]}:{seen[digest]}"}
        result["partialFingerprints"] = prints

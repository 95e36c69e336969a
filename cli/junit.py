"""`slipway check --junit`: one suite a stack, one case for the settings, each kind of check and each policy."""

import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

from cli.stack_report import Report
from policies.registry import rules
from policies.rule import Level, Rule
from slipway.findings import Severity

KINDS = ("sizing", "compatibility", "driver", "flags", "model")
"""Groups of `slipway.checks`: the first part of a finding's id."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(reports: list[Report], root: Path) -> str:  # noqa: ARG001 -- as every form
    """All stacks, as XML text."""
    top = ET.Element("testsuites", name="slipway check")
    for report in reports:
        _suite(top, report)
    ET.indent(top)
    return ET.tostring(top, encoding="unicode", xml_declaration=True)


def _suite(top: ET.Element, report: Report) -> None:
    suite = ET.SubElement(top, "testsuite", name=report.stack)
    _case(suite, "settings", report.problems)
    if report.deployment is not None:
        for kind in KINDS:
            errors = [
                finding.line
                for finding in report.findings
                if finding.severity is Severity.ERROR and finding.id.startswith(f"{kind}.")
            ]
            _case(suite, kind, errors)
        _case(suite, "policy configuration", report.policy_problems)
        for rule in rules():
            _rule(suite, rule, report)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))


def _rule(suite: ET.Element, rule: Rule, report: Report) -> None:
    """Passed, failed, or skipped: where it was not asked, where it could not be, and where an exception covers what it found."""
    judgement = report.judgement
    found = [one for one in judgement.violations if one.rule.id == rule.id]
    said = [f"{one.resource.name}: {one.line}" for one in found]
    failing = [text for one, text in zip(found, said, strict=True) if one.level is not Level.ADVISORY]
    excepted = [one.exception for one in judgement.excepted if one.rule.id == rule.id and one.exception is not None]
    open_ = [f"{one.resource.name}: {one.line}" for one in judgement.open if one.rule.id == rule.id]
    reasons = [f"excepted until {one.expires}, {one.owner}: {one.reason}" for one in excepted] + open_
    if report.policy_problems:
        reasons = ["not asked: the policy configuration was refused"]
    elif report.configuration.level(rule) is Level.DISABLED:
        reasons = ["disabled"]
    _case(suite, rule.id, failing, [text for text in said if text not in failing], "; ".join(reasons))


def _case(suite: ET.Element, name: str, failures: Iterable[str], advice: Iterable[str] = (), skipped: str = "") -> None:
    case = ET.SubElement(suite, "testcase", classname=f"slipway.{suite.get('name')}", name=name)
    if failing := list(failures):
        failure = ET.SubElement(case, "failure", message=_text(failing[0]), type="violation")
        failure.text = _text("\n".join(failing))
    elif skipped:
        ET.SubElement(case, "skipped", message=_text(skipped))
    if advised := list(advice):
        ET.SubElement(case, "system-out").text = _text("\n".join(advised))


def _text(text: str) -> str:
    """Without the characters that XML can't carry."""
    return _NOT_XML.sub("?", text)

"""`slipway check --junit`: one suite a stack, one case for the settings, each kind of check and each policy."""

import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

from policies.registry import rules
from policies.rule import Level
from slipway.checks import Severity
from slipway.cli.stack_report import Report

KINDS = ("sizing", "compatibility", "flags", "model")
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
    if report.subject is not None:
        for kind in KINDS:
            errors = [
                finding.line
                for finding in report.findings
                if finding.severity is Severity.ERROR and finding.id.startswith(f"{kind}.")
            ]
            _case(suite, kind, errors)
        _case(suite, "policy configuration", report.policy_problems)
        for rule in rules():
            found = [one for one in report.judgement.violations if one.rule.id == rule.id]
            failing = [f"{one.resource.name}: {one.line}" for one in found if one.level is not Level.ADVISORY]
            advice = [f"{one.resource.name}: {one.line}" for one in found if one.level is Level.ADVISORY]
            _case(suite, rule.id, failing, advice)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))


def _case(suite: ET.Element, name: str, failures: Iterable[str], advice: Iterable[str] = ()) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"slipway.{suite.get('name')}", name=name)
    if failing := list(failures):
        failure = ET.SubElement(case, "failure", message=_text(failing[0]), type="violation")
        failure.text = _text("\n".join(failing))
    if advised := list(advice):
        ET.SubElement(case, "system-out").text = _text("\n".join(advised))


def _text(text: str) -> str:
    """Without the characters that XML can't carry."""
    return _NOT_XML.sub("?", text)

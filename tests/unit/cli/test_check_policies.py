"""What `slipway check` says of policies, in each of its forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from sarif_pydantic import Sarif

from cli.check import Form, check_stacks
from cli.errors import UserError
from policies.registry import rules
from tests.unit.deployment.stacks import stack
from tests.unit.settings.documents import GOOD_KEY, changed

FINE = changed(stack(("pools.main.gpu", "l4")), "gateway.teams.a.key", {"env": "SLIPWAY_KEY_A"})
CODE = changed(FINE, "models.m.trust_remote_code", True)
CLEAR = changed(FINE, "gateway.teams.a.key", GOOD_KEY)
EXCEPTION = {
    "resource": "platform",
    "reason": "that code was read, at this revision",
    "owner": "ml-platform",
    "expires": "2099-12-31",
}
EXPIRED = {**EXCEPTION, "expires": "2020-01-31"}


def checkout(folder: Path, policies: dict[str, Any] | None = None, **documents: Any) -> Path:
    """A checkout with these stacks, and a policy configuration for `a`."""
    (folder / "stacks").mkdir()
    for name, document in documents.items():
        text = yaml.safe_dump({"config": {"slipway:platform": document}}, sort_keys=False)
        (folder / f"stacks/Pulumi.{name}.yaml").write_text(text)
    if policies is not None:
        (folder / "policies/config").mkdir(parents=True)
        (folder / "policies/config/a.json").write_text(json.dumps(policies))
    return folder


def ended(root: Path, form: Form = Form.JSON) -> int:
    """The exit status."""
    try:
        check_stacks([], form=form, root=root)
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code
    return 0


STATUS: dict[str, tuple[dict[str, Any], dict[str, Any] | None, int, list[tuple[str, str, bool]]]] = {
    "nothing is violated": (FINE, None, 0, []),
    "mandatory": (CODE, None, 1, [("trust-remote-code", "mandatory", False)]),
    "advisory": (CODE, {"trust-remote-code": "advisory"}, 0, [("trust-remote-code", "advisory", False)]),
    "disabled": (CODE, {"trust-remote-code": "disabled"}, 0, []),
    "remediate": (CODE, {"trust-remote-code": "remediate"}, 1, [("trust-remote-code", "remediate", False)]),
    "all": (CODE, {"all": "advisory"}, 0, [("trust-remote-code", "advisory", False)]),
    "an exception": (
        CODE,
        {"trust-remote-code": {"exceptions": [EXCEPTION]}},
        0,
        [("trust-remote-code", "mandatory", True)],
    ),
    "an expired exception": (
        CODE,
        {"trust-remote-code": {"exceptions": [EXPIRED]}},
        1,
        [("policy-exceptions", "mandatory", False), ("trust-remote-code", "mandatory", False)],
    ),
    "a key in clear": (CLEAR, None, 1, [("secrets-in-clear", "mandatory", False)]),
    "no such rule": (FINE, {"trust-remote": "mandatory"}, 2, []),
}


@pytest.mark.parametrize("case", STATUS)
def test_status(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    document, policies, status, told = STATUS[case]
    assert ended(checkout(tmp_path, policies, a=document)) == status
    (entry,) = json.loads(capsys.readouterr().out)["stacks"]
    assert entry["status"] == status
    assert sorted((one["id"], one["level"], one["exception"] is not None) for one in entry["policies"]) == told
    assert bool(entry["problems"]) is (status == 2)


@pytest.mark.parametrize("form", list(Form))
def test_a_key_in_clear_is_shown_in_no_form(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: Form) -> None:
    assert ended(checkout(tmp_path, a=CLEAR), form) == 1
    output = capsys.readouterr().out
    assert GOOD_KEY not in output
    assert "gateway.teams.a.key" in output


def test_what_a_person_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = {"trust-remote-code": {"exceptions": [EXCEPTION]}}
    ended(checkout(tmp_path, policies, a=CODE, b=CODE, c=CLEAR), Form.TEXT)
    lines = capsys.readouterr().out.splitlines()
    assert "a: fits" in lines
    assert any(
        line.startswith("  excepted  trust-remote-code: platform: until 2099-12-31, ml-platform: ") for line in lines
    )
    assert "b: violates mandatory policies" in lines
    assert any(line.startswith("  mandatory trust-remote-code: platform: ") for line in lines)
    assert any(line.startswith("  mandatory secrets-in-clear: platform: ") for line in lines)


def test_a_refused_configuration_says_what_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended(checkout(tmp_path, {"trust-remote": "mandatory"}, a=FINE), Form.TEXT)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a: policy configuration refused"
    assert any(
        line.startswith("  error     policies/config/a.json: trust-remote: there is no such rule;")
        and line.endswith("did you mean trust-remote-code?")
        for line in lines
    )


def test_sarif_is_what_the_standards_own_model_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = {"trust-remote-code": {"exceptions": [EXCEPTION]}}
    ended(checkout(tmp_path, policies, a=CODE, b=CODE), Form.SARIF)
    text = capsys.readouterr().out
    (run,) = Sarif.model_validate_json(text).runs
    results = [one for one in run.results or [] if one.rule_id == "trust-remote-code"]
    # What an exception covers is not among them.
    (b,) = results
    raw = json.loads(text)["runs"][0]
    assert all(raw["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"] for one in raw["results"])
    for rule in raw["tool"]["driver"]["rules"]:
        assert {"id", "shortDescription", "fullDescription", "help"} <= rule.keys()
    # A line that a reviewer can be shown.
    (location,) = b.locations or []
    place = location.physical_location
    assert place is not None
    assert place.artifact_location is not None
    assert place.artifact_location.uri == "stacks/Pulumi.b.yaml"
    assert place.region is not None
    file = (tmp_path / "stacks/Pulumi.b.yaml").read_text().splitlines()
    assert "trust_remote_code: true" in file[(place.region.start_line or 0) - 1]


def test_fingerprints_outlive_a_moved_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else a reviewer's answer to a finding is lost with every line above it."""
    root = checkout(tmp_path, a=CODE)

    def prints() -> dict[str, str]:
        ended(root, Form.SARIF)
        results = json.loads(capsys.readouterr().out)["runs"][0]["results"]
        return {one["ruleId"]: one["partialFingerprints"]["slipway/v1"] for one in results}

    before = prints()
    file = root / "stacks/Pulumi.a.yaml"
    file.write_text("# moved\n\n" + file.read_text())
    assert prints() == before
    assert len(set(before.values())) == len(before)


def test_junit_has_a_case_for_every_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended(checkout(tmp_path, {"trust-remote-code": "advisory"}, a=CODE, b=CODE), Form.JUNIT)
    top = ET.fromstring(capsys.readouterr().out)  # noqa: S314 -- our own
    a, b = top.findall("testsuite")
    for suite, failures in ((a, []), (b, ["trust-remote-code"])):
        names = [case.get("name") for case in suite.findall("testcase")]
        assert {rule.id for rule in rules()} < set(names)
        assert len(names) == len(set(names)) == int(suite.get("tests", "0"))
        failed = [case.get("name") for case in suite.findall("testcase") if case.find("failure") is not None]
        assert failed == failures
        assert int(suite.get("failures", "0")) == len(failures)
    skipped = {case.get("name"): case.find("skipped") for case in a.findall("testcase")}
    assert not [name for name, why in skipped.items() if why is not None]
    (advised,) = [case for case in a.findall("testcase") if case.find("system-out") is not None]
    assert advised.get("name") == "trust-remote-code"


@pytest.mark.parametrize(
    ("policies", "why"),
    [
        (
            {"trust-remote-code": {"exceptions": [EXCEPTION]}},
            "excepted until 2099-12-31, ml-platform: that code was read",
        ),
        ({"trust-remote-code": "disabled"}, "disabled"),
        ({"trust-remote": "mandatory"}, "not asked: the policy configuration was refused"),
    ],
)
def test_junit_calls_nothing_passed_that_was_not_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policies: dict[str, Any], why: str
) -> None:
    ended(checkout(tmp_path, policies, a=CODE), Form.JUNIT)
    (suite,) = ET.fromstring(capsys.readouterr().out).findall("testsuite")  # noqa: S314 -- our own
    (case,) = [case for case in suite.findall("testcase") if case.get("name") == "trust-remote-code"]
    skipped = case.find("skipped")
    assert skipped is not None
    assert (skipped.get("message") or "").startswith(why)
    assert int(suite.get("skipped", "0")) >= 1


def test_what_is_encrypted_where_no_secret_is_kept_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its value would stand in clear in the state; the program refuses the same."""
    document = changed(FINE, "models.m.engine.environment", {"MY_PASSWORD": {"secure": "v1:abc"}})
    assert ended(checkout(tmp_path, a=document), Form.TEXT) == 2
    said = capsys.readouterr().out
    assert "slipway:platform.models.m.engine.environment.MY_PASSWORD: is encrypted, and no secret is kept there" in said


@pytest.mark.parametrize("text", ["2026-02-30", "0b_", "[" * 5000])
def test_yaml_that_python_chokes_on_is_a_users_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    root = checkout(tmp_path, a=FINE)
    (root / "stacks/Pulumi.a.yaml").write_text(f"config:\n  x: {text}\n")
    assert ended(root, Form.TEXT) == 2
    assert "not valid YAML" in capsys.readouterr().out


def test_a_stacks_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be a stack's name"):
        check_stacks(["a\0b"], root=checkout(tmp_path, a=FINE))

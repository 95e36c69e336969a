"""Every rule against its pass list and its fail list, and its metadata."""

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from policies.registry import by_id, rules
from policies.rule import Rule
from tests.unit.policies.cases import FOLDER, Case, cases_of

IDS = [rule.id for rule in rules()]
CASES = [case for rule in IDS if (FOLDER / f"{rule}.yaml").is_file() for case in cases_of(rule)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case) -> None:
    assert case.problem(by_id()[case.rule]) is None


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_metadata(rule: Rule, root: Path) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", rule.id)
    assert (root / f"policies/rules/{rule.id.replace('-', '_')}.py").is_file()
    assert rule.title[0].isupper()
    for clause in (rule.reason, rule.mend):
        assert clause
        assert not clause.endswith(".")
        assert clause[0].islower() or clause.split()[0].isupper() or not clause[0].isalpha() or "IMDS" in clause
    assert not rule.title.endswith(".")
    assert len(rule.source) > 10
    assert rule.url.startswith("https://")
    assert rule.types
    for name, schema in rule.parameters.items():
        assert re.fullmatch(r"[a-z][A-Za-z]*", name)
        assert schema["description"].endswith(".")
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(schema["default"])


def test_ids_are_distinct() -> None:
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("rule", IDS)
def test_every_rule_has_a_pass_list_and_a_fail_list(rule: str) -> None:
    kinds = [case.kind for case in cases_of(rule)]
    assert kinds.count("passes") >= 2
    assert kinds.count("fails") >= 1


def test_no_case_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(IDS)

"""The documents about policies say what is so."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from policies.configuration import configuration_schema, parse_configuration, read_configuration
from policies.reference import reference
from policies.registry import by_id, rules
from slipway.settings.load import stack_names


def test_the_reference_is_current(root: Path) -> None:
    assert (root / "docs/reference/policies.md").read_text(encoding="utf-8") == reference(), "make docs"


def test_the_schema_is_current_and_a_schema(root: Path) -> None:
    text = (root / "docs/reference/policy-config.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == configuration_schema(), "make docs"
    Draft202012Validator.check_schema(configuration_schema())


def test_every_rule_has_a_section_that_the_table_leads_to(root: Path) -> None:
    text = (root / "docs/reference/policies.md").read_text(encoding="utf-8")
    for rule in rules():
        assert f"[`{rule.id}`](#{rule.id})" in text
        assert f"\n### {rule.id}\n" in text
        assert rule.url in text


def test_the_example_of_a_configuration_is_one(root: Path) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", (root / "docs/policies.md").read_text(encoding="utf-8"), re.DOTALL)
    assert parse_configuration(json.loads(example), "docs/policies.md").exceptions


def test_rules_and_parameters_that_the_page_names_exist(root: Path) -> None:
    text = (root / "docs/policies.md").read_text(encoding="utf-8")
    for rule, parameter in re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+): (\w+)`", text):
        if rule != "scope":
            assert parameter in by_id()[rule].parameters, (rule, parameter)


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[3] / "policies/config").glob("*.json")), ids=lambda f: f.stem
)
def test_our_own_configurations_are_read_and_are_of_a_stack(root: Path, file: Path) -> None:
    assert file.stem in stack_names(root)
    read_configuration(file.stem, root)

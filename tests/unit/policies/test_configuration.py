"""What a stack asks of the pack: read, checked, and refused with every mistake."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from policies.configuration import (
    ALL,
    Configuration,
    ConfigurationError,
    configuration_file,
    configuration_schema,
    parse_configuration,
    read_configuration,
)
from policies.registry import by_id, rules
from policies.rule import Level

EXCEPTION = {"resource": "gpu-1", "reason": "its agent knows IMDSv1 only", "owner": "ml", "expires": "2027-01-31"}


def problems(document: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        parse_configuration(document, "policies/config/prod.json")
    return refused.value.problems


def written(root: Path, text: str) -> Path:
    file = configuration_file("prod", root)
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return root


def test_nothing_asked_is_the_rules_own() -> None:
    configuration = parse_configuration({}, "here")
    for rule in rules():
        assert configuration.level(rule) is rule.level
        assert configuration.parameters(rule) == rule.defaults


def test_levels_of_one_and_of_all() -> None:
    configuration = parse_configuration({"all": "advisory", "log-retention": "mandatory"}, "here")
    assert configuration.level(by_id()["log-retention"]) is Level.MANDATORY
    assert configuration.level(by_id()["backups"]) is Level.ADVISORY


def test_a_map_may_hold_all_three() -> None:
    document = {"log-retention": {"enforcementLevel": "disabled", "minDays": 180, "exceptions": [EXCEPTION]}}
    configuration = parse_configuration(document, "here")
    rule = by_id()["log-retention"]
    assert configuration.level(rule) is Level.DISABLED
    assert configuration.parameters(rule) == {"minDays": 180, "maxDays": 400}
    (exception,) = configuration.exceptions
    assert (exception.rule, exception.where) == ("log-retention", None)
    assert exception.expires == dt.date(2027, 1, 31)


def test_without_a_map_for_it_a_level_stays_the_rules_own() -> None:
    configuration = parse_configuration({"log-retention": {"minDays": 180}}, "here")
    assert configuration.level(by_id()["log-retention"]) is Level.MANDATORY


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {"log-retenton": "advisory"},
            "log-retenton: there is no such rule; nothing would be judged by it: did you mean log-retention?",
        ),
        (
            {"zzz": "advisory"},
            "zzz: there is no such rule; nothing would be judged by it: `slipway policies list` shows them all",
        ),
        (
            {"log-retention": {"minDay": 30}},
            "log-retention: has no 'minDay'; it would not be heeded: did you mean minDays?",
        ),
        (
            {"aws-imdsv2": {"zzz": 30}},
            "aws-imdsv2: has no 'zzz'; it would not be heeded: there are enforcementLevel, exceptions",
        ),
        (
            {"log-retention": {"minDays": "30"}},
            "log-retention.minDays: '30' is not of type 'integer'; it would not be heeded: correct it",
        ),
        (
            {"log-retention": {"minDays": True}},
            "log-retention.minDays: True is not of type 'integer'; it would not be heeded: correct it",
        ),
        (
            {"required-tags": {"tags": ["owner", 3]}},
            "required-tags.tags[1]: 3 is not of type 'string'; it would not be heeded: correct it",
        ),
        (
            {"log-retention": "warn"},
            "log-retention: 'warn' is not one of ['mandatory', 'advisory', 'remediate', 'disabled']; it would not be heeded: "
            "correct it",
        ),
        (
            {"all": "warn"},
            "all: 'warn' is not one of ['mandatory', 'advisory', 'remediate', 'disabled']; it would not be heeded: "
            "correct it",
        ),
        (
            {"log-retention": {"enforcementLevel": "warn"}},
            "log-retention.enforcementLevel: 'warn' is not one of ['mandatory', 'advisory', 'remediate', 'disabled']; "
            "it would not be heeded: correct it",
        ),
        (
            {"log-retention": None},
            "log-retention: None is not one of ['mandatory', 'advisory', 'remediate', 'disabled']; it would not be heeded: "
            "correct it",
        ),
        (
            {"log-retention": {"exceptions": "gpu-1"}},
            "log-retention.exceptions: 'gpu-1' is not of type 'array'; it would not be heeded: correct it",
        ),
        (
            {"log-retention": {"exceptions": ["gpu-1"]}},
            "log-retention.exceptions[0]: 'gpu-1' is not of type 'object'; it would not be heeded: correct it",
        ),
    ],
)
def test_one_mistake_is_one_line(document: dict[str, Any], said: str) -> None:
    assert problems(document) == [said]


@pytest.mark.parametrize("key", ["resource", "reason", "owner", "expires"])
def test_an_exception_must_say_everything(key: str) -> None:
    partial = {name: value for name, value in EXCEPTION.items() if name != key}
    assert problems({"aws-imdsv2": {"exceptions": [EXCEPTION, partial]}}) == [
        f"aws-imdsv2.exceptions[1]: {key!r} is a required property; it would not be heeded: correct it"
    ]


@pytest.mark.parametrize(
    ("expires", "said"),
    [
        ("31.01.2027", "'31.01.2027' is no day; the exception would never end: write it as 2027-01-31"),
        ("2027-13-01", "'2027-13-01' is no day; the exception would never end: write it as 2027-01-31"),
        ("2027-W04-7", "'2027-W04-7' is no day; the exception would never end: write it as 2027-01-31"),
        ("never", "'never' is no day; the exception would never end: write it as 2027-01-31"),
        ("2027-02-29", "'2027-02-29' is in no calendar; the exception would never end: correct it"),
        ("2027-01-31\n", "'2027-01-31\\n' is in no calendar; the exception would never end: correct it"),
        (20270131, "20270131 is not of type 'string'; it would not be heeded: correct it"),
        (None, "None is not of type 'string'; it would not be heeded: correct it"),
    ],
)
def test_a_day_that_is_none(expires: object, said: str) -> None:
    document = {"aws-imdsv2": {"exceptions": [EXCEPTION | {"expires": expires}]}}
    assert problems(document) == [f"aws-imdsv2.exceptions[0].expires: {said}"]


def test_every_mistake_is_told_at_once() -> None:
    document = {
        "aws-imdsv2": {"exceptions": [{"resource": "gpu-1", "why": "because it is so"}]},
        "log-retention": {"minDays": 0, "maxDay": 3, "enforcementLevel": "warn"},
    }
    found = problems(document)
    assert len(found) == 7
    assert sum(line.startswith("aws-imdsv2.exceptions[0]: ") for line in found) == 4


def test_the_error_names_the_file() -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_configuration({"all": "warn"}, "policies/config/prod.json")
    head, line = str(refused.value).splitlines()
    assert head == "policies/config/prod.json: 1 mistake(s) in the policy configuration; no rule was asked"
    assert line.startswith("  all: ")


def test_no_file_asks_nothing(tmp_path: Path) -> None:
    assert read_configuration("prod", tmp_path) == Configuration()


def test_a_file_is_read(tmp_path: Path) -> None:
    root = written(tmp_path, '{"all": "advisory"}')
    assert read_configuration("prod", root).levels == {ALL: Level.ADVISORY}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"all": "advisory",\n}', "line 2: is no JSON text: correct it"),
        ("[]", "is no map from rules to what is asked of them: correct it"),
        (
            '{"backups": "advisory", "backups": "disabled"}',
            "backups stands twice in one map; one of them would not be heeded: keep one",
        ),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    root = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        read_configuration("prod", root)
    assert refused.value.problems == [said]
    assert refused.value.source == "policies/config/prod.json"


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    file = configuration_file("prod", written(tmp_path, ""))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is no JSON text"):
        read_configuration("prod", tmp_path)


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    configuration_file("prod", tmp_path).mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="can't be read"):
        read_configuration("prod", tmp_path)


def test_the_schema_is_one_and_names_every_rule_and_parameter() -> None:
    schema = configuration_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["properties"].keys() == {ALL, *by_id()}
    for rule in rules():
        level, whole = schema["properties"][rule.id]["oneOf"]
        assert level["enum"] == ["mandatory", "advisory", "remediate", "disabled"]
        assert whole["properties"].keys() == {"enforcementLevel", "exceptions", *rule.parameters}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"all": "advisory"},
        {"log-retention": "disabled", "required-tags": {"tags": ["owner"], "enforcementLevel": "remediate"}},
        {"aws-imdsv2": {"exceptions": [EXCEPTION, EXCEPTION | {"where": "metadataOptions.*"}]}},
        {"log-retention": {"minDays": "30"}},
        {"log-retention": {"zzz": 1}},
        {"zzz": "advisory"},
        {"aws-imdsv2": {"exceptions": [EXCEPTION | {"expires": "never"}]}},
        {"aws-imdsv2": {"exceptions": [EXCEPTION | {"reason": "short"}]}},
        {"aws-imdsv2": 3},
    ],
)
def test_the_schema_and_the_reader_agree(document: dict[str, Any]) -> None:
    valid = Draft202012Validator(configuration_schema()).is_valid(document)
    try:
        parse_configuration(document, "here")
    except ConfigurationError:
        assert not valid
    else:
        assert valid

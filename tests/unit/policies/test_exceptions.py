"""Exceptions: what they cover, and until when."""

import datetime as dt
from typing import Any

import pytest

from policies.configuration import parse_configuration
from policies.judge import Judgement, judge, judge_resource
from policies.resources import STACK, Resource, Stack
from policies.rule import PolicyException, Violation

TODAY = dt.date(2026, 11, 25)
INSTANCE = Resource.plain(
    "aws:ec2/instance:Instance", "gpu-1", {"metadataOptions": {"httpTokens": "optional"}, "tags": {"owner": "ml"}}
)
ENTRY = {"resource": "gpu-1", "reason": "its agent knows IMDSv1 only", "owner": "ml", "expires": "2026-11-25"}


def judged(today: dt.date = TODAY, **entry: Any) -> Judgement:
    configuration = parse_configuration(
        {"all": "disabled", "aws-imdsv2": {"enforcementLevel": "mandatory", "exceptions": [ENTRY | entry]}}, "here"
    )
    return judge_resource(INSTANCE, Stack(), configuration, today)


def exception(resource: str = "*", where: str | None = None) -> PolicyException:
    return PolicyException(rule="r", resource=resource, where=where, reason="because", owner="ml", expires=TODAY)


def test_in_force_it_covers_the_violation_and_is_told() -> None:
    judgement = judged()
    assert judgement.violations == ()
    (found,) = judgement.excepted
    assert found.rule.id == "aws-imdsv2"
    assert found.exception is not None
    assert found.exception.owner == "ml"


@pytest.mark.parametrize(("days", "covered"), [(-1, True), (0, True), (1, False)])
def test_its_last_day_is_one_of_its_days(days: int, covered: bool) -> None:
    judgement = judged(today=TODAY + dt.timedelta(days=days))
    assert (len(judgement.excepted), len(judgement.violations)) == ((1, 0) if covered else (0, 1))


def test_expired_it_covers_nothing_and_is_a_violation_itself() -> None:
    root = Resource.plain(STACK, "project-prod", {})
    configuration = parse_configuration({"aws-imdsv2": {"exceptions": [ENTRY]}}, "here")
    judgement = judge(Stack(resources=(root, INSTANCE)), configuration, TODAY + dt.timedelta(days=1))
    told = {found.rule.id: found.violation.where for found in judgement.violations}
    assert told["aws-imdsv2"] == "metadataOptions.httpTokens"
    assert told["policy-exceptions"] == "aws-imdsv2.exceptions[0]"


def test_it_is_one_rule_s_only() -> None:
    configuration = parse_configuration({"log-retention": {"exceptions": [ENTRY | {"resource": "*"}]}}, "here")
    judgement = judge_resource(INSTANCE, Stack(), configuration, TODAY)
    assert "aws-imdsv2" in {found.rule.id for found in judgement.violations}


@pytest.mark.parametrize("resource", ["gpu-1", "gpu-?", "gpu-*", "*", INSTANCE.urn, "urn:pulumi:*::gpu-1"])
def test_resources_by_name_urn_and_pattern(resource: str) -> None:
    assert judged(resource=resource).violations == ()


@pytest.mark.parametrize("resource", ["gpu", "GPU-1", "gpu-??", "gpu-[0-9]", "gpu-2", "u-1"])
def test_other_resources(resource: str) -> None:
    assert len(judged(resource=resource).violations) == 1


@pytest.mark.parametrize(
    ("where", "path", "covered"),
    [
        (None, "spec.template.spec.containers[0].image", True),
        (None, "", True),
        ("*", "", True),
        ("spec.template.spec.containers[0].image", "spec.template.spec.containers[0].image", True),
        ("spec.template.spec.containers[?].image", "spec.template.spec.containers[7].image", True),
        ("spec.template.spec.containers[*].*", "spec.template.spec.containers[12].args", True),
        ('metadata.labels["app.kubernetes.io/name"]', 'metadata.labels["app.kubernetes.io/name"]', True),
        # Brackets are no class of characters.
        ("containers[01].image", "containers0.image", False),
        ("containers[01].image", "containers[0].image", False),
        ("spec.template.spec.containers[1].image", "spec.template.spec.containers[0].image", False),
        ("spec", "spec.replicas", False),
        ("spec.replicas", "", False),
    ],
)
def test_places(where: str | None, path: str, covered: bool) -> None:
    found = Violation(where=path, value="", what="so it is")
    assert exception(where=where).covers(INSTANCE, found) is covered


def test_of_several_the_one_in_force_counts() -> None:
    over = ENTRY | {"expires": "2025-01-31", "owner": "gone"}
    configuration = parse_configuration({"aws-imdsv2": {"exceptions": [over, ENTRY]}}, "here")
    (found,) = [
        each
        for each in judge_resource(INSTANCE, Stack(), configuration, TODAY).excepted
        if each.rule.id == "aws-imdsv2"
    ]
    assert found.exception is not None
    assert found.exception.owner == "ml"

"""Tags that a remediation adds."""

from typing import Any

import pytest

from policies.node import UNKNOWN, Node
from policies.readers.aws.tags import added, is_scratch, missing
from policies.resources import Provider, Resource
from policies.rule import Change

WANTED = ["owner", "cost-centre", "stage"]
VALUES = {"owner": "ml-platform", "stage": "test"}


def test_missing_tags_with_a_value_are_added() -> None:
    instance = Resource.plain("aws:ec2/instance:Instance", "gpu", {"tags": {"Owner": "jane"}})
    assert list(added(instance, WANTED, VALUES)) == [Change(("tags", "stage"), "test")]


@pytest.mark.parametrize("tags", [None, []])
def test_the_list_of_an_auto_scaling_group_is_left_alone(tags: list[object] | None) -> None:
    group = Resource.plain("aws:autoscaling/group:Group", "gpus", {"tags": tags})
    assert list(added(group, WANTED, VALUES)) == []


GROUP, MACHINE = "aws:autoscaling/group:Group", "aws:ec2/instance:Instance"


@pytest.mark.parametrize(
    ("kind", "tags", "defaults", "lacks"),
    [
        (MACHINE, {"Owner": "a", "stage": UNKNOWN}, {}, ["cost-centre"]),
        (MACHINE, {"owner": "", "stage": None}, {"cost-centre": ""}, WANTED),
        (MACHINE, {"owner": "a"}, {"STAGE": "test", "cost-centre": UNKNOWN}, []),
        (MACHINE, None, None, WANTED),
        (GROUP, [{"key": "Owner", "value": "a"}, {"key": "stage", "value": UNKNOWN}], {}, ["cost-centre"]),
        (GROUP, [{"key": "owner", "value": ""}], {"owner": "a", "stage": "b"}, WANTED),
    ],
)
def test_tags_that_are_missing(kind: str, tags: Any, defaults: Any, lacks: list[str]) -> None:
    provider = Provider("pulumi:providers:aws", "p", Node({"defaultTags": {"tags": defaults}}))
    assert missing(Resource.plain(kind, "it", {"tags": tags}, provider=provider), WANTED) == lacks


def test_without_a_provider_only_its_own_count() -> None:
    assert missing(Resource.plain(MACHINE, "it", {"tags": {"owner": "a"}}), WANTED) == ["cost-centre", "stage"]


@pytest.mark.parametrize(
    ("tags", "scratch"),
    [
        ({"scratch": "true"}, True),
        ({"Scratch": "True"}, True),
        ({"scratch": True}, True),
        ({"scratch": "false"}, False),
        ({"scratch": ""}, False),
        ({"other": "true", "more": UNKNOWN}, False),
        ({}, False),
    ],
)
def test_what_may_go_says_so(tags: dict[str, Any], scratch: bool) -> None:
    assert is_scratch(Resource.plain(MACHINE, "it", {"tags": tags}), "scratch") is scratch

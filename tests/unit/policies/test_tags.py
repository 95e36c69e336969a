"""Tags that a remediation adds."""

import pytest

from policies.resources import Resource
from policies.rule import Change
from policies.subjects.tags import added

WANTED = ["owner", "cost-centre", "stage"]
VALUES = {"owner": "ml-platform", "stage": "test"}


def test_missing_tags_with_a_value_are_added() -> None:
    instance = Resource.plain("aws:ec2/instance:Instance", "gpu", {"tags": {"Owner": "jane"}})
    assert list(added(instance, WANTED, VALUES)) == [Change(("tags", "stage"), "test")]


@pytest.mark.parametrize("tags", [None, []])
def test_the_list_of_an_auto_scaling_group_is_left_alone(tags: list[object] | None) -> None:
    group = Resource.plain("aws:autoscaling/group:Group", "gpus", {"tags": tags})
    assert list(added(group, WANTED, VALUES)) == []

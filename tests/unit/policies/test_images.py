"""Images, wherever a resource names one."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN
from policies.readers.images import images
from policies.resources import Resource


@pytest.mark.parametrize(
    ("kind", "inputs", "found"),
    [
        (
            "kubernetes:core/v1:Pod",
            {
                "spec": {
                    "initContainers": [{"image": "a:1"}],
                    "containers": [{"image": "b:1"}, {"image": ""}, {"name": "c"}, {"image": UNKNOWN}],
                    "volumes": [{"image": {"reference": "d:1"}}, {"emptyDir": {}}],
                }
            },
            ["a:1", "b:1", UNKNOWN, "d:1"],
        ),
        ("kubernetes:helm.sh/v3:Release", {"spec": {"containers": [{"image": "a:1"}]}}, []),
        ("aws:ecs/taskDefinition:TaskDefinition", {"containerDefinitions": '[{"image": "a:1"}, {}]'}, ["a:1"]),
        ("aws:lambda/function:Function", {"imageUri": "a:1", "image": "b:1"}, ["a:1"]),
        ("aws:lambda/function:Function", {"runtime": "python3.12"}, []),
        (
            "aws:sagemaker/model:Model",
            {"primaryContainer": {"image": "a:1"}, "containers": [{"image": "b:1"}], "image": "c:1"},
            ["a:1", "b:1"],
        ),
        ("aws:batch/jobDefinition:JobDefinition", {"containerProperties": '{"image": "a:1"}'}, ["a:1"]),
        ("aws:ec2/instance:Instance", {"userData": "#!/bin/sh\ndocker run a:1"}, ["a:1"]),
        ("aws:s3/bucket:Bucket", {"image": "a:1", "imageUri": "b:1"}, []),
    ],
)
def test_images_of_a_resource(kind: str, inputs: dict[str, Any], found: list[Any]) -> None:
    assert [node.data for node in images(Resource.plain(kind, "it", inputs))] == found

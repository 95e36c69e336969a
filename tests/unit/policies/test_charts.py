"""What the values of a Helm chart say of images, flags and privileges."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Secret, UnknownValueError
from policies.readers.kubernetes.charts import RELEASE, images, switches, trusting
from policies.resources import Resource

DIGEST = "sha256:" + "a" * 64


def release(values: Any, kind: str = RELEASE) -> Resource:
    return Resource.plain(kind, "it", {"chart": "./c", "values": values})


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"image": "a/b:v1", "sidecarImage": "host:5000/a:v1"}, ["a/b:v1", "host:5000/a:v1"]),
        ({"address": "redis:6379", "image": "a/b", "otherImage": 1}, []),
        ({"image": {"repository": "a/b", "tag": "v1"}}, ["a/b:v1"]),
        ({"image": {"registry": "host/", "repository": "/a/b", "tag": 1.2}}, ["host/a/b:1.2"]),
        ({"image": {"repository": "a/b", "tag": "v1", "digest": DIGEST}}, [f"a/b:v1@{DIGEST}"]),
        ({"image": {"repository": "a/b", "tag": "v1", "digest": ""}}, ["a/b:v1"]),
        ({"image": {"repository": "a/b", "tag": "v1", "digest": None}}, ["a/b:v1"]),
        ({"image": {"tag": "latest"}}, ["the chart's image:latest"]),
        ({"image": {"repository": "a/b", "version": "v1"}}, ["a/b:v1"]),
        ({"driver": {"repository": "a/b", "image": "c", "imageTag": "v1"}}, ["a/b/c:v1"]),
        ({"image": {"version": "v1"}, "image2": {"repository": "a/b"}, "chart": {"name": "c", "version": "v1"}}, []),
        ({"image": {"repository": "a/b", "tag": ""}, "otherImage": {"name": {"x": 1}, "tag": "v1"}}, []),
        ({"all": [{"repository": "a/b", "tag": "v1"}, {"image": "c:v1"}, "d:v1"]}, ["a/b:v1", "c:v1"]),
        ({"image": UNKNOWN, "address": UNKNOWN}, [UNKNOWN]),
        ({"image": {"repository": UNKNOWN, "tag": "v1"}}, [UNKNOWN]),
        ({"image": {"repository": "a/b", "tag": "v1", "digest": UNKNOWN}}, [UNKNOWN]),
    ],
)
def test_images_are_named_in_many_ways(values: Any, found: list[Any]) -> None:
    assert [node.raw for node in images(release(values))] == found


def test_a_part_that_is_secret_hides_the_image() -> None:
    (one,) = images(release({"image": {"repository": Secret("a/b"), "tag": "v1"}}))
    assert (one.raw, one.path) == (Secret("a/b:v1"), "values.image.tag")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"trustRemoteCode": True}, ["values.trustRemoteCode"]),
        ({"vllm": {"trust_remote_code": "true"}}, ["values.vllm.trust_remote_code"]),
        ({"trustRemoteCode": False, "debug": True}, []),
        ({"extraArgs": ["--port", "1", "--trust-remote-code"]}, ["values.extraArgs[2]"]),
        ({"extraArgs": ["--port", UNKNOWN]}, ["values.extraArgs[1]"]),
        ({"command": "vllm serve m --trust-remote-code"}, ["values.command"]),
        ({"command": "vllm serve m", "flags": UNKNOWN, "address": UNKNOWN}, ["values.flags"]),
        ({"args": ["--trust-remote-code=false"], "notes": ["--trust-remote-code"]}, []),
    ],
)
def test_trust_in_a_models_code(values: Any, found: list[str]) -> None:
    assert [node.path for node in trusting(release(values))] == found


def test_switches_are_found_at_any_depth() -> None:
    values = {"hostNetwork": True, "a": [{"hostPID": UNKNOWN}], "hostIPC": {"x": 1}, "other": True}
    found = switches(release(values), "hostNetwork", "hostPID", "hostIPC")
    assert [node.path for node in found] == ["values.hostNetwork", "values.a[0].hostPID"]


def test_only_the_values_of_a_release_count() -> None:
    assert list(images(release({"image": "a/b:v1"}, "kubernetes:helm.sh/v4:Chart"))) == []
    with pytest.raises(UnknownValueError):
        list(images(release(UNKNOWN)))

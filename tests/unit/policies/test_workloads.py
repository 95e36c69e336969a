"""Pods that will run as they are written, and their containers."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.kubernetes.pods import Container, Pod
from policies.readers.kubernetes.workloads import is_patch, is_windows, lasting, running, running_containers
from policies.readers.unknown import unknown_as_item
from policies.resources import Resource

SPEC = {"containers": [{"name": "a", "image": "a"}, {"name": "b"}], "initContainers": [{"name": "c", "image": "c"}]}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("core/v1:Pod", ["c", "a"]),
        ("helm.sh/v3:Release", []),
        ("yaml/v2:ConfigGroup", []),
        ("kustomize/v2:Directory", []),
        ("monitoring.coreos.com/v1:Prometheus", []),
    ],
)
def test_containers_of_pods_that_run_as_they_are_written(kind: str, names: list[str]) -> None:
    resource = Resource.plain(f"kubernetes:{kind}", "it", {"spec": SPEC})
    assert [container.name for container in running_containers(resource)] == names
    assert bool(list(running(resource))) is bool(names)


@pytest.mark.parametrize(
    ("init", "names"),
    [
        ([{"name": "c", "image": "c"}], ["a"]),
        ([{"name": "c", "image": "c", "restartPolicy": "Always"}], ["c", "a"]),
        ([{"name": "c", "image": "c", "restartPolicy": "OnFailure"}], ["a"]),
        ([{"name": "c", "restartPolicy": "Always"}], ["a"]),
    ],
)
def test_sidecars_last_and_other_init_containers_do_not(init: list[Any], names: list[str]) -> None:
    pod = Pod(SPEC | {"initContainers": init}, "spec", Node(None))
    assert [container.name for container in lasting(pod)] == names


def test_whether_it_lasts_may_be_unknown_and_hides_no_other() -> None:
    pod = Pod(SPEC | {"initContainers": [{"name": "c", "image": "c", "restartPolicy": UNKNOWN}]}, "spec", Node(None))
    known, unknown = unknown_as_item(lasting(pod))
    assert isinstance(known, Container)
    assert isinstance(unknown, UnknownValueError)
    assert (known.name, unknown.path) == ("a", "spec.initContainers[0].restartPolicy")


@pytest.mark.parametrize(
    ("spec", "windows"),
    [
        ({"os": {"name": "windows"}}, True),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, True),
        ({"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/arch": "amd64"}}, False),
        ({}, False),
    ],
)
def test_pods_on_windows(spec: dict[str, Any], windows: bool) -> None:
    assert is_windows(Pod(spec, "spec", Node(None))) is windows


def test_patches() -> None:
    assert is_patch(Resource.plain("kubernetes:apps/v1:DeploymentPatch", "it", {}))
    assert not is_patch(Resource.plain("kubernetes:apps/v1:Deployment", "it", {}))

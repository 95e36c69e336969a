"""ConfigMaps and Secrets that a container's pod has."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node
from policies.readers.kubernetes.mounts import file_in, mounted
from policies.readers.kubernetes.pods import Container, Pod
from policies.resources import Resource, Stack

MAP, SECRET = "kubernetes:core/v1:ConfigMap", "kubernetes:core/v1:Secret"


def named(kind: str, name: str | None, namespace: str = "llm") -> Resource:
    return Resource.plain(kind, f"{name}-{namespace}", {"metadata": {"name": name, "namespace": namespace}})


CONFIG, ELSEWHERE, NAMELESS, KEY = named(MAP, "it"), named(MAP, "it", "web"), named(MAP, None), named(SECRET, "it")
OTHER = named(MAP, "other")


@pytest.mark.parametrize(
    ("volumes", "refers", "found"),
    [
        ([{"configMap": {"name": "it"}}], [], [CONFIG]),
        ([{"secret": {"secretName": "it"}}], [], [KEY]),
        ([{"projected": {"sources": [{"secret": {"name": "it"}}, {"configMap": {"name": "it"}}]}}], [], [CONFIG, KEY]),
        ([{"emptyDir": {}}], [], []),
        ([{"configMap": {"name": UNKNOWN}}], [NAMELESS], [NAMELESS]),
        ([{"configMap": {"name": "it"}}], [ELSEWHERE], [CONFIG, ELSEWHERE]),
        ([UNKNOWN, {"configMap": UNKNOWN}, {"projected": UNKNOWN}, {"configMap": {"name": "it"}}], [], [CONFIG]),
    ],
)
def test_those_that_a_volume_names_or_the_workload_refers_to(
    volumes: list[Any], refers: list[Resource], found: list[Resource]
) -> None:
    urns = {"spec": tuple(each.urn for each in refers)}
    workload = Resource.plain(
        "kubernetes:apps/v1:Deployment", "w", {"metadata": {"namespace": "llm"}}, dependencies=urns
    )
    container = Container({}, "c", Pod({"volumes": volumes}, "spec", Node(None)))
    stack = Stack(resources=(workload, CONFIG, ELSEWHERE, NAMELESS, KEY, OTHER))
    assert [each.name for each in mounted(container, workload, stack)] == [each.name for each in found]


def test_a_file_by_its_name() -> None:
    files = {"data": {"a.yaml": "1", "b.yaml": "2"}, "stringData": {"a.yaml": "3"}}
    found = file_in(Resource.plain(SECRET, "it", files), "/etc/it/a.yaml")
    assert [node.data for node in found] == ["1", "3"]

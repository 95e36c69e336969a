"""What answers behind a port of a Service."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.kubernetes.service_backends import private_backends
from policies.resources import Resource, Stack

VLLM = {"name": "vllm", "image": "vllm/vllm-openai:v0.32.0"}
PROXY = {"name": "proxy", "image": "envoyproxy/envoy:v1.36.0"}
OTHER = {"name": "other", "image": UNKNOWN}
SIDECAR = {"restartPolicy": "Always"}


def ports(*numbers: int) -> dict[str, Any]:
    return {"ports": [{"containerPort": number} for number in numbers]}


def workload(name: str, containers: Any, init: Any = ()) -> Resource:
    pod = {"metadata": {"labels": {"app": "it"}}, "spec": {"initContainers": list(init), "containers": containers}}
    return Resource.plain("kubernetes:apps/v1:Deployment", name, {"spec": {"template": pod}})


def behind(port: dict[str, Any], *workloads: Resource, selector: Any = UNKNOWN) -> list[str]:
    wanted = {"app": "it"} if workloads else selector
    service = Resource.plain("kubernetes:core/v1:Service", "pub", {"spec": {"selector": wanted}})
    return private_backends(Node(port, "port"), service, Stack(resources=(service, *workloads)))


@pytest.mark.parametrize(
    ("containers", "init", "found"),
    [
        ([VLLM | ports(8000), PROXY | ports(8443)], [], []),
        ([VLLM | ports(8443), PROXY | ports(9901)], [], ["the engine of it"]),
        ([VLLM, PROXY | ports(8443)], [], []),
        ([VLLM, PROXY | ports(9901)], [], ["the engine of it"]),
        ([VLLM | ports(8000), PROXY], [], []),
        ([VLLM | ports(8000), PROXY | ports(9901)], [], ["the engine of it"]),
        ([PROXY], [VLLM], []),
        ([VLLM], [PROXY | ports(8443)], ["the engine of it"]),
        ([VLLM], [PROXY | SIDECAR | ports(8443)], []),
        ([PROXY], [VLLM | SIDECAR | ports(8443)], ["the engine of it"]),
    ],
)
def test_who_declares_the_port_answers_it_else_who_declares_none(containers: Any, init: Any, found: list[str]) -> None:
    assert behind({"port": 443, "targetPort": 8443}, workload("it", containers, init)) == found
    assert behind({"port": 8443}, workload("it", containers, init)) == found


@pytest.mark.parametrize("others", [[VLLM, OTHER], [OTHER, VLLM]])
def test_a_container_that_is_not_known_hides_no_engine(others: list[Any]) -> None:
    assert behind({"port": 443}, workload("it", others)) == ["the engine of it"]
    with pytest.raises(UnknownValueError, match=r"containers\[0\]\.image"):
        behind({"port": 443}, workload("it", [OTHER, PROXY]))


def test_a_pod_that_is_not_known_hides_no_engine_in_another() -> None:
    for unknown in (workload("a", UNKNOWN), workload("a", [PROXY, UNKNOWN])):
        assert behind({"port": 443}, unknown, workload("b", [VLLM])) == ["the engine of b"]
        with pytest.raises(UnknownValueError, match="containers"):
            behind({"port": 443}, unknown, workload("b", [PROXY]))


def test_a_port_of_an_engine_tells_where_the_pods_are_not_known() -> None:
    assert behind({"port": 8000}) == ["port 8000 (vLLM or Triton)"]
    assert behind({"port": 443}, selector={"app": "elsewhere"}) == []
    with pytest.raises(UnknownValueError, match=r"spec\.selector"):
        behind({"port": 443})

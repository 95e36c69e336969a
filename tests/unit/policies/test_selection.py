"""In which namespace a resource is, which labels pods have, and which of them a selector means."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.kubernetes.pods import pods
from policies.readers.kubernetes.selection import NAMESPACE, labels_of, namespace, selected, selects
from policies.resources import Provider, Resource, Stack

MADE = Resource.plain(NAMESPACE, "made", {"metadata": {"name": "llm"}})
LATER = Resource.plain(NAMESPACE, "later", {"metadata": {"name": UNKNOWN}})
STACK = Stack(resources=(MADE, LATER))


def made(metadata: Any, *refers: Resource, provider: dict[str, Any] | None = None) -> Resource:
    given = None if provider is None else Provider("pulumi:providers:kubernetes", "p", Node(provider))
    urns = {"metadata": tuple(each.urn for each in refers)}
    return Resource.plain(
        "kubernetes:apps/v1:Deployment", "it", {"metadata": metadata}, provider=given, dependencies=urns
    )


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        (made({"namespace": "a"}, provider={"namespace": "b"}), "a"),
        (made({}, provider={"namespace": "b"}), "b"),
        (made({}, provider={}), "default"),
        (made({}), "default"),
        (made({"namespace": UNKNOWN}, MADE), "llm"),
        (made({"namespace": UNKNOWN}, LATER), LATER.urn),
        (made(UNKNOWN, MADE), "llm"),
        (made({"namespace": UNKNOWN}, MADE, LATER), None),
        (made({"namespace": UNKNOWN}), None),
        (made({}, provider={"namespace": UNKNOWN}), None),
    ],
)
def test_the_namespace_of_a_resource(resource: Resource, name: str | None) -> None:
    if name is None:
        with pytest.raises(UnknownValueError, match="namespace"):
            namespace(resource, STACK)
    else:
        assert namespace(resource, STACK) == name


@pytest.mark.parametrize(
    ("selector", "meant"),
    [
        ({}, True),
        ({"matchLabels": {"app": "it"}}, True),
        ({"matchLabels": {"app": "it", "tier": "web"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "it"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "other", "operator": "In", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a", "it"]}]}, False),
        ({"matchExpressions": [{"key": "other", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "other", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "other", "operator": "DoesNotExist"}]}, True),
        ({"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]}, False),
    ],
)
def test_what_a_selector_means(selector: dict[str, Any], meant: bool) -> None:
    assert selects(Node(selector), Node({"app": "it", "tier": "gpu", "more": UNKNOWN})) is meant


@pytest.mark.parametrize(
    ("selector", "where"),
    [
        ({"matchLabels": {"app": UNKNOWN}}, "s.matchLabels.app"),
        ({"matchLabels": {"tier": "gpu", "app": "it"}}, "labels.tier"),
        ({"matchLabels": UNKNOWN}, "s.matchLabels"),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gpu"]}]}, "labels.tier"),
        ({"matchExpressions": [{"key": "app", "operator": UNKNOWN}]}, "s.matchExpressions[0].operator"),
        ({"matchLabels": {"tier": "gpu", "app": "other"}}, None),
        ({"matchExpressions": [UNKNOWN, {"key": "tier", "operator": "DoesNotExist"}]}, None),
    ],
)
def test_what_is_not_known_matters_only_where_nothing_else_rules_the_pod_out(selector: Any, where: str | None) -> None:
    labels = Node({"app": "it", "tier": UNKNOWN}, "labels")
    if where is None:
        assert not selects(Node(selector, "s"), labels)
    else:
        with pytest.raises(UnknownValueError) as unknown:
            selects(Node(selector, "s"), labels)
        assert unknown.value.path == where


SPEC = {"containers": [{"image": "a"}]}
NAMED = {"name": "it", "labels": {"team": "ml"}}
TEMPLATE = {"metadata": {"labels": {"app": "it"}}, "spec": SPEC}


@pytest.mark.parametrize(
    ("kind", "inputs", "labels"),
    [
        ("apps/v1:Deployment", {"metadata": NAMED, "spec": {"template": TEMPLATE}}, {"app": "it"}),
        ("leaderworkerset.x-k8s.io/v1:LeaderWorkerSet", {"spec": {"leaderWorkerTemplate": {"workerTemplate": TEMPLATE}}}, {
            "app": "it",
            "leaderworkerset.sigs.k8s.io/name": "it",
        }),
        ("ray.io/v1:RayCluster", {"spec": {"headGroupSpec": {"template": TEMPLATE}}}, {
            "app": "it",
            "ray.io/cluster": "it",
        }),
        ("serving.kserve.io/v1beta1:InferenceService", {"spec": {"predictor": SPEC | {"labels": {"tier": "gpu"}}}}, {
            "app": "isvc.it-predictor",
            "component": "predictor",
            "serving.kserve.io/inferenceservice": "it",
            "team": "ml",
            "tier": "gpu",
        }),
    ],
)  # fmt: skip
def test_labels_are_the_templates_and_the_controllers(
    kind: str, inputs: dict[str, Any], labels: dict[str, str]
) -> None:
    resource = Resource.plain(f"kubernetes:{kind}", "it", {"metadata": NAMED, **inputs})
    (pod,) = pods(resource)
    assert labels_of(resource, pod).get() == labels


UNLABELLED = ["unlabelled: spec.template.metadata.labels", "nothing-known: spec.template.metadata.labels"]


def workload(name: str, home: Any, labels: Any) -> Resource:
    template = {"metadata": {"labels": labels}, "spec": SPEC}
    inputs = {"metadata": {"namespace": home}, "spec": {"template": template}}
    return Resource.plain("kubernetes:apps/v1:Deployment", name, inputs)


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({"app": "it"}, ["near", "elsewhere: metadata.namespace", *UNLABELLED]),
        ({"app": "it", "tier": "gpu"}, UNLABELLED),
        (
            {"app": "other", "more": "a"},
            ["other: spec.template.metadata.labels.more", *UNLABELLED],
        ),
        ({"app": UNKNOWN}, ["spec.selector.app"] * 4 + UNLABELLED),
        (UNKNOWN, ["spec.selector"]),
        ({}, []),
        (None, []),
    ],
)
def test_pods_that_a_service_means(selector: Any, found: list[str]) -> None:
    stack = Stack(
        resources=(
            workload("near", "llm", {"app": "it"}),
            workload("far", "web", {"app": "it"}),
            workload("other", "llm", {"app": "other", "more": UNKNOWN}),
            workload("elsewhere", UNKNOWN, {"app": "it"}),
            workload("elsewhere-other", UNKNOWN, {"app": "other"}),
            workload("unlabelled", "llm", UNKNOWN),
            workload("nothing-known", UNKNOWN, UNKNOWN),
            Resource.plain("aws:ec2/instance:Instance", "machine", workload("", "llm", {"app": "it"}).inputs.raw),
        )
    )
    service = Resource.plain(
        "kubernetes:core/v1:Service", "s", {"metadata": {"namespace": "llm"}, "spec": {"selector": selector}}
    )
    told = [each.path if isinstance(each, UnknownValueError) else each[0].name for each in selected(service, stack)]
    assert sorted(told) == sorted(each.rpartition(" ")[2] for each in found)

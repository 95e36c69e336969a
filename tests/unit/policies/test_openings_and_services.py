"""Which networks are public, who reaches a port, and which disks are mended."""

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.aws.openings import INGRESS_RULE, SECURITY_GROUP, SECURITY_GROUP_RULE, Ports, doors
from policies.readers.kubernetes.services import exposure
from policies.readers.networks import is_everybody, is_public
from policies.readers.service_ports import metrics_of, services_at
from policies.resources import Resource, Stack
from policies.rules.aws_encrypted_disks import RULE


@pytest.mark.parametrize(
    "network",
    ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "192.0.0.0/2", "10.0.0.0/7", "52.95.110.0/24", "2a05:d014::/36"],
)
def test_public_networks(network: str) -> None:
    assert is_public(network)


@pytest.mark.parametrize(
    "network",
    [
        "10.0.0.0/8",
        "172.31.0.0/16",
        "192.168.1.7",
        "100.64.0.0/10",
        "127.0.0.1/32",
        "fd00::/8",
        "::1",
        "pl-12345678",
        "",
    ],
)
def test_other_networks(network: str) -> None:
    assert not is_public(network)


@pytest.mark.parametrize(
    ("network", "everybody"),
    [
        ("0.0.0.0/0", True),
        ("128.0.0.0/1", True),
        ("64.0.0.0/2", False),
        ("::/0", True),
        ("2000::/3", True),
        ("2000::/4", False),
        ("pl-12345678", False),
    ],
)
def test_everybody_is_the_internet_or_a_half_of_it(network: str, everybody: bool) -> None:
    assert is_everybody(network) is everybody


def test_both_ends_of_a_range_of_ports_are_open() -> None:
    assert [port for port in ("9090", 9089, 9090, 9100, 9101) if port in Ports(9090, 9100)] == [9090, 9100]


@pytest.mark.parametrize(
    ("more", "first", "last"),
    [
        ({"protocol": "tcp", "fromPort": 8000, "toPort": 8080}, 8000, 8080),
        ({"protocol": "6", "fromPort": 8000, "toPort": 8080}, 8000, 8080),
        ({"protocol": "TCP"}, 0, 65535),
        ({"protocol": "-1", "fromPort": 0, "toPort": 0}, 0, 65535),
        ({"protocol": "all", "fromPort": 0, "toPort": 0}, 0, 65535),
        ({"ipProtocol": "-1"}, 0, 65535),
        ({"protocol": "udp", "fromPort": 8000, "toPort": 8000}, 1, 0),
        ({"protocol": "icmp", "fromPort": -1, "toPort": -1}, 1, 0),
    ],
)
def test_ports_of_an_opening(more: dict[str, Any], first: int, last: int) -> None:
    (door,) = doors(Resource.plain(INGRESS_RULE, "it", {"cidrIpv4": "0.0.0.0/0", **more}))
    assert door.ports() == Ports(first, last)


@pytest.mark.parametrize(
    ("kind", "inputs", "found"),
    [
        (SECURITY_GROUP_RULE, {"type": "ingress", "cidrBlocks": ["a", "b"]}, ["cidrBlocks[0]", "cidrBlocks[1]"]),
        (SECURITY_GROUP_RULE, {"type": "egress", "cidrBlocks": ["a"]}, []),
        (SECURITY_GROUP_RULE, {"type": "ingress", "cidrBlocks": UNKNOWN, "ipv6CidrBlocks": ["::/0"]}, [
            "cidrBlocks",
            "ipv6CidrBlocks[0]",
        ]),
        (INGRESS_RULE, {"cidrIpv6": "::/0", "prefixListId": "pl-1"}, ["cidrIpv6", "prefixListId"]),
        (SECURITY_GROUP, {"ingress": [{"cidrBlocks": ["a"]}, UNKNOWN]}, ["ingress[0].cidrBlocks[0]", "ingress[1]"]),
    ],
)  # fmt: skip
def test_every_network_is_a_door(kind: str, inputs: dict[str, Any], found: list[str]) -> None:
    assert [door.path for door in doors(Resource.plain(kind, "it", inputs))] == found


def test_networks_behind_the_name_of_a_list() -> None:
    lists = "aws:ec2/managedPrefixList:ManagedPrefixList"
    office = Resource.plain(lists, "office", {"entries": [{"cidr": "10.0.0.0/8"}]})
    others = Resource.plain(lists, "others", {"entries": [{"cidr": "0.0.0.0/0"}]})
    entries = [
        Resource.plain(
            "aws:ec2/managedPrefixListEntry:ManagedPrefixListEntry",
            name,
            {"cidr": cidr},
            dependencies={"prefixListId": (of.urn,)},
        )
        for name, cidr, of in (("a", "192.0.2.0/24", office), ("b", "::/0", others))
    ]
    rule = Resource.plain(INGRESS_RULE, "it", {"prefixListId": "pl-1"}, dependencies={"prefixListId": (office.urn,)})
    (door,) = doors(rule)
    stack = Stack(name="s", resources=(office, others, *entries, rule))
    assert [node.data for node in door.networks(rule, stack)] == ["10.0.0.0/8", "192.0.2.0/24"]
    with pytest.raises(UnknownValueError):
        list(door.networks(rule, Stack(name="s", resources=(others, rule))))


SCHEME = "service.beta.kubernetes.io/aws-load-balancer-scheme"


@pytest.mark.parametrize(
    ("spec", "annotations", "where"),
    [
        ({}, {}, None),
        ({"type": "NodePort"}, {}, "every address of every node"),
        ({"type": "LoadBalancer"}, {}, "a load balancer that nothing makes internal"),
        ({"type": "LoadBalancer"}, {SCHEME: "internal"}, None),
        ({"type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb"}, {}, None),
        ({"type": "LoadBalancer", "loadBalancerClass": "tailscale"}, {}, "a load balancer that nothing makes internal"),
        (
            {"type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb"},
            {SCHEME: "internet-facing"},
            "a load balancer that nothing makes internal",
        ),
        ({"type": "LoadBalancer"}, {"networking.gke.io/load-balancer-type": "Internal"}, None),
        (
            {"type": "LoadBalancer"},
            {"networking.gke.io/load-balancer-type": "External"},
            "a load balancer that nothing makes internal",
        ),
        ({"type": "LoadBalancer", "loadBalancerIP": "10.1.2.3"}, {}, None),
        ({"type": "LoadBalancer", "loadBalancerIP": "54.1.2.3"}, {}, "a load balancer that nothing makes internal"),
        ({"type": "LoadBalancer"}, {"metallb.io/loadBalancerIPs": "10.1.2.3,fd00::3"}, None),
        (
            {"type": "LoadBalancer"},
            {"metallb.io/loadBalancerIPs": "10.1.2.3, 54.1.2.3"},
            "a load balancer that nothing makes internal",
        ),
        ({"type": "LoadBalancer", "loadBalancerIP": "54.1.2.3", "loadBalancerSourceRanges": ["10.0.0.0/8"]}, {}, None),
        ({"externalIPs": ["10.1.2.3"]}, {}, None),
        ({"externalIPs": ["10.1.2.3", "54.1.2.3"]}, {}, "a public address"),
        ({"type": "LoadBalancer", "externalIPs": ["54.1.2.3"]}, {SCHEME: "internal"}, "a public address"),
    ],
)
def test_services_that_are_reached_from_outside(
    spec: dict[str, Any], annotations: dict[str, str], where: str | None
) -> None:
    assert exposure(Node({"metadata": {"annotations": annotations}, "spec": spec})) == where


def test_a_port_of_many_counts_where_its_name_says_so() -> None:
    assert services_at({3000, 8000}, "web") == ["8000 (vLLM or Triton)"]
    assert services_at({3000}, "Grafana-public") == ["3000 (Grafana)"]


@pytest.mark.parametrize(
    ("image", "service"),
    [("prometheus", "Prometheus"), ("redis-stack-server", "Ray GCS or Redis"), ("my-prometheus", None), ("web", None)],
)
def test_images_that_serve_metrics(image: str, service: str | None) -> None:
    assert metrics_of(image) == service


def test_every_disk_of_an_instance_is_mended() -> None:
    inputs = {"ebsBlockDevices": [{"deviceName": "/dev/sdf"}, {"deviceName": "/dev/sdg"}]}
    instance = Resource.plain("aws:ec2/instance:Instance", "gpu-1", inputs)
    assert RULE.remediate is not None
    assert [(change.keys, change.value) for change in RULE.remediate(instance, {})] == [
        (("rootBlockDevice", "encrypted"), True),
        (("ebsBlockDevices", 0, "encrypted"), True),
        (("ebsBlockDevices", 1, "encrypted"), True),
    ]


def test_a_launch_template_is_mended_in_text() -> None:
    inputs = {"blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {}}]}
    template = Resource.plain("aws:ec2/launchTemplate:LaunchTemplate", "nodes", inputs)
    assert RULE.remediate is not None
    assert [(change.keys, change.value) for change in RULE.remediate(template, {})] == [
        (("blockDeviceMappings", 0, "ebs", "encrypted"), "true")
    ]


def test_what_is_not_known_is_left_alone() -> None:
    assert RULE.remediate is not None
    nodes = {"blockDeviceMappings": [UNKNOWN, {"ebs": {"encrypted": "false"}}]}
    template = Resource.plain("aws:ec2/launchTemplate:LaunchTemplate", "nodes", nodes)
    assert [change.keys[1] for change in RULE.remediate(template, {})] == [1]
    instance = Resource.plain("aws:ec2/instance:Instance", "gpu-1", {"ebsBlockDevices": UNKNOWN})
    assert [change.keys for change in RULE.remediate(instance, {})] == [("rootBlockDevice", "encrypted")]

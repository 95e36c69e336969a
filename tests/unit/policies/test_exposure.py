"""Which networks are public, and which disks are mended."""

import pytest

from policies.node import UNKNOWN
from policies.resources import Resource
from policies.rules.aws_encrypted_disks import RULE
from policies.subjects.aws import is_public


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

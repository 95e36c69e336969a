"""Disks, file systems and databases are encrypted.

Not judged: the root that a launch template leaves to an AMI where it names other disks, or no AMI; fleets' specifications.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.node import UNKNOWN, Key, Node, UnknownValueError
from policies.readers.kubernetes.karpenter import NODE_CLASS, is_node_class
from policies.readers.unknown import each, known
from policies.resources import Resource
from policies.rule import About, Change, Group, Rule, Severity, Violation, violation

_AT_REST = ("atRestEncryptionEnabled",)
_WHOLE: dict[str, tuple[Key, ...]] = {
    "aws:efs/fileSystem:FileSystem": ("encrypted",),
    "aws:rds/cluster:Cluster": ("storageEncrypted",),
    "aws:rds/instance:Instance": ("storageEncrypted",),
    "aws:docdb/cluster:Cluster": ("storageEncrypted",),
    "aws:neptune/cluster:Cluster": ("storageEncrypted",),
    "aws:elasticache/replicationGroup:ReplicationGroup": _AT_REST,
    "aws:opensearch/domain:Domain": ("encryptAtRest", "enabled"),
    "aws:elasticsearch/domain:Domain": ("encryptAtRest", "enabled"),
}
"""By type the property that encrypts it. What FSx holds is always encrypted."""
_VOLUME = "aws:ebs/volume:Volume"
_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
_NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
_AS_THEIR_SOURCE = ("replicateSourceDb", "replicationSourceIdentifier", "globalReplicationGroupId")
"""Of what is a copy, and is encrypted as its source is."""
_MACHINES = (
    "aws:ec2/instance:Instance",
    "aws:ec2/spotInstanceRequest:SpotInstanceRequest",
    "aws:ec2/launchConfiguration:LaunchConfiguration",
)


class Place(Node):
    """What holds the property that encrypts one disk."""

    __slots__ = ("above", "keys", "mended")

    def __init__(self, node: Node, above: tuple[Key, ...], *keys: Key, mended: tuple[Any, ...] = (True,)) -> None:
        super().__init__(node.raw, node.path)
        self.above = above
        """Keys from the inputs down to it."""
        self.keys = keys
        self.mended = mended
        """What is set to mend it, if anything can."""


def items(resource: Resource) -> Iterator[Place | UnknownValueError]:
    """The places that encrypt each disk, or would."""
    inputs = resource.inputs
    if resource.type == _VOLUME:
        yield Place(inputs, (), "encrypted")
    elif resource.type == _TEMPLATE:
        yield from _of_template(inputs)
    elif is_node_class(resource):
        yield from _of_mappings(inputs, ("spec", "blockDeviceMappings"), mended=(True,))
    elif resource.type == _NODE_GROUP:
        # A size is said only where there is no template, and then of a disk that EKS leaves to the account.
        if inputs.has("diskSize"):
            yield Place(inputs, (), "diskSize", mended=())
    elif resource.type in _MACHINES:
        yield from _of_machine(inputs)
    elif not any(map(inputs.has, _AS_THEIR_SOURCE)):
        keys = _WHOLE[resource.type]
        yield Place(inputs, (), *keys)


def _of_mappings(
    inputs: Node, keys: tuple[Key, ...], *, mended: tuple[Any, ...]
) -> Iterator[Place | UnknownValueError]:
    """The disks that a template, or Karpenter's class of nodes, gives."""
    for index, mapping in enumerate(each(inputs, *keys)):
        if isinstance(mapping, UnknownValueError):
            yield mapping
        # One without `ebs` is an instance store, or takes a device of the AMI away.
        elif mapping.data is UNKNOWN or mapping.has("ebs"):
            yield Place(mapping, (*keys, index), "ebs", "encrypted", mended=mended)


def _of_template(inputs: Node) -> Iterator[Place | UnknownValueError]:
    """Of a template that names an AMI and no disk, that of the AMI, as an instance has it. Others are a part of a machine."""
    # The provider has it as a text.
    disks = list(_of_mappings(inputs, ("blockDeviceMappings",), mended=("true",)))
    yield from disks
    if inputs.has("imageId") and not disks:
        yield Place(inputs, (), "blockDeviceMappings", mended=())


def _of_machine(inputs: Node) -> Iterator[Place | UnknownValueError]:
    """The root, which every instance has, said or not, and the others. Instance stores are encrypted by the hardware."""
    # Without a word of its own an instance takes the root from its launch template.
    if inputs.has("rootBlockDevice") or not inputs.has("launchTemplate"):
        yield Place(inputs.node("rootBlockDevice"), ("rootBlockDevice",), "encrypted")
    for index, disk in enumerate(each(inputs, "ebsBlockDevices")):
        if isinstance(disk, UnknownValueError):
            yield disk
        else:
            yield Place(disk, ("ebsBlockDevices", index), "encrypted")


def check(place: Place, about: About) -> Iterator[Violation]:
    """The property is true; an EBS disk may be left to the account where that is known to encrypt."""
    resource = about.resource
    # Neither a size nor a list of instance stores encrypts.
    said = place.get(*place.keys) if place.mended else None
    if str(said).casefold() == "true":
        return
    # Valkey is always encrypted, unless it is told not to be.
    if said is None and place.keys == _AT_REST and place.get("engine") == "valkey":
        return
    by_account = said is None and resource.type not in _WHOLE and about.parameters["encryptedByDefault"]
    if by_account:
        return
    if resource.type == _NODE_GROUP:
        mend = "give the group a launch template whose root volume is encrypted, in place of diskSize"
    else:
        mend = "set it to true"
    yield violation(place, *place.keys, what="nothing here encrypts this disk", mend=mend)


def remediate(resource: Resource, parameters: Mapping[str, Any]) -> Iterator[Change]:
    """Encrypt them. What is not known yet, or left to an AMI, can't be mended; `check` has told it."""
    for place in known(items(resource)):
        for value in place.mended:
            yield Change((*place.above, *place.keys), value)


RULE = Rule(
    id="aws-encrypted-disks",
    title="Disks, file systems and databases are encrypted at rest",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="whoever gets a snapshot or a disk that was given back reads weights, prompts and logs",
    mend="set it to true",
    source="CIS Amazon Web Services Foundations Benchmark v3.0.0, 2.2.1, 2.3.1 and 2.4.1",
    url="https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html",
    types=(_VOLUME, _TEMPLATE, _NODE_GROUP, NODE_CLASS, *_MACHINES, *_WHOLE),
    items=items,
    check=check,
    parameters={
        "encryptedByDefault": {
            "type": "boolean",
            "default": False,
            "description": "Whether the account encrypts new EBS volumes by default, in every region that the stack uses;"
            " disks that do not say `encrypted` are then well.",
        }
    },
    remediate=remediate,
)

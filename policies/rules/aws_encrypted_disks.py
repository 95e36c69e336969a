"""Disks, file systems and databases are encrypted."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from policies.node import UNKNOWN, Key, Node, UnknownValueError
from policies.resources import Resource
from policies.rule import About, Change, Group, Rule, Severity, Violation, violation

_WHOLE = {
    "aws:efs/fileSystem:FileSystem": "encrypted",
    "aws:rds/cluster:Cluster": "storageEncrypted",
    "aws:rds/instance:Instance": "storageEncrypted",
}
"""By type the property that encrypts it. What FSx holds is always encrypted."""
_VOLUME = "aws:ebs/volume:Volume"
_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
_MACHINES = (
    "aws:ec2/instance:Instance",
    "aws:ec2/spotInstanceRequest:SpotInstanceRequest",
    "aws:ec2/launchConfiguration:LaunchConfiguration",
)


class Place(Node):
    """What holds the property that encrypts one disk."""

    __slots__ = ("above", "keys", "mended")

    def __init__(self, node: Node, above: tuple[Key, ...], *keys: Key, mended: Any = True) -> None:
        super().__init__(node.raw, node.path)
        self.above = above
        """Keys from the inputs down to it."""
        self.keys = keys
        self.mended = mended


def items(resource: Resource) -> Iterator[Place]:
    """Each disk."""
    inputs = resource.inputs
    if resource.type == _VOLUME:
        yield Place(inputs, (), "encrypted")
    elif resource.type == _TEMPLATE:
        yield from _of_template(inputs)
    elif resource.type in _MACHINES:
        yield from _of_machine(inputs)
    elif not inputs.has("replicateSourceDb"):  # a replica is encrypted as its source is
        yield Place(inputs, (), _WHOLE[resource.type])


def _of_template(inputs: Node) -> Iterator[Place]:
    """Those that the template gives. What it leaves to the AMI, an instance may still decide."""
    for index, mapping in enumerate(inputs.each("blockDeviceMappings")):
        # One without `ebs` is an instance store, or takes a device of the AMI away.
        if mapping.data is UNKNOWN or mapping.has("ebs"):
            # The provider has it as a text.
            yield Place(mapping, ("blockDeviceMappings", index), "ebs", "encrypted", mended="true")


def _of_machine(inputs: Node) -> Iterator[Place]:
    """The root, which every instance has, said or not, and the others. Instance stores are encrypted by the hardware."""
    # Without a word of its own an instance takes the root from its launch template.
    if inputs.has("rootBlockDevice") or not inputs.has("launchTemplate"):
        yield Place(inputs.node("rootBlockDevice"), ("rootBlockDevice",), "encrypted")
    for index, disk in enumerate(inputs.each("ebsBlockDevices")):
        yield Place(disk, ("ebsBlockDevices", index), "encrypted")


def check(place: Place, about: About) -> Iterator[Violation]:
    """The property is true; an EBS disk may be left to the account where that is known to encrypt."""
    said = place.get(*place.keys)
    if str(said).casefold() == "true":
        return
    by_account = said is None and about.resource.type not in _WHOLE and about.parameters["encryptedByDefault"]
    if not by_account:
        yield violation(place, *place.keys, what="nothing here encrypts this disk")


def remediate(resource: Resource, parameters: Mapping[str, Any]) -> Iterator[Change]:
    """Encrypt them. What is not known yet can't be mended; that it is open, `check` has told."""
    with suppress(UnknownValueError):
        for place in filter(_known, items(resource)):
            yield Change((*place.above, *place.keys), place.mended)


def _known(place: Place) -> bool:
    return place.data is not UNKNOWN


RULE = Rule(
    id="aws-encrypted-disks",
    title="Disks, file systems and databases are encrypted at rest",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="whoever gets a snapshot or a disk that was given back reads weights, prompts and logs",
    mend="set it to true",
    source="CIS Amazon Web Services Foundations Benchmark v3.0.0, 2.2.1, 2.3.1 and 2.4.1",
    url="https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html",
    types=(_VOLUME, _TEMPLATE, *_MACHINES, *_WHOLE),
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

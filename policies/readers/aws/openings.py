"""What security groups of AWS let in, whichever of the several types of resources says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.resources import Resource, Stack

ANY = "aws:*"
"""Every type of the pulumi-aws provider."""

SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"
SECURITY_GROUP_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OPENINGS = (
    SECURITY_GROUP,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    SECURITY_GROUP_RULE,
    INGRESS_RULE,
)
"""Types in which `openings` finds something."""

PREFIX_LISTS, PREFIX_LIST = "prefixListIds", "prefixListId"
"""Where an opening names lists of networks that stand elsewhere."""
_PREFIX_LIST = "aws:ec2/managedPrefixList:ManagedPrefixList"
_PREFIX_LIST_ENTRY = "aws:ec2/managedPrefixListEntry:ManagedPrefixListEntry"


@dataclass(frozen=True)
class Ports:
    """The ports that an opening lets in."""

    first: int
    last: int
    """The first and the last port are included."""

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last


class Opening(Node):
    """One ingress of a security group, in whichever resource it stands."""

    __slots__ = ("source_keys",)

    def __init__(self, node: Node, source_keys: tuple[str, ...]) -> None:
        super().__init__(node.raw, node.path)
        self.source_keys = source_keys

    def ports(self) -> Ports:
        """TCP or UDP ports; all of them where the protocol is `-1`.

        Raises:
            UnknownValueError: they are not known.
        """
        protocol = str(self.get("protocol", default=self.get("ipProtocol", default="-1"))).casefold()
        first, last = self.number("fromPort", default=0), self.number("toPort", default=65535)
        return Ports(0, 65535) if protocol in {"-1", "all"} else Ports(int(first), int(last))


def openings(resource: Resource) -> Iterator[Opening]:
    """What the resource lets in.

    Raises:
        UnknownValueError: the list is unknown.
    """
    lists = ("cidrBlocks", "ipv6CidrBlocks", PREFIX_LISTS)
    if resource.type == SECURITY_GROUP_RULE:
        if resource.inputs.get("type") == "ingress":
            yield Opening(resource.inputs, lists)
    elif resource.type == INGRESS_RULE:
        yield Opening(resource.inputs, ("cidrIpv4", "cidrIpv6", PREFIX_LIST))
    else:
        for node in resource.inputs.each("ingress"):
            yield Opening(node, lists)


class Door(Node):
    """One network (CIDR) that a security group lets in, or a list of networks that it names."""

    __slots__ = ("listed", "opening")

    def __init__(self, node: Node, opening: Opening, *, listed: bool = False) -> None:
        super().__init__(node.raw, node.path)
        self.opening = opening
        self.listed = listed
        """Whether it is the name of a list."""

    def networks(self, resource: Resource, stack: Stack) -> Iterator[Node]:
        """The networks behind it, each of which may be unknown.

        Raises:
            UnknownValueError: it names a list that is not of the stack.
        """
        if not self.listed:
            yield self
            return
        lists = [other for other in stack.of_type(_PREFIX_LIST) if resource.refers_to(other)]
        if not lists:
            raise UnknownValueError(self.path)
        for each in lists:
            for entry in each.inputs.each("entries"):
                yield entry.node("cidr")
            for entry_of in stack.of_type(_PREFIX_LIST_ENTRY):
                if entry_of.refers_to(each):
                    yield entry_of.inputs.node("cidr")

    def ports(self) -> Ports:
        """TCP ports that are open to it.

        Raises:
            UnknownValueError: they are not known.
        """
        protocol = self.opening.get("protocol", default=self.opening.get("ipProtocol", default="-1"))
        return self.opening.ports() if str(protocol).casefold() in {"-1", "all", "tcp", "6"} else Ports(1, 0)


def doors(resource: Resource) -> Iterator[Door]:
    """Every network that the resource lets in, each alone; one that is not known yet as well.

    Raises:
        UnknownValueError: the list of openings is unknown.
    """
    for opening in openings(resource):
        if opening.data is UNKNOWN:
            yield Door(opening, opening)
            continue
        for key in opening.source_keys:
            found = opening.node(key)
            alone = found.data is UNKNOWN or isinstance(found.data, str)
            for source in [found] if alone else opening.each(key):
                yield Door(source, opening, listed=key in {PREFIX_LIST, PREFIX_LISTS})

"""In which regions a resource is, or puts data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.unknown import raise_first
from policies.resources import Resource, Stack

GLOBAL = frozenset(
    {
        "account",
        "budgets",
        "cloudfront",
        "costexplorer",
        "cur",
        "globalaccelerator",
        "iam",
        "organizations",
        "route53",
        "route53domains",
        "route53recoverycontrol",
        "route53recoveryreadiness",
        "shield",
        "waf",
    }
)
"""Services of AWS that have no regions, as pulumi-aws calls its modules."""

_ELSEWHERE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "aws:dynamodb/table:Table": (("replicas", "regionName"),),
    "aws:dynamodb/globalTable:GlobalTable": (("replicas", "regionName"),),
    "aws:secretsmanager/secret:Secret": (("replicas", "region"),),
    "aws:ecr/replicationConfiguration:ReplicationConfiguration": (
        ("replicationConfiguration", "rules", "destinations", "region"),
    ),
    "aws:backup/plan:Plan": (("rules", "copyActions", "destinationVaultArn"),),
    "aws:rds/cluster:Cluster": (("sourceRegion",), ("replicationSourceIdentifier",)),
    "aws:rds/instance:Instance": (("replicateSourceDb",),),
    "aws:kms/replicaKey:ReplicaKey": (("primaryKeyArn",),),
    "aws:ec2/amiCopy:AmiCopy": (("sourceAmiRegion",),),
    "aws:ebs/snapshotCopy:SnapshotCopy": (("sourceRegion",),),
}
"""By type where else its data are, or come from: paths, through lists, to a region or an ARN."""

_NAMES = {"replicateSourceDb", "replicationSourceIdentifier"}
"""Where the ARN of a database stands, or the name of one in the same region."""
_ZONES = (("availabilityZone",), ("availabilityZones",))
_LABELS = {
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
}
_ZONE = re.compile(r"^([a-z]{2}(?:-[a-z]+)+-\d)(?:[a-z]|-[a-z0-9-]+)$|^([a-z]+-[a-z]+\d)-[a-z]$")
"""Of AWS (its local zones too), of Google Cloud."""


def aws_regions(resource: Resource, stack: Stack) -> Iterator[tuple[Node, str]]:
    """Each region of an AWS resource, with the place that says it.

    Raises:
        UnknownValueError: after all that are known: a region is not, or nothing says in which one the resource is.
    """
    if resource.type.split(":")[1].partition("/")[0] in GLOBAL:
        return
    inputs = resource.inputs
    unknown: list[UnknownValueError] = []
    own = None
    try:
        own = inputs.get("region") or _default(resource, stack)
    except UnknownValueError as error:
        unknown.append(error)
    # A zone is always in the resource's region, and says it where nothing else does.
    paths = (*_ELSEWHERE.get(resource.type, ()), *(_ZONES if own is None else ()))
    found = [] if own is None else [(inputs.node("region"), own)]
    for path in paths:
        found += _said(inputs, path, unknown)
    yield from found
    if not found:
        # It is taken from the environment of whoever deploys.
        unknown.append(UnknownValueError("region"))
    yield from raise_first(unknown)


_ON_THE_WAY = re.compile(
    r"(^|\.)(spec|template|nodeSelector|affinity|nodeAffinity|requiredDuringSchedulingIgnoredDuringExecution"
    r"|nodeSelectorTerms|matchExpressions|requirements)(\[\d+\])?$"
)
"""Where a demand for a region may stand below."""


def kubernetes_regions(resource: Resource) -> Iterator[tuple[Node, str]]:
    """Each region, or zone's region, that pods, volumes or nodes are asked to be in, with its place.

    Raises:
        UnknownValueError: after all that are known: a region is not.
    """
    unknown: list[UnknownValueError] = []
    for node in resource.inputs.walk():
        if node.data is UNKNOWN and _ON_THE_WAY.search(node.path):
            unknown.append(UnknownValueError(node.path))
        if not isinstance(node.data, Mapping):
            continue
        for label in sorted(_LABELS & node.data.keys()):
            yield from _said(node, (label,), unknown)
        key = node.node("key").data
        if key is UNKNOWN and node.has("values"):
            unknown.append(UnknownValueError(node.at("key")))
        elif key in _LABELS:
            try:
                wanted = node.get("operator", default="In") == "In"
            except UnknownValueError as error:
                unknown.append(error)
                continue
            yield from _said(node, ("values",), unknown) if wanted else ()
    yield from raise_first(unknown)


def _default(resource: Resource, stack: Stack) -> str | None:
    given = None if resource.provider is None else resource.provider.inputs.get("region")
    region: str | None = given or stack.config.get("aws:region")
    return region


def _said(node: Node, path: tuple[str, ...], unknown: list[UnknownValueError]) -> Iterator[tuple[Node, str]]:
    """What stands at the end of `path`; lists on the way, and at its end, are gone through."""
    found = node.node(path[0])
    try:
        nodes = list(found.each()) if isinstance(found.data, list) else [found]
        for below in nodes:
            if path[1:]:
                yield from _said(below, path[1:], unknown)
            elif (region := _region(below.get(), path[0])) is not None:
                yield below, region
    except UnknownValueError as error:
        unknown.append(error)


def _region(value: object, key: str) -> str | None:
    """The region that a region's name, a zone or an ARN says; None where it says none."""
    text = str(value or "")
    if text.startswith("arn:"):
        return [*text.split(":"), "", "", ""][3] or None
    if key in _NAMES or not text:
        return None
    zone = _ZONE.match(text)
    return text if zone is None else zone[1] or zone[2]

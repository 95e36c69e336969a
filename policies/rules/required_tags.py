"""AWS resources carry the tags that the site demands."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.node import Node
from policies.readers.aws.tags import added, missing
from policies.resources import Resource
from policies.rule import About, Change, Group, Level, Rule, Severity, Violation, violation

TYPES = (
    "aws:autoscaling/group:Group",
    "aws:backup/vault:Vault",
    "aws:cloudwatch/logGroup:LogGroup",
    "aws:docdb/cluster:Cluster",
    "aws:dynamodb/table:Table",
    "aws:ebs/volume:Volume",
    "aws:ec2/capacityReservation:CapacityReservation",
    "aws:ec2/fleet:Fleet",
    "aws:ec2/instance:Instance",
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:ec2/natGateway:NatGateway",
    "aws:ec2/spotInstanceRequest:SpotInstanceRequest",
    "aws:ecr/repository:Repository",
    "aws:efs/fileSystem:FileSystem",
    "aws:eks/cluster:Cluster",
    "aws:eks/nodeGroup:NodeGroup",
    "aws:elasticache/replicationGroup:ReplicationGroup",
    "aws:fsx/*",
    "aws:kms/key:Key",
    "aws:lb/loadBalancer:LoadBalancer",
    "aws:alb/loadBalancer:LoadBalancer",
    "aws:rds/cluster:Cluster",
    "aws:rds/clusterInstance:ClusterInstance",
    "aws:rds/instance:Instance",
    "aws:s3/bucket:Bucket",
    "aws:s3/bucketV2:BucketV2",
    "aws:sagemaker/endpoint:Endpoint",
    "aws:sagemaker/notebookInstance:NotebookInstance",
    "aws:secretsmanager/secret:Secret",
)
"""Those that can be tagged and cost money or hold data."""


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """No demanded tag is missing."""
    lacks = missing(about.resource, about.parameters["tags"])
    if lacks:
        names = ", ".join(lacks)
        yield violation(inputs, "tags", what=f"the resource has no tag {names}", mend=f"set {names} in its tags")


def remediate(resource: Resource, parameters: Mapping[str, Any]) -> Iterator[Change]:
    """Add the missing tags whose values the site gives."""
    yield from added(resource, parameters["tags"], parameters["values"])


RULE = Rule(
    id="required-tags",
    title="AWS resources carry the tags that the site demands",
    group=Group.COMPLIANCE,
    severity=Severity.LOW,
    level=Level.ADVISORY,
    reason="nobody can say whose it is, what it costs them, or whether it can go",
    mend="set the tags, or defaultTags of the provider",
    source="AWS Whitepaper, Best Practices for Tagging AWS Resources",
    url="https://docs.aws.amazon.com/whitepapers/latest/tagging-best-practices/tagging-best-practices.html",
    types=TYPES,
    check=check,
    remediate=remediate,
    parameters={
        "tags": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": ["owner"],
            "description": "Names of the tags that resources must have, whichever way they are capitalized.",
        },
        "values": {
            "type": "object",
            "additionalProperties": {"type": "string", "minLength": 1},
            "default": {},
            "description": "Values, by the tags' names; at level remediate tags that are missing are set to them.",
        },
    },
)

"""A bucket says that a KMS key encrypts it."""

from collections.abc import Iterator

from policies.node import Node
from policies.readers.unknown import same
from policies.resources import Resource, Stack
from policies.rule import About, Group, Level, Rule, Scope, Severity, Violation, violation

_BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
_CONFIGURATIONS = (
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2",
)
_BALANCERS = ("aws:lb/loadBalancer:LoadBalancer", "aws:alb/loadBalancer:LoadBalancer")
_LOGGINGS = ("aws:s3/bucketLogging:BucketLogging", "aws:s3/bucketLoggingV2:BucketLoggingV2")


def check(bucket: Node, about: About) -> Iterator[Violation]:
    """Inline, or by a resource of its own."""
    if _takes_access_logs(about.resource, about.stack):
        return
    rules = [*_inline(bucket), *_separate(about.resource, about.stack)]
    algorithms = [rule.get("applyServerSideEncryptionByDefault", "sseAlgorithm", default="AES256") for rule in rules]
    if not any(algorithm.startswith("aws:kms") for algorithm in algorithms):
        yield violation(
            bucket, "serverSideEncryptionConfiguration", what="no KMS key encrypts the bucket, only S3's own keys do"
        )


def _takes_access_logs(bucket: Resource, stack: Stack) -> bool:
    """Of load balancers, or of other buckets: AWS does not write them with a KMS key."""
    name = bucket.inputs.node("bucket")
    balancers = stack.of_type(*_BALANCERS)
    loggings = stack.of_type(*_LOGGINGS)
    return any(
        each.refers_to(bucket) or same(name, each.inputs.node("accessLogs", "bucket")) for each in balancers
    ) or any(
        each.refers_to(bucket, by="targetBucket") or same(name, each.inputs.node("targetBucket")) for each in loggings
    )


def _inline(bucket: Node) -> Iterator[Node]:
    for configuration in bucket.each("serverSideEncryptionConfiguration"):
        yield from configuration.each("rule")
    for configuration in bucket.each("serverSideEncryptionConfigurations"):
        yield from configuration.each("rules")


def _separate(bucket: Resource, stack: Stack) -> Iterator[Node]:
    for configuration in stack.of_type(*_CONFIGURATIONS):
        if configuration.refers_to(bucket) or same(bucket.inputs.node("bucket"), configuration.inputs.node("bucket")):
            yield from configuration.inputs.each("rules")


RULE = Rule(
    id="aws-encrypted-buckets",
    title="Buckets are encrypted with a KMS key",
    group=Group.SECURITY,
    severity=Severity.LOW,
    level=Level.ADVISORY,
    reason="no key's policy stands between the bucket's readers and the weights, and no use of a key is logged",
    mend="add a BucketServerSideEncryptionConfiguration with sseAlgorithm aws:kms and the key",
    source="AWS Security Hub CSPM, control S3.17",
    url="https://docs.aws.amazon.com/securityhub/latest/userguide/s3-controls.html",
    types=_BUCKETS,
    scope=Scope.STACK,
    check=check,
)

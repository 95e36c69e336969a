"""No bucket is open to everybody.

Not judged: multi-region access points, access grants, and snapshots of volumes.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.aws.iam import everybody, statements
from policies.readers.unknown import each
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_BLOCKS = (
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock",
)
_FLAGS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
_HOLDERS = (
    "aws:s3/bucket:Bucket",
    "aws:s3/bucketV2:BucketV2",
    "aws:s3/bucketAcl:BucketAcl",
    "aws:s3/bucketAclV2:BucketAclV2",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:s3/bucketObject:BucketObject",
    "aws:s3/bucketObjectv2:BucketObjectv2",
    "aws:s3/accessPoint:AccessPoint",
    "aws:s3control/accessPointPolicy:AccessPointPolicy",
)
_OPEN_ACLS = {"public-read", "public-read-write", "authenticated-read"}
_OPEN_GROUPS = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Flags, canned ACLs, grants and statements, each alone."""
    inputs = resource.inputs
    if resource.type in _BLOCKS:
        for flag in _FLAGS:
            yield inputs.node(flag)
        return
    yield inputs.node("acl")
    yield from each(inputs, "grants")
    yield from each(inputs, "accessControlPolicy", "grants")
    yield from statements(inputs, "policy")


def check(item: Node, about: About) -> Iterator[Violation]:
    """Nothing opens the bucket to everybody."""
    if about.resource.type in _BLOCKS:
        # AWS takes a flag that is not there for false.
        if item.get() is not True:
            yield violation(item, what="public access is not blocked in this way", mend="set it to true")
    elif item.path == "acl":
        if item.get() in _OPEN_ACLS:
            yield violation(item, what="the ACL opens it to strangers", mend="set it to private, or leave it out")
    elif item.path.startswith("policy"):
        yield from _statement(item)
    else:
        yield from _grant(item)


def _grant(grant: Node) -> Iterator[Violation]:
    """Inline grants hold the group themselves, those of an ACL in their grantee."""
    for keys in (("uri",), ("grantee", "uri")):
        if grant.get(*keys) in _OPEN_GROUPS:
            yield violation(grant, *keys, what="the grant is to strangers", mend="take the grant away")


def _statement(statement: Node) -> Iterator[Violation]:
    """An Allow to everybody needs a condition that names who is meant."""
    key = everybody(statement)
    if key is not None:
        yield violation(
            statement,
            key,
            what="the bucket's policy allows it to everybody",
            mend="name the principals, or add a Condition on aws:SourceVpce or aws:PrincipalOrgID",
        )


RULE = Rule(
    id="aws-public-buckets",
    title="Buckets are not open to everybody",
    group=Group.SECURITY,
    severity=Severity.CRITICAL,
    reason="strangers can read weights, prompts and logs, or put weights of their own in their place",
    mend="block public access, and name who may come in",
    source="CIS Amazon Web Services Foundations Benchmark v3.0.0, 2.1.4",
    url="https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html",
    types=(*_BLOCKS, *_HOLDERS),
    items=items,
    check=check,
)

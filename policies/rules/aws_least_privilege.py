"""No identity may do everything, or all that a sensitive service can do."""

import re
from collections.abc import Iterator

from policies.node import UNKNOWN, Node
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.aws import ROLE, listed

_DOCUMENTS = (
    "aws:iam/policy:Policy",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/groupPolicy:GroupPolicy",
)
"""Policies of identities. In one of a resource, such as a KMS key, `*` is that resource alone."""
_ATTACHMENTS = (
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
    "aws:iam/policyAttachment:PolicyAttachment",
)
_SENSITIVE = ("iam", "kms", "organizations", "s3", "secretsmanager", "sts")
"""Services of which all actions on all resources give away the account, its keys, or its data."""
_MANAGED = re.compile(
    r":aws:policy/(AdministratorAccess|PowerUserAccess|IAMFullAccess|AmazonS3FullAccess|SecretsManagerReadWrite)$"
)
"""AWS's own policies that say the same."""


def items(resource: Resource) -> Iterator[Node]:
    """Statements, and names of managed policies."""
    inputs = resource.inputs
    if resource.type in _ATTACHMENTS:
        yield inputs.node("policyArn")
    elif resource.type == ROLE:
        yield from inputs.each("managedPolicyArns")
        for inline in inputs.each("inlinePolicies"):
            yield from _statements(inline)
    else:
        yield from _statements(inputs)


def _statements(holder: Node) -> Iterator[Node]:
    """A document that is not known yet is an item as well."""
    if holder.data is UNKNOWN or holder.node("policy").data is UNKNOWN:
        yield Node(UNKNOWN, holder.at("policy"))
    else:
        yield from holder.document("policy").each("Statement")


def check(item: Node, about: About) -> Iterator[Violation]:
    """Whichever of them it is."""
    if isinstance(item.data, str):
        if _MANAGED.search(item.data):
            yield violation(
                item,
                what=f"{item.data.rpartition('/')[2]} is attached",
                mend="attach a policy with those actions and resources that the workload uses",
            )
    elif item.get("Effect") == "Allow":
        yield from _allowed(item)


def _allowed(statement: Node) -> Iterator[Violation]:
    """Wide actions matter on all resources only; so resources are asked for after them."""
    wide = sorted({action for action in listed(statement.get("Action")) if _wide(action)})
    # A condition may bound a service as well as resources do. It does not bound everything.
    if statement.has("Condition"):
        wide = [action for action in wide if _all(action)]
    if wide and _everywhere(statement):
        yield violation(statement, "Action", what=f"{', '.join(wide)} is allowed on all resources")
    if statement.has("NotAction") and _everywhere(statement):
        yield violation(statement, "NotAction", what="all but a few actions are allowed on all resources")


def _wide(action: str) -> bool:
    service, _, name = action.casefold().partition(":")
    return _all(action) or (service in _SENSITIVE and name == "*")


def _all(action: str) -> bool:
    return action in {"*", "*:*"}


def _everywhere(statement: Node) -> bool:
    return any(
        resource == "*" or re.fullmatch(r"arn:[^:]*:[^:]*:\*?:\*?:\*", resource) is not None
        for resource in listed(statement.get("Resource"))
    )


RULE = Rule(
    id="aws-least-privilege",
    title="IAM policies allow what a workload uses, and not everything",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="whoever takes over one engine or one pipeline has the account, its keys or its data",
    mend="name the actions and the resources that the workload uses",
    source="CIS Amazon Web Services Foundations Benchmark v3.0.0, 1.16",
    url="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html",
    types=(*_DOCUMENTS, *_ATTACHMENTS, ROLE),
    items=items,
    check=check,
)

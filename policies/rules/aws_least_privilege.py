"""No identity may do everything, or all that a sensitive service can do.

Not judged: what several statements or policies allow together; permissions that a boundary takes away again. A policy that
is made to be a boundary is judged as any other.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from policies.node import Node, UnknownValueError
from policies.readers.aws.iam import ROLE, bounds, reaches_all, spelled, statements
from policies.readers.unknown import any_known, each, partition_known, texts
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_DOCUMENTS = {
    "aws:iam/policy:Policy": "policy",
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/userPolicy:UserPolicy": "policy",
    "aws:iam/groupPolicy:GroupPolicy": "policy",
    "aws:ssoadmin/permissionSetInlinePolicy:PermissionSetInlinePolicy": "inlinePolicy",
}
"""Policies of identities. In one of a resource, such as a KMS key, `*` is that resource alone."""
_ATTACHMENTS = {
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "policyArn",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment": "policyArn",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment": "policyArn",
    "aws:iam/policyAttachment:PolicyAttachment": "policyArn",
    "aws:iam/rolePolicyAttachmentsExclusive:RolePolicyAttachmentsExclusive": "policyArns",
    "aws:iam/userPolicyAttachmentsExclusive:UserPolicyAttachmentsExclusive": "policyArns",
    "aws:iam/groupPolicyAttachmentsExclusive:GroupPolicyAttachmentsExclusive": "policyArns",
    "aws:ssoadmin/managedPolicyAttachment:ManagedPolicyAttachment": "managedPolicyArn",
}
_ACCESS = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
_SENSITIVE = ("iam", "kms", "organizations", "s3", "secretsmanager", "sts")
"""Services of which all actions on all resources give away the account, its keys, or its data."""
_MANAGED = re.compile(
    r":aws:policy/(AdministratorAccess|PowerUserAccess|IAMFullAccess|AmazonS3FullAccess|SecretsManagerReadWrite)$"
)
"""AWS's own policies that say the same."""
_ADMINISTRATOR = re.compile(r"admin|break-?glass|AWSReservedSSO", re.IGNORECASE)
"""Names of roles that somebody has to have."""


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Statements, and names of managed policies."""
    inputs = resource.inputs
    if resource.type == _ACCESS:
        yield inputs
    elif resource.type in _ATTACHMENTS:
        yield from texts(inputs, _ATTACHMENTS[resource.type])
    elif resource.type == ROLE:
        yield from each(inputs, "managedPolicyArns")
        for inline in each(inputs, "inlinePolicies"):
            if isinstance(inline, UnknownValueError):
                yield inline
            else:
                yield from statements(inline, "policy")
    else:
        yield from statements(inputs, _DOCUMENTS[resource.type])


def check(item: Node, about: About) -> Iterator[Violation]:
    """Neither a statement of a policy nor a managed policy gives everything away."""
    if about.resource.type == _ACCESS:
        yield from _access(item)
    elif about.resource.type in _ATTACHMENTS or item.path.startswith("managedPolicyArns"):
        name = str(item.get(default=""))
        if _MANAGED.search(name):
            yield violation(
                item,
                what=f"{name.rpartition('/')[2]} is attached",
                mend="attach a policy with those actions and resources that the workload uses",
            )
    elif item.get("Effect") == "Allow":
        yield from _allowed(item)


def _access(association: Node) -> Iterator[Violation]:
    """Of EKS: a role that is no administrator's by its name is not one by its access either."""
    if not str(association.get("policyArn")).endswith("/AmazonEKSClusterAdminPolicy"):
        return
    if not _ADMINISTRATOR.search(str(association.get("principalArn"))):
        yield violation(
            association,
            "policyArn",
            what="the principal is an administrator of the whole Kubernetes cluster",
            mend="associate a policy such as AmazonEKSEditPolicy, for the namespaces that the principal works in",
        )


def _allowed(statement: Node) -> Iterator[Violation]:
    """Wide actions matter on all resources only; so resources and conditions are asked for after them."""
    wide, unknown = partition_known(texts(statement, "Action"), lambda action: _service(action) is not None)
    everything = [action for action in wide if _service(action) == "*"]
    if len(everything) < len(wide) and bounds(statement):
        # A condition may bound a service as well as resources do. It does not bound everything.
        wide = everything
    wide = [action for action in wide if _everywhere(statement, str(_service(action)))]
    if wide:
        names = ", ".join(sorted({str(action.get()) for action in wide}))
        yield violation(statement, "Action", what=f"{names} is allowed on all resources")
    elif unknown is not None and _everywhere(statement, "*"):
        raise unknown
    if statement.has("NotAction") and _everywhere(statement, "*"):
        yield violation(statement, "NotAction", what="all but a few actions are allowed on all resources")


def _service(action: Node) -> str | None:
    """The sensitive service of which all actions are meant, `*` for all services; None where less is."""
    service, _, name = spelled(str(action.get()).casefold()).partition(":")
    if service == "*" and name in {"", "*"}:
        return "*"
    if name != "*":
        return None
    return next((sensitive for sensitive in _SENSITIVE if fnmatchcase(sensitive, service)), None)


def _everywhere(statement: Node, service: str) -> bool:
    # All but some resources are all for whoever looks for a way in.
    return statement.has("NotResource") or any_known(
        texts(statement, "Resource"), lambda resource: reaches_all(str(resource.get()), service)
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
    types=(*_DOCUMENTS, *_ATTACHMENTS, ROLE, _ACCESS),
    items=items,
    check=check,
)

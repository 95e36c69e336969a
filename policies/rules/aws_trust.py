"""Policies of resources and roles name whom they let in. Buckets' policies are of the rule aws-public-buckets.

Not judged: services without aws:SourceArn; SAML providers; OpenSearch, whose open policy within a VPC is usual; Lambda.
"""

from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.aws.iam import ROLE, everybody, names_bearer, statements
from policies.readers.unknown import any_known, texts
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_IMAGE = "aws:ec2/amiLaunchPermission:AmiLaunchPermission"
_DOCUMENTS = {
    ROLE: "assumeRolePolicy",
    "aws:kms/key:Key": "policy",
    "aws:kms/keyPolicy:KeyPolicy": "policy",
    "aws:kms/replicaKey:ReplicaKey": "policy",
    "aws:kms/externalKey:ExternalKey": "policy",
    "aws:secretsmanager/secret:Secret": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:ecr/registryPolicy:RegistryPolicy": "policy",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "policy",
    "aws:backup/vaultPolicy:VaultPolicy": "policy",
    "aws:sqs/queue:Queue": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:sns/topic:Topic": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
}
"""By type the property that holds the document."""


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Statements, each alone."""
    if resource.type == _IMAGE:
        yield resource.inputs
    else:
        yield from statements(resource.inputs, _DOCUMENTS[resource.type])


def check(item: Node, about: About) -> Iterator[Violation]:
    """An Allow to everybody needs a condition that says who is meant; one to the users of an OIDC provider, whose tokens."""
    if about.resource.type == _IMAGE:
        if item.get("group") == "all":
            yield violation(
                item,
                "group",
                what="every AWS account may start the machine image, and read what is on it",
                mend="name the account or the organization",
            )
        return
    key = everybody(item)
    if key is not None:
        yield violation(item, key, what="the policy lets everybody in")
    elif item.get("Effect") == "Allow" and _by_tokens(item) and not names_bearer(item):
        yield violation(
            item,
            "Condition",
            what="whoever gets a token of the provider may take the role",
            mend="add a condition on the provider's sub claim that names the repository or the service account",
        )


def _by_tokens(statement: Node) -> bool:
    return any_known(
        texts(statement, "Principal", "Federated"), lambda provider: ":oidc-provider/" in str(provider.get())
    )


RULE = Rule(
    id="aws-trust",
    title="Resource and trust policies name whom they let in",
    group=Group.SECURITY,
    severity=Severity.CRITICAL,
    reason="strangers can take the role, use the key, or read what the resource holds",
    mend="name the principals, or add a Condition on aws:PrincipalOrgID or aws:SourceAccount",
    source="AWS Identity and Access Management User Guide, AWS JSON policy elements: Principal; Create a role for OpenID"
    " Connect federation",
    url="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html",
    types=(*_DOCUMENTS, _IMAGE),
    items=items,
    check=check,
)

"""Secrets are encrypted with a KMS key of one's own."""

from collections.abc import Iterator

from policies.node import Node
from policies.readers.secrets.values import literal, says_secret
from policies.rule import About, Group, Rule, Severity, Violation, violation

_SECRET = "aws:secretsmanager/secret:Secret"  # noqa: S105 -- a type
_CLUSTER = "aws:eks/cluster:Cluster"
_PARAMETER = "aws:ssm/parameter:Parameter"
_AWS_OWN = ("alias/aws/secretsmanager", "alias/aws/ssm")


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """A secret, a cluster and a parameter are encrypted with a key of one's own."""
    if about.resource.type == _SECRET:
        yield from _keyed(inputs, "kmsKeyId")
    elif about.resource.type == _CLUSTER:
        yield from _cluster(inputs)
    elif inputs.get("type") == "SecureString":
        yield from _keyed(inputs, "keyId")
    else:
        yield from _clear(inputs, about.resource.name)


def _keyed(inputs: Node, key: str) -> Iterator[Violation]:
    """A key that is made in the same stack is not known yet, and is one all the same."""
    named = inputs.node(key).data
    if named is None or str(named).endswith(_AWS_OWN):
        yield violation(
            inputs, key, what="the secret is encrypted with the key that AWS manages for all of the account"
        )


def _cluster(inputs: Node) -> Iterator[Violation]:
    """EKS encrypts in any case, from Kubernetes 1.28 on by a key that AWS owns, which nobody can audit or withdraw."""
    if "secrets" not in inputs.get("encryptionConfig", "resources", default=[]):
        yield violation(
            inputs,
            "encryptionConfig",
            what="the cluster's secrets are encrypted with a key that AWS owns",
            mend="set encryptionConfig with a provider's keyArn and the resources [secrets]",
        )


def _clear(inputs: Node, resource: str) -> Iterator[Violation]:
    """A plain parameter whose name says that it is a secret, unless its value says where the secret is, or that it is none."""
    name = str(inputs.get("name", default=resource))
    if says_secret(name) and any(literal(str(inputs.get(key, default=""))) for key in ("value", "insecureValue")):
        yield violation(
            inputs,
            "type",
            what=f"by its name {name} is a secret, and everybody who may read parameters reads it in clear",
            mend="set type to SecureString, and keyId to a KMS key",
        )


RULE = Rule(
    id="aws-kms-secrets",
    title="Secrets are encrypted with a KMS key of one's own",
    group=Group.SECURITY,
    severity=Severity.MEDIUM,
    reason="no key's policy says who may decrypt it, and nobody can withdraw the key",
    mend="name a customer managed KMS key",
    source="AWS Secrets Manager User Guide, Secret encryption and decryption; AWS Security Hub CSPM, control EKS.3",
    url="https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html",
    types=(_SECRET, _PARAMETER, _CLUSTER),
    check=check,
)

"""Statements of IAM policies: whom they let in, what narrows them, how far a pattern reaches."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers.networks import is_wider
from policies.readers.unknown import any_known, each, texts

ROLE = "aws:iam/role:Role"

_WHO = {
    *("aws:sourceip", "aws:vpcsourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:sourcearn", "aws:sourceaccount"),
    *("aws:sourceowner", "aws:sourceorgid", "aws:sourceorgpaths", "aws:principalorgid", "aws:principalorgpaths"),
    *("aws:principalaccount", "aws:principalarn", "aws:userid", "s3:dataaccesspointarn", "s3:dataaccesspointaccount"),
    *("aws:principalservicename", "kms:calleraccount", "s3:x-amz-server-side-encryption-aws-kms-key-id"),
}
"""Keys of conditions that say who is meant; by the most of them S3 does not call a policy public. IAM takes any case."""
_TRUE = {"aws:principalisawsservice", "elasticfilesystem:accessedviamounttarget"}
"""Keys that do so where they are true: a service of AWS, and whoever the mount target's security group lets in."""
_POSITIVE = {"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"}
"""Operators that let in what they name. Those ending in IfExists let in too who does not have the key."""
_CLAIMS = {
    *("sub", "repository", "repository_id", "repository_owner", "repository_owner_id", "job_workflow_ref"),
    *("enterprise", "enterprise_id", "namespace_path", "project_path"),
}
"""Claims of a token that say whose it is."""
_FORMAL = re.compile(r"^(vpce?-|o-|repo:|organization:|project_path:|system:serviceaccount:)")
"""How values begin that say nothing yet."""
_BROAD = (8, 32)
"""Prefixes of IPv4 and IPv6; S3 calls a policy public that lets shorter ones in."""
_BY_ANYBODY = {
    *("aws:securetransport", "aws:multifactorauthpresent", "aws:multifactorauthage", "aws:requestedregion"),
    *("aws:currenttime", "aws:epochtime", "aws:tokenissuetime", "aws:useragent", "aws:referer", "aws:viaawsservice"),
    *("aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:sourceip", "aws:vpcsourceip", "aws:sourcevpc"),
    *("aws:sourcevpce", "aws:resourceaccount", "aws:resourceorgid", "aws:resourceorgpaths", "aws:userid"),
    *("aws:username", "s3:tlsversion", "aws:ec2instancesourcevpc", "aws:ec2instancesourceprivateipv4"),
}
"""Keys of conditions that say how, when and from where somebody asks, and nothing of what for."""
_KINDS = {"kms": ("key",), "secretsmanager": ("secret",), "iam": ("role", "user", "policy", "group")}
"""By service, the kinds of resources of which all are as good as everything."""


def statements(holder: Node, key: str) -> Iterator[Node | UnknownValueError]:
    """Every statement of the document at `key`; in the place of a document that is not known yet, the error."""
    try:
        document = holder.document(key)
    except UnknownValueError:
        yield UnknownValueError(holder.at(key))
        return
    yield from each(document, "Statement")


def everybody(statement: Node) -> str | None:
    """The key by which an Allow lets everybody in; None where principals are named, or a condition says who is meant.

    Raises:
        UnknownValueError: what decides is unknown.
    """
    if statement.get("Effect") != "Allow":
        return None
    if statement.has("NotPrincipal"):
        key = "NotPrincipal"
    elif any_known(_named(statement), lambda name: name.get() == "*"):
        key = "Principal"
    else:
        return None
    return None if any_known(statement.entries("Condition"), lambda condition: _says_who(*condition)) else key


def _named(statement: Node) -> Iterator[Node]:
    keys = ("Principal",) if isinstance(statement.node("Principal").data, str) else ("Principal", "AWS")
    yield from texts(statement, *keys)


def _says_who(operator: str, tests: Node) -> bool:
    quantifier, _, kind = operator.casefold().rpartition(":")

    def narrows(test: tuple[str, Node]) -> bool:
        name, values = test[0].casefold(), test[1]
        if kind == "bool":
            return name in _TRUE and str(values.get()).casefold() == "true"
        return kind in _POSITIVE and name in _WHO and not _anything(values)

    # For all of no values everything holds.
    return quantifier != "forallvalues" and any_known(tests.entries(), narrows)


def names_bearer(statement: Node) -> bool:
    """Whether a condition says whose tokens of an OIDC provider are meant.

    Raises:
        UnknownValueError: what decides is unknown.
    """

    def says(condition: tuple[str, Node]) -> bool:
        kind = condition[0].casefold().rpartition(":")[2]
        return kind in _POSITIVE and any_known(
            condition[1].entries(),
            lambda test: test[0].casefold().rpartition(":")[2] in _CLAIMS and not _anything(test[1]),
        )

    return any_known(statement.entries("Condition"), says)


def _anything(values: Node) -> bool:
    """Whether one of the values lets in more or less everybody."""
    return any_known(texts(values), lambda value: _is_anything(str(value.get())))


def _is_anything(value: str) -> bool:
    parts = value.split(":", 5)
    if parts[0] == "arn":
        # The last star of a shorter one stands for all that follows.
        account, resource = (parts + ["*"] * 5)[4:6]
        return account.startswith("*") or (account == "" and resource.startswith("*"))
    said = _FORMAL.sub("", value)
    # Of service accounts a namespace for all, or a name in all namespaces, is somebody.
    if value.startswith("system:serviceaccount:"):
        return not said.strip("*?:")
    return said.startswith(("*", "?")) or is_wider(value, *_BROAD)


def bounds(statement: Node) -> bool:
    """Whether a condition says for what the actions are allowed, and not only how they are asked for.

    Raises:
        UnknownValueError: what decides is unknown.
    """

    def says(condition: tuple[str, Node]) -> bool:
        return condition[0].casefold() != "null" and any_known(
            condition[1].entries(),
            lambda test: (
                not test[0].casefold().startswith("aws:principal")
                and test[0].casefold() not in _BY_ANYBODY
                and not any_known(texts(test[1]), lambda value: not str(value.get()).strip("*?"))
            ),
        )

    return any_known(statement.entries("Condition"), says)


def spelled(pattern: str) -> str:
    """A pattern with one star for each run of wildcards that means the same."""
    return re.sub(r"[*?]*\*[*?]*", "*", pattern)


def reaches_all(resource: str, service: str) -> bool:
    """Whether a pattern of resources means all of a service in an account, or all of a kind that is as good."""
    parts = spelled(resource).split(":", 5)
    if len(parts) < 6:
        # The last star stands for all that follows.
        return parts[-1] == "*" and (service == "*" or parts[2:3] in ([], ["*"], [service]))
    if parts[2] not in {"*", service} and service != "*":
        return False
    kinds = "|".join(_KINDS.get(parts[2], ()))
    return re.fullmatch(rf"\*|\*/\*|({kinds})[/:]\*" if kinds else r"\*|\*/\*", parts[5]) is not None

"""Statements of IAM policies: whom they let in, what narrows them, how far a pattern reaches."""

from __future__ import annotations

from typing import Any

import pytest

from policies.node import UNKNOWN, Node, UnknownValueError
from policies.readers.aws.iam import bounds, everybody, names_bearer, reaches_all, statements


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        ({"Effect": "Allow", "Principal": "*"}, "Principal"),
        ({"Effect": "Allow", "Principal": {"AWS": "*"}}, "Principal"),
        ({"Effect": "Allow", "Principal": {"AWS": ["123456789012", "*"]}}, "Principal"),
        ({"Effect": "Allow", "NotPrincipal": {"AWS": "123456789012"}}, "NotPrincipal"),
        ({"Effect": "Allow", "Principal": {"AWS": "123456789012"}}, None),
        ({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}, None),
        ({"Effect": "Allow"}, None),
        ({"Effect": "Deny", "Principal": "*"}, None),
        ({"Effect": "Deny", "NotPrincipal": {"AWS": "123456789012"}}, None),
    ],
)
def test_whom_a_statement_lets_in(statement: dict[str, Any], key: str | None) -> None:
    assert everybody(Node(statement)) == key


@pytest.mark.parametrize(
    ("operator", "name", "value", "narrows"),
    [
        ("StringEquals", "aws:SourceVpce", "vpce-1", True),
        ("stringequals", "AWS:SOURCEVPCE", ["vpce-1", "vpce-2"], True),
        ("StringEquals", "aws:UserAgent", "vllm", False),
        ("StringNotEquals", "aws:SourceVpce", "vpce-1", False),
        ("StringEqualsIfExists", "aws:SourceVpce", "vpce-1", False),
        ("ForAnyValue:StringLike", "aws:PrincipalOrgPaths", "o-a1/r-1/*", True),
        ("ForAllValues:StringLike", "aws:PrincipalOrgPaths", "o-a1/r-1/*", False),
        ("StringLike", "aws:PrincipalOrgID", "o-*", False),
        ("StringLike", "aws:SourceVpc", "vpc-*", False),
        ("StringLike", "aws:SourceVpc", "vpc-0?", True),
        ("StringLike", "aws:UserId", ["AROA1:*", "?*"], False),
        ("Bool", "aws:PrincipalIsAWSService", "true", True),
        ("Bool", "aws:PrincipalIsAWSService", True, True),
        ("Bool", "aws:PrincipalIsAWSService", "false", False),
        ("Bool", "aws:SecureTransport", "true", False),
        ("Bool", "aws:SourceVpce", "vpce-1", False),
        ("StringEquals", "aws:PrincipalIsAWSService", "true", False),
        ("IpAddress", "aws:SourceIp", "8.0.0.0/8", True),
        ("IpAddress", "aws:SourceIp", "8.0.0.0/7", False),
        ("IpAddress", "aws:SourceIp", "2a05:d014::/32", True),
        ("IpAddress", "aws:SourceIp", "2a05:d014::/31", False),
        ("ArnLike", "aws:SourceArn", "arn:aws:s3:::weights", True),
        ("ArnLike", "aws:SourceArn", "arn:aws:s3:::*", False),
        ("ArnLike", "aws:SourceArn", "arn:aws:sns:*:123456789012:*", True),
        ("ArnLike", "aws:SourceArn", "arn:aws:sns:*:*:topic", False),
        ("ArnLike", "aws:SourceArn", "arn:aws:sns:*", False),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::123456789012:role/*", True),
        ("ArnLike", "aws:PrincipalArn", "arn:*", False),
    ],
)
def test_conditions_that_say_who_is_meant(operator: str, name: str, value: Any, narrows: bool) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Condition": {operator: {"aws:SecureTransport": "x", name: value}},
    }
    assert everybody(Node(statement)) == (None if narrows else "Principal")


@pytest.mark.parametrize(
    ("operator", "claim", "value", "named"),
    [
        ("StringEquals", "sub", "repo:example/llm:ref:refs/heads/main", True),
        ("StringLike", "sub", "repo:example/*", True),
        ("StringLike", "sub", "repo:*", False),
        ("StringNotLike", "sub", "repo:example/*", False),
        ("ForAnyValue:StringLike", "repository_owner", "example", True),
        ("StringEquals", "aud", "sts.amazonaws.com", False),
        ("StringLike", "sub", ["repo:example/llm:*", "*"], False),
        ("StringLike", "sub", "system:serviceaccount:inference:*", True),
        ("StringLike", "sub", "system:serviceaccount:*:vllm", True),
        ("StringLike", "sub", "system:serviceaccount:*:*", False),
        ("StringLike", "sub", "system:serviceaccount:*", False),
        ("StringLike", "namespace_path", "*", False),
    ],
)
def test_conditions_that_say_whose_tokens_are_meant(operator: str, claim: str, value: Any, named: bool) -> None:
    assert names_bearer(Node({"Condition": {operator: {f"gitlab.example:{claim}": value}}})) is named


@pytest.mark.parametrize(
    ("condition", "bounded"),
    [
        ({"StringEquals": {"aws:ResourceTag/team": "ml"}}, True),
        ({"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:ResourceTag/team": "ml"}}, True),
        ({"Null": {"aws:ResourceTag/team": "false"}}, False),
        ({"StringEquals": {"aws:PrincipalTag/team": "ml"}}, False),
        ({"StringEquals": {"AWS:SourceVpce": "vpce-1"}}, False),
        ({"StringLike": {"aws:ResourceTag/team": ["ml", "*?"]}}, False),
        ({}, False),
    ],
)
def test_conditions_that_say_for_what(condition: dict[str, Any], bounded: bool) -> None:
    assert bounds(Node({"Condition": condition})) is bounded


@pytest.mark.parametrize(
    ("resource", "service", "all_of_it"),
    [
        ("*", "kms", True),
        ("*?*", "kms", True),
        ("?", "kms", False),
        ("arn:aws", "kms", False),
        ("arn:aws:*", "kms", True),
        ("arn:aws:kms:*", "kms", True),
        ("arn:aws:s3:*", "kms", False),
        ("arn:aws:s3:*", "*", True),
        ("arn:aws:kms:eu-central-1:123456789012", "kms", False),
        ("arn:aws:s3:::*", "s3", True),
        ("arn:aws:s3:::*", "kms", False),
        ("arn:aws:s3:::*", "*", True),
        ("arn:aws:*:*:*:*", "kms", True),
        ("arn:aws:s3:::*/*", "s3", True),
        ("arn:aws:s3:::weights/*", "s3", False),
        ("arn:aws:kms:*:123456789012:key/*", "kms", True),
        ("arn:aws:kms:*:123456789012:alias/*", "kms", False),
        ("arn:aws:iam::123456789012:role/*", "iam", True),
        ("arn:aws:iam::123456789012:role/ci-*", "iam", False),
        ("arn:aws:iam::123456789012:key/*", "iam", False),
        ("arn:aws:secretsmanager:*:*:secret:*", "secretsmanager", True),
        ("arn:aws:secretsmanager:*:*:secret:llm/*", "secretsmanager", False),
        ("arn:aws:sqs:*:*:/*", "sqs", False),
    ],
)
def test_how_far_a_pattern_reaches(resource: str, service: str, all_of_it: bool) -> None:
    assert reaches_all(resource, service) is all_of_it


def test_a_document_that_is_not_known_is_told_where_it_stands() -> None:
    for data, path in (
        ({"policy": UNKNOWN}, "policy"),
        (UNKNOWN, "policy"),
        ({"policy": {"Statement": UNKNOWN}}, "policy.Statement"),
    ):
        (found,) = statements(Node(data), "policy")
        assert isinstance(found, UnknownValueError)
        assert found.path == path

"""EC2's metadata service answers only requests that carry a token."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.node import Node
from policies.resources import Resource
from policies.rule import About, Change, Group, Rule, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Node]:
    """The metadata options, where they stand or would stand."""
    yield resource.inputs.node("metadataOptions")


def check(options: Node, about: About) -> Iterator[Violation]:
    """Tokens are required, or the service is off."""
    if options.get("httpEndpoint") == "disabled":
        return
    if options.get("httpTokens") != "required":
        yield violation(options, "httpTokens", what="the metadata service answers IMDSv1, without a token")


def remediate(resource: Resource, parameters: Mapping[str, Any]) -> Iterator[Change]:
    """Require tokens."""
    yield Change(("metadataOptions", "httpTokens"), "required")


RULE = Rule(
    id="aws-imdsv2",
    title="EC2 instances answer their metadata service by IMDSv2 only",
    group=Group.SECURITY,
    severity=Severity.HIGH,
    reason="with IMDSv1 one forged request through the instance gives its credentials away",
    mend="set metadataOptions.httpTokens to required",
    source="CIS Amazon Web Services Foundations Benchmark v3.0.0, 5.6",
    url="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html",
    types=(
        "aws:ec2/instance:Instance",
        "aws:ec2/launchTemplate:LaunchTemplate",
        "aws:ec2/launchConfiguration:LaunchConfiguration",
    ),
    items=items,
    check=check,
    remediate=remediate,
)

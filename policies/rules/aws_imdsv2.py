"""EC2's metadata service answers only requests that carry a token.

Not judged: templates outside of the stack, and what EKS gives node groups that have no template.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.node import Key, Node
from policies.readers.kubernetes.karpenter import NODE_CLASS, is_node_class
from policies.resources import Resource
from policies.rule import About, Change, Group, Rule, Severity, Violation, violation

_DEFAULTS = "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults"


def items(resource: Resource) -> Iterator[Node]:
    """The metadata options, where they stand or would stand. An instance without any takes those of its template."""
    options = resource.inputs.node(*_keys(resource))
    if options.data is not None or not resource.inputs.has("launchTemplate"):
        yield options


def _keys(resource: Resource) -> tuple[Key, ...]:
    if is_node_class(resource):
        return ("spec", "metadataOptions")
    return () if resource.type == _DEFAULTS else ("metadataOptions",)


def check(options: Node, about: About) -> Iterator[Violation]:
    """Tokens are required, or the service is off."""
    # Karpenter requires them where nothing is said; the account's defaults then leave it to each instance.
    strict = is_node_class(about.resource) or about.resource.type == _DEFAULTS
    said = options.get("httpTokens", default="required" if strict else None)
    if said == "required" or (about.resource.type == _DEFAULTS and said == "no-preference"):
        return
    if options.get("httpEndpoint") != "disabled":
        yield violation(options, "httpTokens", what="the metadata service answers IMDSv1, without a token")


def remediate(resource: Resource, parameters: Mapping[str, Any]) -> Iterator[Change]:
    """Require tokens."""
    for _ in items(resource):
        yield Change((*_keys(resource), "httpTokens"), "required")


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
        "aws:ec2/spotInstanceRequest:SpotInstanceRequest",
        _DEFAULTS,
        NODE_CLASS,
        "aws:ec2/launchTemplate:LaunchTemplate",
        "aws:ec2/launchConfiguration:LaunchConfiguration",
    ),
    items=items,
    check=check,
    remediate=remediate,
)

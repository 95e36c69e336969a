"""Data and computation stay in the regions that the site names."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from policies.node import Node
from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects.aws import ANY as AWS
from policies.subjects.kubernetes import ANY as KUBERNETES
from policies.subjects.regions import aws_regions, kubernetes_regions


def check(inputs: Node, about: About) -> Iterator[Violation]:
    """No region of the resource is another one. The first that is stands for all."""
    allowed = about.parameters["regions"]
    if not allowed:
        return
    resource = about.resource
    found = aws_regions(resource, about.stack) if resource.type.startswith("aws:") else kubernetes_regions(resource)
    for place, region in found:
        if not any(fnmatchcase(region, pattern) for pattern in allowed):
            yield violation(place, what=f"{region} is none of the regions {', '.join(allowed)}")
            return


RULE = Rule(
    id="data-residency",
    title="Data and computation stay in the regions that the site names",
    group=Group.COMPLIANCE,
    severity=Severity.CRITICAL,
    reason="prompts, answers and weights leave the jurisdiction that they may be processed in",
    mend="use one of those regions, in the resource, its provider or aws:region",
    source="GDPR, Chapter V (Articles 44 to 50)",
    url="https://eur-lex.europa.eu/eli/reg/2016/679/oj",
    types=(AWS, KUBERNETES),
    check=check,
    parameters={
        "regions": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Regions in which resources and copies of data may be; * and ? stand for anything, as in eu-*. "
            "Empty: not judged. A bucket that S3 replicates to is judged where it is declared: its ARN has no region.",
        },
    },
)

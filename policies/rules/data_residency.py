"""Data and computation stay in the regions that the site names."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from policies.node import Node, UnknownValueError
from policies.readers.aws.openings import ANY as AWS
from policies.readers.gateways.routes import is_outside
from policies.readers.kubernetes.pods import ANY as KUBERNETES
from policies.readers.regions import aws_regions, kubernetes_regions
from policies.readers.unknown import each
from policies.resources import PLATFORM, Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """The providers of a platform; every other resource as a whole."""
    if resource.type == PLATFORM:
        yield from each(resource.inputs, "providers")
    else:
        yield resource.inputs


def check(node: Node, about: About) -> Iterator[Violation]:
    """It is in one of the regions, if any are named."""
    if about.parameters["regions"]:
        yield from _provider(node, about) if about.resource.type == PLATFORM else _resource(node, about)


def _provider(provider: Node, about: About) -> Iterator[Violation]:
    """Of a platform: it computes in one of the regions, or in one's own network."""
    if not is_outside(provider, about.parameters["privateDomains"]):
        return
    region, allowed = provider.get("region"), about.parameters["regions"]
    name = provider.get("name")
    if region is None:
        what = f"nothing says in which region the provider {name} computes; allowed are {', '.join(allowed)}"
        mend = (
            "use a provider that names its region (bedrock, vertex), or grant an exception with what its contract says"
        )
        yield violation(provider, "region", what=what, mend=mend)
    elif not any(fnmatchcase(region, pattern) for pattern in allowed):
        what = f"{region}, of the provider {name}, is none of the regions {', '.join(allowed)}"
        yield violation(provider, "region", what=what, mend="have the provider compute in one of those regions")


def _resource(inputs: Node, about: About) -> Iterator[Violation]:
    """No region of the resource is another one. The first that is stands for all."""
    allowed = about.parameters["regions"]
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
    types=(AWS, KUBERNETES, PLATFORM),
    items=items,
    check=check,
    parameters={
        "regions": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Regions in which resources and copies of data may be; * and ? stand for anything, as in eu-*. "
            "Empty: not judged. A bucket that S3 replicates to is judged where it is declared: its ARN has no region.",
        },
        "privateDomains": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "description": "Domains of one's own whose names look public, such as corp.example.com: a platform's providers there "
            "have no region.",
        },
    },
)

"""Nothing is taken as `latest`: images, Helm charts and launch templates name a release."""

import re
from collections.abc import Iterator

from policies.node import Node, UnknownValueError
from policies.readers import images
from policies.readers.kubernetes import charts
from policies.readers.kubernetes.pods import image
from policies.readers.releases import CHARTS
from policies.readers.unknown import unknown_as_item
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "aws:ec2/instance:Instance": ("launchTemplate",),
    "aws:autoscaling/group:Group": (
        "launchTemplate",
        "mixedInstancesPolicy.launchTemplate.launchTemplateSpecification",
    ),
    "aws:eks/nodeGroup:NodeGroup": ("launchTemplate",),
    "aws:batch/computeEnvironment:ComputeEnvironment": ("computeResources.launchTemplate",),
    "aws:ec2/fleet:Fleet": ("launchTemplateConfigs.launchTemplateSpecification",),
    "aws:ec2/spotFleetRequest:SpotFleetRequest": ("launchTemplateConfigs.launchTemplateSpecification",),
}
"""By type, where a launch template is named. Without a version AWS takes the default one, which people set."""
_NODE_CLASSES = "kubernetes:karpenter.k8s.aws/"
_RELEASE = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
"""One release of a chart (SemVer); anything else is a range to Helm."""
_SETTLED = re.compile(r"(^|[-_.v])\d+\.\d+|(^|[-_.])([0-9a-f]{7,40}|\d{6,})([-_.]|$)")
"""A release, a commit or a date in a tag."""


class _Chart(Node):
    __slots__ = ()


class _Template(Node):
    __slots__ = ()


class _Machine(Node):
    """A term by which Karpenter finds the image of a machine."""

    __slots__ = ()


def items(resource: Resource) -> Iterator[Node | UnknownValueError]:
    """Images, charts and templates, each alone."""
    if resource.type in CHARTS:
        yield _Chart(resource.inputs.raw, resource.inputs.path)
        yield from unknown_as_item(charts.images(resource))
    for path in _TEMPLATES.get(resource.type, ()):
        yield from unknown_as_item(_Template(each.raw, each.path) for each in _at(resource.inputs, path.split(".")))
    if resource.type.startswith(_NODE_CLASSES):
        terms = resource.inputs.each("spec", "amiSelectorTerms")
        yield from unknown_as_item(_Machine(each.raw, each.path) for each in terms)
    yield from unknown_as_item(images.images(resource))


def _at(node: Node, keys: list[str]) -> Iterator[Node]:
    """The places below `keys`, through lists."""
    for each in node.each(keys[0]):
        yield from _at(each, keys[1:]) if keys[1:] else [each]


def check(node: Node, about: About) -> Iterator[Violation]:
    """It names a release."""
    if isinstance(node, _Chart):
        yield from _chart(node)
    elif isinstance(node, _Template):
        # A version that is not known yet is the output of a template, which is a number.
        if node.node("version").data == "$Latest":
            mend = "name the template's version by its number"
            yield violation(node, "version", what="the launch template's newest version is taken", mend=mend)
    elif isinstance(node, _Machine):
        if str(node.get("alias", default="")).endswith("@latest"):
            mend = "name the release, as in al2023@v20260701"
            yield violation(node, "alias", what="the newest image for machines is taken", mend=mend)
    else:
        yield from _image(node, about.parameters["floating"])


def _image(place: Node, floating: list[str]) -> Iterator[Violation]:
    name, tag, digest = image(str(place.get()))
    if tag is None and digest is None:
        yield violation(place, what=f"{name} has no tag, which means latest")
    elif tag is not None and _floats(tag, floating):
        # Beside a digest the tag does nothing, and tells the reader that it moves.
        yield violation(place, what=f"the tag {tag} of {name} names no release")


def _floats(tag: str, floating: list[str]) -> bool:
    words = re.split(r"[-_.]", tag.casefold())
    return "latest" in words or (any(word in words for word in floating) and not _SETTLED.search(tag))


def _chart(inputs: Node) -> Iterator[Violation]:
    chart, version = str(inputs.get("chart", default="")), inputs.get("version", default="")
    repository = any(inputs.has(*keys) for keys in (("repositoryOpts", "repo"), ("fetchOpts", "repo"), ("repo",)))
    # A chart from a folder is as it is there; an archive and a digest are one release.
    remote = chart.startswith("oci://") or (repository and not chart.endswith(".tgz"))
    if remote and "@sha256:" not in chart and not _RELEASE.fullmatch(str(version)):
        said = f"by the range {version}" if version else "without a version"
        yield violation(
            inputs, "version", what=f"chart {chart} is taken {said}", mend="name the chart's version, as 1.2.3"
        )


RULE = Rule(
    id="no-latest",
    title="Nothing is taken as latest: images, charts and launch templates name a release",
    group=Group.COMPLIANCE,
    severity=Severity.MEDIUM,
    reason="what runs changes without a change in the stack, so nobody can say what ran yesterday or go back to it",
    mend="name the release, as in `name:v1.2.3@sha256:…`",
    source="Kubernetes documentation, Images, Image names; Helm documentation, helm install, --version",
    url="https://kubernetes.io/docs/concepts/containers/images/#image-names",
    types=(*images.TYPES, *_TEMPLATES),
    items=items,
    check=check,
    parameters={
        "floating": {
            "type": "array",
            "items": {"type": "string", "pattern": "^[a-z0-9]+$"},
            "default": [
                *(
                    "nightly",
                    "main",
                    "master",
                    "mainline",
                    "trunk",
                    "head",
                    "edge",
                    "canary",
                    "dev",
                    "develop",
                    "rolling",
                ),
                *("stable", "lts", "current", "unstable", "snapshot"),
            ],
            "description": "Words that make an image's tag float, where no release, commit or date is in it; `latest` always.",
        }
    },
)

"""Nothing is taken as `latest`: images, Helm charts and launch templates name a release."""

import re
from collections.abc import Iterator

from policies.node import Node
from policies.resources import Resource
from policies.rule import About, Group, Rule, Severity, Violation, violation
from policies.subjects import images
from policies.subjects.kubernetes import image
from policies.subjects.releases import CHARTS

_TEMPLATES: dict[str, list[tuple[str, ...]]] = {
    "aws:ec2/instance:Instance": [("launchTemplate",)],
    "aws:autoscaling/group:Group": [
        ("launchTemplate",),
        ("mixedInstancesPolicy", "launchTemplate", "launchTemplateSpecification"),
    ],
    "aws:eks/nodeGroup:NodeGroup": [("launchTemplate",)],
    "aws:batch/computeEnvironment:ComputeEnvironment": [("computeResources", "launchTemplate")],
}
"""By type, where a launch template is named. Without a version AWS takes the default one, which people set."""
_RELEASE = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
"""One release of a chart (SemVer); anything else is a range to Helm."""
_SETTLED = re.compile(r"(^|[-_.v])\d+\.\d+|(^|[-_.])([0-9a-f]{7,40}|\d{6,})([-_.]|$)")
"""A release, a commit or a date in a tag."""


def items(resource: Resource) -> Iterator[Node]:
    """Images, charts and templates, each alone."""
    if resource.type in CHARTS:
        yield resource.inputs
    elif resource.type in _TEMPLATES:
        yield from (resource.inputs.node(*keys) for keys in _TEMPLATES[resource.type])
    else:
        yield from images.images(resource)


def check(node: Node, about: About) -> Iterator[Violation]:
    """It names a release."""
    if about.resource.type in CHARTS:
        yield from _chart(node)
    elif about.resource.type in _TEMPLATES:
        # A version that is not known yet is the output of a template, which is a number.
        if node.node("version").data == "$Latest":
            mend = "name the template's version by its number"
            yield violation(node, "version", what="the launch template's newest version is taken", mend=mend)
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

"""Container images are pinned by digest.

Not judged: images that the values of a Helm release name, since charts seldom take a digest; rule no-latest looks at their tags.
"""

from collections.abc import Iterator

from policies.node import Node
from policies.readers.images import TYPES, images
from policies.readers.kubernetes.pods import image
from policies.rule import About, Group, Rule, Severity, Violation, violation


def check(place: Node, about: About) -> Iterator[Violation]:
    """The reference ends in a digest."""
    name, tag, digest = image(str(place.get()))
    if digest is None:
        said = f"tag {tag}" if tag else "no tag"
        yield violation(place, what=f"{name} is pulled by {said}, without a digest")


RULE = Rule(
    id="pinned-images",
    title="Container images are pinned by digest",
    group=Group.SECURITY,
    severity=Severity.MEDIUM,
    reason="a tag can be moved, so another program than the tested one may start tomorrow",
    mend="add the digest, as in `name:tag@sha256:…`",
    source="Kubernetes documentation, Images, Image digests; NIST SP 800-190, 4.1",
    url="https://kubernetes.io/docs/concepts/containers/images/#image-digests",
    types=TYPES,
    items=images,
    check=check,
)

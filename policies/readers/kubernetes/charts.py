"""What the values of a Helm chart say of images, flags and privileges.

Only of a Release: what a Chart makes is registered as resources of its own, which are judged as such. Values that a chart
has by itself, and files of values, are not seen. A value that is not known yet counts as a text, and is a question only where
its name says image or words of a command: Outputs among values are addresses and keys, and hardly ever maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from policies.node import UNKNOWN, Node, Secret, UnknownValueError
from policies.readers.engines.flags import flags_of, is_on
from policies.resources import Resource

RELEASE = "kubernetes:helm.sh/v3:Release"
TYPES = (RELEASE, "kubernetes:helm.sh/v3:Chart", "kubernetes:helm.sh/v4:Chart")
"""Types that install a Helm chart."""

_IMAGE_KEY = re.compile(r"image$", re.IGNORECASE)
_REFERENCE = re.compile(r"[\w.-]+(:\d+)?(/[\w.-]+)*:[\w][\w.-]*(@sha256:[0-9a-f]{64})?")
_WORDS = re.compile(r"(args|command|flags)$", re.IGNORECASE)
_TRUST = re.compile(r"trust[-_]?remote[-_]?code$", re.IGNORECASE)


def images(resource: Resource) -> Iterator[Node]:
    """The place of each image that the values name with its tag: as one text, or as a map of its parts.

    Raises:
        UnknownValueError: the values are not known yet.
    """
    for name, node in _values(resource):
        if isinstance(node.data, Mapping):
            yield from _of_map(name, node)
        elif _IMAGE_KEY.search(name) and (node.data is UNKNOWN or _REFERENCE.fullmatch(str(node.data))):
            yield node


def trusting(resource: Resource) -> Iterator[Node]:
    """Each place that has vLLM run a model's own code, or of which nobody knows yet whether it does.

    Raises:
        UnknownValueError: the values are not known yet.
    """
    for name, node in _values(resource):
        if _TRUST.search(name) and is_on(node.data):
            yield node
        elif _WORDS.search(name):
            for word in [node] if node.data is UNKNOWN or isinstance(node.data, str) else node.each():
                if word.data is UNKNOWN or is_on(flags_of(str(word.data).split()).get("trust-remote-code")):
                    yield word


def switches(resource: Resource, *keys: str) -> Iterator[Node]:
    """Each place of one of these keys, such as `hostNetwork`.

    Raises:
        UnknownValueError: the values are not known yet.
    """
    for name, node in _values(resource):
        if name in keys and not isinstance(node.data, Mapping | list):
            yield node


def _values(resource: Resource) -> Iterator[tuple[str, Node]]:
    if resource.type == RELEASE:
        values = resource.inputs.node("values")
        if values.data is UNKNOWN:
            raise UnknownValueError(values.path)
        yield from _below(values)


def _below(node: Node) -> Iterator[tuple[str, Node]]:
    """Every place below, with its key; what stands in a list has none."""
    if isinstance(node.data, Mapping):
        for name, value in node.entries():
            yield name, value
            yield from _below(value)
    elif isinstance(node.data, list):
        for value in node.each():
            yield "", value
            yield from _below(value)


def _of_map(name: str, node: Node) -> Iterator[Node]:
    """The image of a map such as `{repository: …, tag: …}`; without a tag it has the chart's own."""
    tag = next((key for key in ("tag", "imageTag", "version") if node.has(key)), None)
    named = [key for key in ("repository", "image", "name") if node.has(key)]
    is_one = "repository" in named or _IMAGE_KEY.search(name)
    if tag is None or not is_one or (tag == "version" and not named):
        return
    parts = [node.node(key) for key in ("registry", *named, tag) if node.has(key)]
    # Parts are texts, numbers perhaps; a map among them says that this is something else.
    if any(isinstance(part.data, Mapping | list) for part in parts) or parts[-1].data == "":
        return
    place = parts[-1]
    digest = node.node("digest")
    unknown = next((part for part in (*parts, digest) if part.data is UNKNOWN), None)
    if unknown is not None:
        yield Node(UNKNOWN, unknown.path)
        return
    reference = "/".join(str(part.data).strip("/") for part in parts[:-1]) or "the chart's image"
    reference += f":{place.data}" + (f"@{digest.data}" if digest.data else "")
    yield Node(Secret(reference) if any(isinstance(part.raw, Secret) for part in parts) else reference, place.path)

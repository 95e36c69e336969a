"""ConfigMaps and Secrets of the stack that a container's pod has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies.node import UNKNOWN, Node
from policies.readers.gateways.litellm import CONFIG_MAP, SECRET
from policies.readers.kubernetes.pods import Container
from policies.readers.kubernetes.selection import namespace
from policies.resources import Resource, Stack


def mounted(container: Container, workload: Resource, stack: Stack) -> Iterator[Resource]:
    """Those that a volume of the pod names, and those that the workload refers to.

    Raises:
        UnknownValueError: which namespace one of them is in is not known yet.
    """
    names = set(_names(container.pod))
    for resource in stack.of_type(CONFIG_MAP, SECRET):
        own = resource.inputs.node("metadata").node("name").data
        named = (resource.type, own) in names and namespace(resource, stack) == namespace(workload, stack)
        if named or workload.refers_to(resource):
            yield resource


def file_in(resource: Resource, path: str) -> Iterator[Node]:
    """The texts in the resource that may be the file, by its name."""
    name = re.split(r"[/\\]", path)[-1]
    for key in ("data", "stringData"):
        for said, node in resource.inputs.entries(key):
            if said == name:
                yield node


def _names(pod: Node) -> Iterator[tuple[str, str]]:
    for volume in pod.each("volumes"):
        if volume.data is UNKNOWN:
            continue
        yield from _of(volume, "secretName")
        if volume.node("projected").data is not UNKNOWN:
            for source in volume.each("projected", "sources"):
                yield from _of(source, "name")


def _of(source: Node, secret: str) -> Iterator[tuple[str, str]]:
    for type_, keys in ((CONFIG_MAP, ("configMap", "name")), (SECRET, ("secret", secret))):
        name = source.node(keys[0]).data
        found = None if name is UNKNOWN else source.node(*keys).data
        if isinstance(found, str):
            yield type_, found

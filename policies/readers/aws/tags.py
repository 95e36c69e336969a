"""Tags of AWS resources, as a map, as an auto scaling group's list, and as the provider's defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.resources import Resource
from policies.rule import Change

SCALING_GROUP = "aws:autoscaling/group:Group"


def tag_names(resource: Resource) -> set[str]:
    """The names of all tags that it will have, in lower case. A tag with an empty value is none; an unknown value is one.

    Raises:
        UnknownValueError: the tags, or the provider's, are not known yet.
    """
    names = {name.casefold() for name, place in resource.inputs.entries("tags") if place.data not in (None, "")}
    if resource.type == SCALING_GROUP:
        # Its tags are a list, and the provider's default tags do not reach it.
        return {str(tag.get("key")).casefold() for tag in resource.inputs.each("tags") if tag.node("value").data != ""}
    if resource.provider is not None:
        defaults = resource.provider.inputs.document("defaultTags").entries("tags")
        names |= {name.casefold() for name, place in defaults if place.data not in (None, "")}
    return names


def missing(resource: Resource, wanted: list[str]) -> list[str]:
    """The tags that it lacks, whichever way they are capitalized.

    Raises:
        UnknownValueError: as `tag_names`.
    """
    has = tag_names(resource)
    return [name for name in wanted if name.casefold() not in has]


def added(resource: Resource, wanted: list[str], values: Mapping[str, Any]) -> Iterator[Change]:
    """The missing tags whose values are known. An auto scaling group's list is left as it is."""
    if resource.type != SCALING_GROUP:
        yield from (Change(("tags", name), values[name]) for name in missing(resource, wanted) if name in values)


def is_scratch(resource: Resource, tag: str) -> bool:
    """Whether the tag says, with `true`, that the resource can go with all that is in it. The provider's defaults say nothing.

    Raises:
        UnknownValueError: the tags are not known yet.
    """
    said = [
        place.get(default="") for name, place in resource.inputs.entries("tags") if name.casefold() == tag.casefold()
    ]
    return any(str(value).casefold() == "true" for value in said)

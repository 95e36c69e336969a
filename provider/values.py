"""Between Pulumi's property values and plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

Properties = dict[str, PropertyValue]

COMPUTED = PropertyValue(UNKNOWN)
"""What a preview can't know yet. The experimental layer has a type for it that it can't send."""


def is_unknown(value: PropertyValue | None) -> bool:
    """Whether the value itself is not known yet."""
    return value is not None and value.value == UNKNOWN


def has_unknown(value: PropertyValue | None) -> bool:
    """Whether the value, or anything in it, is not known yet."""
    return value is not None and any(is_unknown(leaf) for leaf, _ in _leaves(value, secret=False))


def plain(value: PropertyValue | None) -> Any:
    """The value as plain data, secrets in clear, whole numbers as integers.

    Raises:
        TypeError: it holds an asset, an archive or a resource.
    """
    inner = None if value is None else value.value
    if inner is None or isinstance(inner, bool | str):
        return inner
    if isinstance(inner, int | float):
        return int(inner) if float(inner).is_integer() else inner
    if isinstance(inner, Mapping):
        return {key: plain(item) for key, item in inner.items()}
    if isinstance(inner, tuple | list):
        return [plain(item) for item in inner]
    raise TypeError(f"a {type(inner).__name__} can't be handed to Ansible")


def wrap(value: Any) -> PropertyValue:
    """Plain data as a property value."""
    if isinstance(value, Mapping):
        return PropertyValue({str(key): wrap(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return PropertyValue([wrap(item) for item in value])
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    return PropertyValue(value)


def secrets(*values: PropertyValue | None) -> Iterator[str]:
    """All texts that are, or lie in, a secret."""
    for value in values:
        for leaf, secret in _leaves(value, secret=False) if value else ():
            content = plain(leaf) if secret and not is_unknown(leaf) else None
            if isinstance(content, str) or (isinstance(content, int | float) and not isinstance(content, bool)):
                yield str(content)


def fields(value: PropertyValue | None) -> Mapping[str, PropertyValue]:
    """The entries of a map; none of anything else."""
    inner = value.value if value is not None else None
    return inner if isinstance(inner, Mapping) else {}


def _leaves(value: PropertyValue, *, secret: bool) -> Iterator[tuple[PropertyValue, bool]]:
    secret = secret or value.is_secret
    inner = value.value
    if isinstance(inner, Mapping):
        for item in inner.values():
            yield from _leaves(item, secret=secret)
    elif isinstance(inner, tuple | list):
        for item in inner:
            yield from _leaves(item, secret=secret)
    elif not isinstance(inner, pulumi.Asset | pulumi.Archive):
        yield value, secret

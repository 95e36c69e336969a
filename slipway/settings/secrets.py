"""Where a stack's file keeps secrets: in the settings that are for them, encrypted or by a variable's name.

Which settings those are follows from their types: every field of type `Secret`, wherever it stands.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from slipway.settings.errors import path
from slipway.settings.platform import Settings
from slipway.settings.types import Secret

ANY = "*"
"""In a place: any key of a map, or any entry of a list."""

Place = tuple[str, ...]
_MANY = frozenset({dict, list, tuple, set, frozenset, Mapping, Sequence})


@cache
def places() -> tuple[Place, ...]:
    """The settings that take a secret, in the order of the settings: ``("gateway", "teams", "*", "key")``."""
    return secret_places(Settings)


def secret_places(section: type[BaseModel]) -> tuple[Place, ...]:
    """The fields of a section, and of all sections below it, that take a secret."""
    return tuple(dict.fromkeys(_places(section, ())))


def clear_secrets(raw: object) -> Iterator[str]:
    """The paths of secrets that stand in clear: neither encrypted nor taken from the environment."""
    for place in places():
        for keys, value in values_at(raw, place):
            if isinstance(value, str):
                yield path(*keys)


def misplaced_secrets(raw: object) -> Iterator[str]:
    """The paths of what is encrypted where no secret is kept: its value would be readable in state and on hosts."""
    right = {keys for place in places() for keys, _ in values_at(raw, place)}
    yield from (path(*keys) for keys in _encrypted(raw, ()) if keys not in right)


def values_at(
    raw: object, place: Place, keys: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """What stands at `place` in plain data, with its keys."""
    if not place:
        yield keys, raw
        return
    key, *rest = place
    if isinstance(raw, Mapping):
        for name in raw if key == ANY else [key] if key in raw else []:
            yield from values_at(raw[name], tuple(rest), (*keys, str(name)))
    elif isinstance(raw, list) and key == ANY:
        for index, inner in enumerate(raw):
            yield from values_at(inner, tuple(rest), (*keys, index))


def _places(annotation: Any, above: Place) -> Iterator[Place]:
    """Those in what a field's annotation allows: sections, maps and lists of them, one of several."""
    if isinstance(annotation, type) and issubclass(annotation, Secret):
        yield above
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            yield from _places(info.annotation, (*above, name))
    elif get_origin(annotation) is Annotated:
        yield from _places(annotation.__origin__, above)
    else:
        many = get_origin(annotation) in _MANY
        for inner in get_args(annotation):
            yield from _places(inner, (*above, ANY) if many else above)


def _encrypted(value: object, keys: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, Mapping):
        if set(value) == {"secure"}:
            yield keys
            return
        for key, inner in value.items():
            yield from _encrypted(inner, (*keys, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _encrypted(inner, (*keys, index))

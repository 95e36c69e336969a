"""Where a stack's file keeps secrets: in the settings that are for them, encrypted or by a variable's name."""

from collections.abc import Iterator, Mapping

PLACES = (("gateway", "keys", "*", "key"), ("engine", "key"), ("model", "source", "token"))
"""Settings that take a secret; a test compares them with the settings' own types."""


def clear_secrets(raw: object) -> Iterator[str]:
    """The paths of secrets that stand in clear: neither encrypted nor taken from the environment."""
    for place in PLACES:
        yield from _clear(raw, place, "")


def misplaced_secrets(raw: object) -> Iterator[str]:
    """The paths of what is encrypted where no secret is kept: its value would be readable in state and on hosts."""
    yield from _encrypted(raw, ())


def _clear(value: object, place: tuple[str, ...], said: str) -> Iterator[str]:
    if not place:
        if isinstance(value, str):
            yield said
        return
    key, *rest = place
    if key == "*" and isinstance(value, list):
        for index, element in enumerate(value):
            yield from _clear(element, tuple(rest), f"{said}[{index}]")
    elif isinstance(value, Mapping) and key in value:
        yield from _clear(value[key], tuple(rest), f"{said}.{key}" if said else key)


def _encrypted(value: object, keys: tuple[str | int, ...]) -> Iterator[str]:
    if isinstance(value, Mapping):
        if set(value) == {"secure"}:
            if tuple("*" if isinstance(key, int) else key for key in keys) not in PLACES:
                yield "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
            return
        for key, inner in value.items():
            yield from _encrypted(inner, (*keys, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _encrypted(inner, (*keys, index))

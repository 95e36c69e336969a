"""Plain data with the path at which it stands, and what may be in it besides values: unknowns and secrets.

A rule reads through a `Node`, so that it can neither take an unknown value for a known one nor show a secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

Key = str | int

UNREADABLE: Final = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises: also for days that no calendar has, `!!int ""`, `!!bool x`, and brackets by the thousand."""

_SHOWN_CHARACTERS = 80


class Unknown:
    """A value that nobody knows before the deployment, such as the address of a machine that is not there yet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "[unknown]"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that Pulumi keeps secret. Rules may look at it; nothing prints it."""

    value: Any

    def __repr__(self) -> str:
        return "[secret]"


class UnknownValueError(Exception):
    """A rule needs a value that is not known yet."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Node:
    """One place in plain data (dictionaries, lists, numbers, texts, `UNKNOWN`, `Secret`), of whatever depth."""

    __slots__ = ("_data", "path")

    def __init__(self, data: Any, path: str = "") -> None:
        self._data = data
        self.path = path

    def __repr__(self) -> str:
        return f"Node({self.path or '.'}: {self.show()})"

    @property
    def data(self) -> Any:
        """The value itself, secrets opened at this level only; may be `UNKNOWN`. Never hand it to another `Node`: `raw` is."""
        return _opened(self._data)

    @property
    def raw(self) -> Any:
        """The value as it is, `Secret` included."""
        return self._data

    def node(self, *keys: Key) -> Node:
        """The place below `keys`; its data are None where there is nothing.

        Raises:
            UnknownValueError: something above that place is unknown.
        """
        data, path = self._data, self.path
        for key in keys:
            secret, data = isinstance(data, Secret), _opened(data)
            if data is UNKNOWN:
                raise UnknownValueError(path)
            data = _closed(_item(data, key), secret=secret)
            path = _joined(path, key)
        return Node(data, path)

    def get(self, *keys: Key, default: Any = None) -> Any:
        """The plain value below `keys`; `default` where there is none, or null.

        Raises:
            UnknownValueError: it is unknown, or something in it is.
        """
        found = self.node(*keys)
        value = _plain(found.raw, found.path)
        return default if value is None else value

    def number(self, *keys: Key, default: float | None = None) -> Any:
        """The number below `keys`, also where it stands as text; `default` where there is none.

        Raises:
            UnknownValueError: it is unknown.
        """
        value = self.get(*keys)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return default
            return int(value) if value.is_integer() else value
        return value if isinstance(value, int | float) and not isinstance(value, bool) else default

    def has(self, *keys: Key) -> bool:
        """Whether something stands there, known or not."""
        return self.node(*keys).data is not None

    def each(self, *keys: Key) -> Iterator[Node]:
        """The elements of the list there; nothing where there is none. A lone map counts as a list of one.

        Raises:
            UnknownValueError: the list is unknown. Elements may be unknown each.
        """
        found = self.node(*keys)
        data = found.data
        if data is UNKNOWN:
            raise UnknownValueError(found.path)
        secret = isinstance(found.raw, Secret)
        if isinstance(data, Mapping):
            yield found
        elif isinstance(data, Sequence) and not isinstance(data, str):
            for index, element in enumerate(data):
                yield Node(_closed(element, secret=secret), _joined(found.path, index))

    def entries(self, *keys: Key) -> Iterator[tuple[str, Node]]:
        """Name and place of what the map there holds; nothing where there is none.

        Raises:
            UnknownValueError: the map is unknown. Values may be unknown each.
        """
        found = self.node(*keys)
        data = found.data
        if data is UNKNOWN:
            raise UnknownValueError(found.path)
        secret = isinstance(found.raw, Secret)
        if isinstance(data, Mapping):
            for name, value in data.items():
                yield str(name), Node(_closed(value, secret=secret), _joined(found.path, name))

    def document(self, *keys: Key) -> Node:
        """What the JSON or YAML text there says; a map or list that stands there itself is taken as it is.

        The data are None where it can't be read.

        Raises:
            UnknownValueError: the text is unknown.
        """
        found = self.node(*keys)
        data = found.data
        if data is UNKNOWN:
            raise UnknownValueError(found.path)
        if not isinstance(data, str):
            return found
        return Node(_closed(_read(data), secret=isinstance(found.raw, Secret)), found.path)

    def walk(self) -> Iterator[Node]:
        """This place and all below it, depth first. Does not go into secrets."""
        yield self
        data = self._data
        if isinstance(data, Mapping):
            for name, value in data.items():
                yield from Node(value, _joined(self.path, name)).walk()
        elif isinstance(data, Sequence) and not isinstance(data, str):
            for index, element in enumerate(data):
                yield from Node(element, _joined(self.path, index)).walk()

    def show(self, *keys: Key) -> str:
        """The value there as messages show it: short, never a secret, and empty for a map, which says too much."""
        data: Any = self._data
        for key in keys:
            if isinstance(data, Secret):
                return repr(data)
            data = _item(data, key)
        if data is None:
            return "not set"
        if isinstance(data, Mapping):
            return ""
        text = repr(data) if isinstance(data, Unknown | Secret) else _text(data)
        return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"

    def at(self, *keys: Key) -> str:
        """The path of what is below `keys`, whether something stands there or not."""
        path = self.path
        for key in keys:
            path = _joined(path, key)
        return path


def _opened(data: Any) -> Any:
    return data.value if isinstance(data, Secret) else data


def _closed(data: Any, *, secret: bool) -> Any:
    """What comes out of a secret is secret too."""
    return Secret(data) if secret and data is not None and not isinstance(data, Secret) else data


def _read(text: str) -> Any:
    """JSON or YAML; None where it is neither. JSON first: it is the more common, and a hundred times faster to read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.safe_load(text)
    except UNREADABLE:
        return None


def _item(data: Any, key: Key) -> Any:
    if isinstance(key, int):
        inside = isinstance(data, Sequence) and not isinstance(data, str) and -len(data) <= key < len(data)
        return data[key] if inside else None
    return data.get(key) if isinstance(data, Mapping) else None


def _plain(data: Any, path: str) -> Any:
    data = _opened(data)
    if data is UNKNOWN:
        raise UnknownValueError(path)
    if isinstance(data, Mapping):
        return {name: _plain(value, _joined(path, name)) for name, value in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [_plain(element, _joined(path, index)) for index, element in enumerate(data)]
    return data


def _text(data: Any) -> str:
    return json.dumps(data, default=repr, ensure_ascii=False)


def _joined(path: str, key: Key) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    plain = key.replace("_", "").replace("-", "").isalnum()
    if not plain:
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key

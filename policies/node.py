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
        """The value itself, secrets opened at this level only; may be `UNKNOWN`."""
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
            data = _opened(data)
            if data is UNKNOWN:
                raise UnknownValueError(path)
            data = _item(data, key)
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
        if isinstance(data, Mapping):
            yield found
        elif isinstance(data, Sequence) and not isinstance(data, str):
            for index, element in enumerate(data):
                yield Node(element, _joined(found.path, index))

    def entries(self, *keys: Key) -> Iterator[tuple[str, Node]]:
        """Name and place of what the map there holds; nothing where there is none.

        Raises:
            UnknownValueError: the map is unknown. Values may be unknown each.
        """
        found = self.node(*keys)
        data = found.data
        if data is UNKNOWN:
            raise UnknownValueError(found.path)
        if isinstance(data, Mapping):
            for name, value in data.items():
                yield str(name), Node(value, _joined(found.path, name))

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
        try:
            # JSON first: it is the more common, and a hundred times faster to read.
            return Node(json.loads(data), found.path)
        except ValueError:
            pass
        try:
            return Node(yaml.safe_load(data), found.path)
        except yaml.YAMLError:
            return Node(None, found.path)

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
        """The value there as messages show it: short, and never a secret."""
        data: Any = self._data
        for key in keys:
            if isinstance(data, Secret):
                return repr(data)
            data = _item(data, key)
        if data is None:
            return "not set"
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

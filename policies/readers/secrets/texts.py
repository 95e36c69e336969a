"""Texts that are secrets in clear, or have one in them: those of a resource and of a stack's configuration.

What a secret looks like is told in `secret_values`, where in a script or a file one may stand in `secret_lines`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence

import yaml

from policies.node import UNKNOWN, UNREADABLE, Node
from policies.readers.scripts.shell import decoded
from policies.readers.secrets.lines import assigned, headers, hinted, names_secret, value_of
from policies.readers.secrets.values import Found, could_have_form, found_by_form, literal, says_secret, secret_value
from policies.resources import Resource

_KUBERNETES_SECRET = "kubernetes:core/v1:Secret"  # noqa: S105 -- a type
_YAML = re.compile(r"""^[ \t]*(?:-[ \t]+)*["']?[\w.-]+["']?[ \t]*:(?:[ \t]|$)""", re.MULTILINE)
_ANCHOR = re.compile(r"[:-][ \t]+&\w")
_LONGEST_YAML = 50_000
"""Characters; what is longer is read by lines alone."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Text(Node):
    """A text, or a value that is not known, and the name that it goes by."""

    __slots__ = ("name", "strict")

    def __init__(self, node: Node, name: str, *, strict: bool) -> None:
        super().__init__(node.raw, node.path)
        self.name = name
        self.strict = strict
        """Whether it stands where nothing but secrets belongs."""

    def suspicious(self) -> bool:
        """Whether anything of a secret could be in it, or in its name; the quick question before the long ones."""
        if self.strict or self.name == "auth" or says_secret(self.name):
            return True
        return isinstance(self.raw, str) and (could_have_form(self.raw) or hinted(self.raw))

    def secrets(self) -> list[str]:
        """What is secret in it, in words; nothing of the values themselves."""
        told: list[Found] = []
        for each in self.found():
            # A key by its form is told once, whatever name it goes by as well.
            if not any(each.is_told_by(other) for other in told):
                told.append(each)
        return list(dict.fromkeys(each.what for each in told))

    def found(self) -> Iterator[Found]:
        """Every secret in it, one that goes by several names several times; a value that is not known has none."""
        text = self.raw
        if not isinstance(text, str):
            return
        named = hinted(text)
        yield from found_by_form(text)
        if named:
            yield from headers(text)
        if secret_value(self.name, text, strict=self.strict) or self._is_master_key(text):
            yield Found(value_of(self.name), text.strip())
        if named:
            yield from assigned(text)
            for below in _of_yaml(text, self):
                yield from below.found()

    def _is_master_key(self, text: str) -> bool:
        """Whether it is the master key in a configuration of LiteLLM."""
        return self.name == "master_key" and "general_settings" in self.path and literal(text.strip())


def texts_of(resource: Resource) -> Iterator[Text]:
    """Every text of the resource that is not secret, with its name; unknown values as well."""
    inputs = resource.inputs
    if inputs.data is UNKNOWN:
        return
    for key, node in inputs.entries():
        strict = resource.type == _KUBERNETES_SECRET and key in {"data", "stringData"}
        below = unpacked(node) if strict and key == "data" else node
        yield from texts(below, name_of(inputs, key), strict=strict)


def in_clear(resource: Resource) -> set[str]:
    """The secrets that stand in clear in the resource; a private key with all that is around it."""
    return {
        str(text.raw) if each.what == "a private key" else each.value
        for text in texts_of(resource)
        if text.suspicious()
        for each in text.found()
    }


def texts(node: Node, name: str = "", *, strict: bool = False) -> Iterator[Text]:
    """Every text below `node` that is not secret, JSON documents taken apart, with its name; unknown values as well."""
    data = node.raw
    if isinstance(data, str):
        if data.lstrip()[:1] in {"{", "["} and isinstance((document := node.document()).data, dict | list):
            yield from texts(document, name, strict=strict)
        elif name in {"userData", "userDataBase64"}:
            yield Text(Node(decoded(data), node.path), name, strict=strict)
        else:
            yield Text(node, name, strict=strict)
    elif data is UNKNOWN:
        yield Text(node, name, strict=strict)
    elif isinstance(data, int) and says_secret(name):
        yield Text(Node(str(data), node.path), name, strict=strict)
    elif isinstance(data, Mapping):
        for key, below in node.entries():
            # A sealed secret is for its controller's eyes.
            if key == "encryptedData":
                continue
            yield from texts(below, name_of(node, key), strict=strict)
    elif isinstance(data, Sequence):
        yield from _words(node, name, strict=strict)


def _words(node: Node, name: str, *, strict: bool) -> Iterator[Text]:
    """The texts of a list; in a command a word may name the next."""
    before = ""
    for below in node.each():
        word = below.raw if isinstance(below.raw, str) else ""
        # `--api-key`, `value`.
        is_value = before.startswith("--") and "=" not in before and not word.startswith("-")
        yield from texts(below, before if is_value else name, strict=strict)
        before = word


def name_of(node: Node, key: str) -> str:
    """The name that the value at `key` goes by: that of an environment variable's `value` is the `name` beside it."""
    if key == "value":
        named = node.data.get("name", node.data.get("key"))
        return named if isinstance(named, str) else key
    return key


def unpacked(node: Node) -> Node:
    """The data of a Kubernetes Secret, whose values are in base64."""
    data = node.raw
    if not isinstance(data, Mapping):
        return node
    return Node({key: _plain(value) for key, value in data.items()}, node.path)


def _plain(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return value


def _of_yaml(text: str, around: Text) -> Iterator[Text]:
    """The texts in a YAML text, where a name of a secret is in it; it is slow to read."""
    # Short anchors can stand for a text of any length.
    if len(text) > _LONGEST_YAML or _ANCHOR.search(text) or not _YAML.search(text) or not names_secret(text):
        return
    try:
        documents = list(yaml.load_all(text, Loader=_LOADER))
        below = [
            each
            for document in documents
            for each in texts(Node(document, around.path), around.name, strict=around.strict)
        ]
    except UNREADABLE:
        return
    yield from below

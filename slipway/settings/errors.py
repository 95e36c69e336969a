"""Settings errors as a person reads them: one line each, with the key's path, the consequence and the mend.

Pydantic's own rendering is not used: it shows the input, which may be a mistyped secret.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Tag, ValidationError

from slipway.errors import UserMistake
from slipway.settings.base import Misfit, is_tag

PREFIX = "slipway:platform"

_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "dict_type": "keys with values",
    "model_type": "a section with keys",
    "model_attributes_type": "a section with keys",
    "path_type": "a path",
    "url_type": "a URL",
    "url_parsing": "a URL such as https://mirror.example/models/",
    "url_scheme": "a URL that starts with http:// or https://",
}


class SettingsError(UserMistake):
    """The stack's settings were refused; nothing was touched. ``problems`` holds one line per mistake."""

    def __init__(self, problems: Iterable[str], source: str) -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__("\n".join(self.problems))

    @property
    def report(self) -> str:
        """All lines, headed by where they come from and what follows."""
        head = f"{self.source}: {len(self.problems)} setting(s) refused; nothing was touched"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


def render(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per mistake in `error`, which `model` raised. The refused input is never part of it."""
    details = error.errors(include_input=False, include_url=False)
    locations = [detail["loc"] for detail in details]

    def echoes_an_entry(detail: Mapping[str, Any]) -> bool:
        # A list whose only entry is refused is reported a second time, as too short.
        location = detail["loc"]
        below = any(len(other) > len(location) and other[: len(location)] == location for other in locations)
        return detail["type"] == "too_short" and below

    return [line for detail in details if not echoes_an_entry(detail) for line in _lines(detail, model)]


def _lines(detail: Mapping[str, Any], model: type[BaseModel]) -> Iterator[str]:
    location: tuple[int | str, ...] = tuple(part for part in detail["loc"] if not is_tag(part))
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, Misfit):
        yield from (f"{place(*location, *keys)}: {message}" for keys, message in error.problems)
    else:
        yield f"{place(*location)}: {_said(detail, tuple(detail['loc']), model)}"


def _said(detail: Mapping[str, Any], location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    kind: str = detail["type"]
    if location and location[-1] == "[key]":
        return f"{detail['ctx']['error'] if kind == 'value_error' else _lower_first(detail['msg'])}"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _siblings(location, model), n=1)
        mend = f"did you mean {near[0]}?" if near else f"the keys here are {', '.join(_siblings(location, model))}"
        return f"unknown key; it would have no effect; {mend}"
    if kind == "missing":
        return "missing; the stack is not complete without it; add it"
    if kind == "value_error":
        return str(detail["ctx"]["error"]) if "ctx" in detail else str(detail["msg"])
    if kind in ("enum", "literal_error"):
        return f"not one of the values known here; use {detail['ctx']['expected']}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"out of range; {_lower_first(detail['msg']).replace('input should', 'it should')}"
    if kind in ("too_short", "string_too_short"):
        return "empty; at least one entry is needed; add one"
    if kind == "string_pattern_mismatch":
        return "not of the form that is wanted here; see docs/reference/settings.md for an example"
    if kind in _WANTED:
        return f"of the wrong type; {_WANTED[kind]} is wanted; correct the value"
    return _lower_first(detail["msg"])


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*|\*")


def place(*keys: str | int) -> str:
    """``("pools", "gpu", "tier")`` as ``slipway:platform.pools.gpu.tier``, which `pulumi config set --path` takes.

    A key with other characters than a name's is written in brackets: ``models["llama-3.3-70b"]``.
    """
    return PREFIX + _joined(keys)


def path(*keys: str | int) -> str:
    """The same without what all paths begin with: ``pools.gpu.tier``. A ``*`` stands for any key."""
    return _joined(keys).removeprefix(".")


def _joined(keys: tuple[str | int, ...]) -> str:
    found = ""
    for key in keys:
        if isinstance(key, int):
            found += f"[{key}]"
        elif key != "[key]":
            found += f".{key}" if _PLAIN_KEY.fullmatch(key) else f'["{key}"]'
    return found


def _siblings(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The keys that would have been right beside the one at `location`."""
    current: list[tuple[str, type[BaseModel]]] = [("", model)]
    for part in location[:-1]:
        if is_tag(part):
            current = [(found, each) for found, each in current if found == part]
        elif fields := [each.model_fields[part] for _, each in current if part in each.model_fields]:
            current = list(tagged_models(fields[0].annotation))
    return list(dict.fromkeys(name for _, each in current for name in each.model_fields))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The section models inside a field's annotation, such as ``dict[HostName, Host]`` or a union of sections."""
    return [model for _, model in tagged_models(annotation)]


def tagged_models(annotation: Any, tag: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The same, each with the tag that tells it from others of its union; empty without one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield tag, annotation
        return
    tag = next((each.tag for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Tag)), tag)
    for inner in getattr(annotation, "__args__", ()):
        yield from tagged_models(inner, tag)

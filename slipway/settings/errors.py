"""Settings errors as a person reads them: one line each, with the key's path, the consequence and the mend.

Pydantic's own rendering is not used: it shows the input, which may be a mistyped secret.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from slipway.errors import UserMistake

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

    return [_line(detail, model) for detail in details if not echoes_an_entry(detail)]


def _line(detail: Mapping[str, Any], model: type[BaseModel]) -> str:
    location: tuple[int | str, ...] = tuple(detail["loc"])
    kind: str = detail["type"]
    where = _path(location)
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _siblings(location, model), n=1)
        mend = f"did you mean {near[0]}?" if near else f"the keys here are {', '.join(_siblings(location, model))}"
        return f"{where}: unknown key; it would have no effect; {mend}"
    if kind == "missing":
        return f"{where}: missing; the stack is not complete without it; add it"
    if kind == "value_error":
        return f"{where}: {detail['ctx']['error']}"
    if kind in ("enum", "literal_error"):
        return f"{where}: not one of the values known here; use {detail['ctx']['expected']}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"{where}: out of range; {_lower_first(detail['msg']).replace('input should', 'it should')}"
    if kind in ("too_short", "string_too_short"):
        return f"{where}: empty; at least one entry is needed; add one"
    if kind == "string_pattern_mismatch":
        return f"{where}: not of the form that is wanted here; see docs/reference/settings.md for an example"
    if kind in _WANTED:
        return f"{where}: of the wrong type; {_WANTED[kind]} is wanted; correct the value"
    return f"{where}: {_lower_first(detail['msg'])}"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _path(location: tuple[int | str, ...]) -> str:
    """``('hosts', 0, 'port')`` as ``slipway:platform.hosts[0].port``, which `pulumi config set --path` takes."""
    path = PREFIX
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path


def _siblings(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The keys that would have been right beside the one at `location`."""
    current: type[BaseModel] = model
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        inner = next(iter(models_in(current.model_fields[part].annotation)), None)
        if inner is None:
            break
        current = inner
    return list(current.model_fields)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The section models inside a field's annotation, such as ``tuple[Host, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in models_in(inner)]

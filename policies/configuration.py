"""What a stack asks of the pack: levels, parameters and exceptions, as Pulumi's policy configuration writes them.

One JSON file per stack, `policies/config/STACK.json`: by a rule's id a level, or a map with `enforcementLevel`, the rule's
parameters and `exceptions`; `all` sets a level for every rule. An exception says what it covers, why, who answers for it and
until when; after that day it covers nothing.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policies.node import Node
from policies.registry import by_id, rules
from policies.resources import Resource
from policies.rule import Level, PolicyException, Rule, Violation
from slipway.errors import UserMistake

ALL = "all"
LEVEL = "enforcementLevel"
EXCEPTIONS = "exceptions"

FOLDER = Path("policies") / "config"
"""Where a project keeps its stacks' files, from the project's folder on."""

EXPIRES = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"

EXCEPTIONS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "description": "What this rule does not hold for, and until when.",
    "default": [],
    "items": {
        "type": "object",
        "required": ["resource", "reason", "owner", "expires"],
        "additionalProperties": False,
        "properties": {
            "resource": {
                "type": "string",
                "minLength": 1,
                "description": "The resource's name or URN; * and ? stand for anything.",
            },
            "where": {
                "type": "string",
                "minLength": 1,
                "description": "The property's path; * and ? stand for anything. Default: all of the resource.",
            },
            "reason": {"type": "string", "minLength": 10, "description": "Why it is right all the same."},
            "owner": {"type": "string", "minLength": 2, "description": "Who answers for it: a person or a team."},
            "expires": {
                "type": "string",
                "pattern": EXPIRES,
                "description": "The last day on which it holds, as 2027-01-31.",
            },
        },
    },
}


class ConfigurationError(UserMistake):
    """The policy configuration was refused; one line per mistake."""

    def __init__(self, problems: list[str], source: str) -> None:
        self.problems = problems
        self.source = source
        head = f"{source}: {len(problems)} mistake(s) in the policy configuration; no rule was asked"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in problems)]))


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Levels, parameters and exceptions by rule; what is not given takes the rule's own."""

    levels: Mapping[str, Level] = field(default_factory=dict)
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    exceptions: tuple[PolicyException, ...] = ()

    def level(self, rule: Rule) -> Level:
        """What a violation of `rule` does in this stack."""
        return self.levels.get(rule.id, self.levels.get(ALL, rule.level))

    def parameters(self, rule: Rule) -> dict[str, Any]:
        """The rule's parameters, every one with a value."""
        return {**rule.defaults, **self.given.get(rule.id, {})}

    def exception(self, rule: Rule, resource: Resource, found: Violation, today: dt.date) -> PolicyException | None:
        """The exception that covers a violation today, if there is one."""
        for exception in self.exceptions:
            in_force = exception.rule == rule.id and not exception.expired(today)
            if in_force and exception.covers(resource, found):
                return exception
        return None


DEFAULT = Configuration()
"""Every rule as it is."""


def configuration_file(stack: str, root: Path) -> Path:
    """Where `stack` of the project at `root` keeps its policy configuration."""
    return root / FOLDER / f"{stack}.json"


def read_document(stack: str, root: Path) -> dict[str, Any]:
    """What the stack's file says; empty where there is none.

    Raises:
        ConfigurationError: it can't be read as JSON.
    """
    file = configuration_file(stack, root)
    source = str(FOLDER / file.name)
    try:
        # Editors on Windows begin a file with a mark of its encoding.
        text = file.read_text(encoding="utf-8-sig")
        document = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number)
    except FileNotFoundError:
        return {}
    except _TwiceError as error:
        raise ConfigurationError(
            [f"{error} stands twice in one map; one of them would not be heeded: keep one"], source
        ) from None
    except OSError as error:
        raise ConfigurationError([f"can't be read ({error.strerror}): mend the file"], source) from None
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigurationError([f"{where}is no JSON text: correct it"], source) from None
    if not isinstance(document, dict):
        raise ConfigurationError(["is no map from rules to what is asked of them: correct it"], source)
    return document


def _no_number(text: str) -> Any:
    """`NaN` and `Infinity`, which are no JSON, and which nothing can be held against."""
    raise ValueError(text)


class _TwiceError(Exception):
    """A key that a JSON map has twice."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON map, whose last value would win silently where a key stands twice."""
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for key in keys if keys.count(key) > 1))
    return document


def read_configuration(stack: str, root: Path) -> Configuration:
    """The policy configuration of a stack.

    Raises:
        ConfigurationError: the file can't be read, or something in it is refused.
    """
    return parse_configuration(read_document(stack, root), str(FOLDER / f"{stack}.json"))


def parse_configuration(document: Mapping[str, Any], source: str) -> Configuration:
    """Check a document, and take it apart.

    Raises:
        ConfigurationError: with every mistake, one line each.
    """
    problems = list(_problems(document))
    if problems:
        raise ConfigurationError(problems, source)
    levels: dict[str, Level] = {}
    given: dict[str, dict[str, Any]] = {}
    exceptions: list[PolicyException] = []
    for name, value in document.items():
        entry: Mapping[str, Any] = {LEVEL: value} if isinstance(value, str) else value
        if LEVEL in entry:
            levels[name] = Level(entry[LEVEL])
        given[name] = {key: inner for key, inner in entry.items() if key not in {LEVEL, EXCEPTIONS}}
        exceptions += [_exception(name, one) for one in entry.get(EXCEPTIONS, ())]
    return Configuration(levels=levels, given=given, exceptions=tuple(exceptions))


def _exception(rule: str, entry: Mapping[str, Any]) -> PolicyException:
    return PolicyException(
        rule=rule,
        resource=entry["resource"],
        where=entry.get("where"),
        reason=entry["reason"],
        owner=entry["owner"],
        expires=dt.date.fromisoformat(entry["expires"]),
    )


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    known = by_id()
    for name, entry in document.items():
        if name == ALL:
            yield from _refused(entry, _all_map() if isinstance(entry, Mapping) else _level_schema(), name)
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"did you mean {near[0]}?" if near else "`slipway policies list` shows them all"
            yield f"{name}: there is no such rule; nothing would be judged by it: {mend}"
        elif isinstance(entry, Mapping):
            yield from _refused(entry, _map_schema(known[name]), name)
            yield from _dates(entry, name)
        else:
            yield from _refused(entry, _level_schema(), name)


def _refused(entry: Any, schema: Mapping[str, Any], name: str) -> Iterator[str]:
    """What the schema refuses in what is said of one rule."""
    # Slow to import, and only files need it.
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(schema).iter_errors(entry):
        where = Node(None, name).at(*error.absolute_path)
        if error.validator == "additionalProperties":
            has = error.schema["properties"]
            for key in sorted(error.instance.keys() - has.keys()):
                near = difflib.get_close_matches(key, has, n=1)
                mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(has)}"
                yield f"{where}: has no {key!r}; it would not be heeded: {mend}"
        elif error.validator == "pattern":
            yield f"{where}: {error.instance!r} is no day; the exception would never end: write it as 2027-01-31"
        else:
            yield f"{where}: {error.message}; it would not be heeded: correct it"


def _dates(entry: Mapping[str, Any], name: str) -> Iterator[str]:
    """Days that have the form of one, and that no calendar has."""
    exceptions = entry.get(EXCEPTIONS)
    for index, one in enumerate(exceptions if isinstance(exceptions, list) else ()):
        text = one.get("expires") if isinstance(one, Mapping) else None
        if not isinstance(text, str) or re.search(EXPIRES, text) is None:
            continue
        try:
            dt.date.fromisoformat(text)
        except ValueError:
            yield f"{name}.{EXCEPTIONS}[{index}].expires: {text!r} is in no calendar; the exception would never end: correct it"


def configuration_schema() -> dict[str, Any]:
    """The schema of a stack's policy configuration (JSON Schema 2020-12), for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policy configuration of a stack",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            ALL: _all_schema(),
            **{
                rule.id: {"description": f"{rule.title}.", "oneOf": [_level_schema(), _map_schema(rule)]}
                for rule in rules()
            },
        },
    }


def _all_schema() -> dict[str, Any]:
    description = "The level of every rule that has none of its own here."
    return {"description": description, "oneOf": [_level_schema(), _all_map()]}


def _all_map() -> dict[str, Any]:
    properties = {LEVEL: _level_schema()}
    return {"type": "object", "additionalProperties": False, "required": [LEVEL], "properties": properties}


def _level_schema() -> dict[str, Any]:
    return {"enum": [str(level) for level in Level], "description": "What a violation does."}


def _map_schema(rule: Rule) -> dict[str, Any]:
    properties = {LEVEL: _level_schema(), **rule.parameters, EXCEPTIONS: EXCEPTIONS_SCHEMA}
    return {"type": "object", "additionalProperties": False, "properties": properties}

"""All rules, each from its file in `rules/`. A new file there is a new rule; nothing else lists them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path

from policies.rule import Group, Rule, Scope

_FOLDER = Path(__file__).parent / "rules"


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, sorted by group and then by id."""
    names = sorted(file.stem for file in _FOLDER.glob("[!_]*.py"))
    found: list[Rule] = [import_module(f"policies.rules.{name}").RULE for name in names]
    groups = list(Group)
    return tuple(sorted(found, key=lambda rule: (groups.index(rule.group), rule.id)))


def by_id() -> dict[str, Rule]:
    """Every rule by its id."""
    return {rule.id: rule for rule in rules()}


@cache
def rules_for(resource_type: str, scope: Scope) -> tuple[Rule, ...]:
    """The rules of `scope` that look at resources of this type."""
    return tuple(
        rule
        for rule in rules()
        if rule.scope is scope and any(fnmatchcase(resource_type, pattern) for pattern in rule.types)
    )

"""The rules' pass lists and fail lists: one YAML file a rule, `cases/RULE-ID.yaml`.

    passes, fails, unknown: lists of cases, each
      name: what it shows
      type, inputs, options, provider, resource (its name): of one resource, or
      resources: a list of such maps, each also with `outputs` and `refers` (property: names of resources), for rules about a
        whole stack
      stack: {name, project, config, tags}
      parameters: of the rule
      exceptions: of the policy configuration: a map from rules to lists, as a stack's file has them
      today: a day; 2026-11-25 unless given
      where: of fails and unknown: exactly the paths that are told, `NAME: PATH` with several resources
      says: of fails: words that the line must hold

`!unknown` is a value that is not known yet, `!secret VALUE` one that Pulumi keeps secret.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from policies.configuration import Configuration
from policies.judge import Judgement, judge_relations, judge_resource
from policies.node import UNKNOWN, Node, Secret
from policies.resources import Options, Provider, Resource, Stack
from policies.rule import PolicyException, Rule, Scope

FOLDER = Path(__file__).parent / "cases"
TODAY = dt.date(2026, 11, 25)
KINDS = ("passes", "fails", "unknown")


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!unknown", lambda loader, node: UNKNOWN)
_Loader.add_constructor("!secret", lambda loader, node: Secret(_inner(loader, node)))


def _inner(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return UNKNOWN if node.value == "" else loader.construct_scalar(node)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    """One case."""

    rule: str
    kind: str
    document: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.rule}-{self.kind}-{self.document['name'].replace(' ', '_')}"

    @property
    def stack(self) -> Stack:
        given = dict(self.document.get("stack", {}))
        config = Node(given.pop("config", {}))
        entries = self.document.get("resources", [self.document])
        made = {entry.get("resource", entry["type"]): _resource(entry) for entry in entries}
        resources = tuple(
            Resource(
                **{
                    **resource.__dict__,
                    "dependencies": {
                        key: tuple(made[other].urn for other in others)
                        for key, others in entry.get("refers", {}).items()
                    },
                }
            )
            for entry, resource in zip(entries, made.values(), strict=True)
        )
        return Stack(resources=resources, config=config, **given)

    @property
    def several(self) -> bool:
        return "resources" in self.document

    @property
    def exceptions(self) -> tuple[PolicyException, ...]:
        return tuple(
            PolicyException(rule=rule, **{"where": None, **entry})
            for rule, entries in self.document.get("exceptions", {}).items()
            for entry in entries
        )

    def judged(self, rule: Rule) -> Judgement:
        """What `rule`, and it alone, says."""
        configuration = Configuration(
            levels={"all": rule.level}, given={rule.id: self.document.get("parameters", {})}, exceptions=self.exceptions
        )
        stack, today = self.stack, self.document.get("today", TODAY)
        if rule.scope is Scope.STACK:
            return only(judge_relations(stack, configuration, today), rule)
        alone = Stack(name=stack.name, config=stack.config)
        parts = [judge_resource(resource, alone, configuration, today) for resource in stack.resources]
        return only(Judgement.of(parts), rule)

    def told(self, judgement: Judgement) -> tuple[list[str], list[str]]:
        """Where violations and unknowns are, as `where` writes them."""

        def path(resource: Resource, where: str) -> str:
            return f"{resource.name}: {where}".strip() if self.several else where

        return (
            sorted(path(found.resource, found.violation.where) for found in judgement.violations),
            sorted(path(found.resource, found.where) for found in judgement.open),
        )

    def problem(self, rule: Rule) -> str | None:
        """What is not as the case says; None when all is."""
        judgement = self.judged(rule)
        violations, unknowns = self.told(judgement)
        wanted = sorted(self.document.get("where", []))
        if self.kind == "passes":
            return f"fires at {violations}, open at {unknowns}" if violations or unknowns else None
        if self.kind == "unknown":
            also = sorted(self.document.get("violations", []))
            return None if (unknowns, violations) == (wanted, also) else f"open at {unknowns}, fires at {violations}"
        if violations != wanted or not wanted:
            return f"fires at {violations}"
        if unknowns != sorted(self.document.get("open", [])):
            return f"open at {unknowns}"
        said = "\n".join(found.line for found in judgement.violations)
        missing = [word for word in [self.document.get("says", "")] if word not in said]
        return f"does not say {missing}: {said}" if missing else None


def only(judgement: Judgement, rule: Rule) -> Judgement:
    """Of one rule."""
    return Judgement(
        violations=tuple(found for found in judgement.violations if found.rule.id == rule.id),
        excepted=tuple(found for found in judgement.excepted if found.rule.id == rule.id),
        open=tuple(found for found in judgement.open if found.rule.id == rule.id),
    )


def _resource(entry: Mapping[str, Any]) -> Resource:
    provider = entry.get("provider")
    return Resource.plain(
        entry["type"],
        entry.get("resource", "it"),
        entry.get("inputs", {}),
        outputs=Node(entry.get("outputs", {})),
        options=Options(**entry.get("options", {})),
        provider=None
        if provider is None
        else Provider(f"pulumi:providers:{entry['type'].partition(':')[0]}", "default", Node(provider)),
    )


@cache
def cases_of(rule: str) -> tuple[Case, ...]:
    """The cases of one rule."""
    document = yaml.load((FOLDER / f"{rule}.yaml").read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    return tuple(Case(rule, kind, case) for kind in KINDS for case in document.get(kind) or [])

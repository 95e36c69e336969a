"""Ask the rules, and sort what they say: violations, what an exception covers, what could not be known yet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from policies.configuration import Configuration, PolicyException
from policies.node import UnknownValueError
from policies.registry import rules_for
from policies.resources import Resource, Stack
from policies.rule import About, Level, Rule, Scope, Violation


@dataclass(frozen=True, kw_only=True)
class Found:
    """A violation with all that belongs to it."""

    rule: Rule
    level: Level
    resource: Resource
    violation: Violation
    exception: PolicyException | None = None
    """The one that covers it, in force: then it is told and does nothing."""

    @property
    def line(self) -> str:
        """As a person reads it; the resource's name apart."""
        return self.rule.line(self.violation)


@dataclass(frozen=True, kw_only=True)
class Open:
    """What a rule could not be asked about, since a value is not known yet."""

    rule: Rule
    resource: Resource
    where: str

    @property
    def line(self) -> str:
        """As a person reads it; the resource's name apart."""
        return (
            f"{self.where}: not known before the deployment; this rule could not be asked, and is asked again at `up`"
        )


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The answer of all rules that were asked."""

    violations: tuple[Found, ...] = ()
    excepted: tuple[Found, ...] = ()
    open: tuple[Open, ...] = ()

    def __add__(self, other: Judgement) -> Judgement:
        return Judgement(
            violations=self.violations + other.violations,
            excepted=self.excepted + other.excepted,
            open=self.open + other.open,
        )


NOTHING = Judgement()
"""The answer where there was nothing to say."""


def judge_resource(
    resource: Resource, stack: Stack, configuration: Configuration, today: dt.date | None = None
) -> Judgement:
    """What the rules about single resources say of this one."""
    return _judged(rules_for(resource.type, Scope.RESOURCE), resource, stack, configuration, today or _today())


def judge_relations(stack: Stack, configuration: Configuration, today: dt.date | None = None) -> Judgement:
    """What the rules about a whole stack say."""
    judgement = Judgement()
    for resource in stack.resources:
        asked = rules_for(resource.type, Scope.STACK)
        judgement += _judged(asked, resource, stack, configuration, today or _today())
    return judgement


def judge(stack: Stack, configuration: Configuration, today: dt.date | None = None) -> Judgement:
    """What all rules say of a stack whose resources are all there."""
    judgement = Judgement()
    for resource in stack.resources:
        judgement += judge_resource(resource, stack, configuration, today)
    return judgement + judge_relations(stack, configuration, today)


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.UTC).date()


def _judged(
    rules: Iterable[Rule], resource: Resource, stack: Stack, configuration: Configuration, today: dt.date
) -> Judgement:
    violations: list[Found] = []
    excepted: list[Found] = []
    open_: dict[tuple[str, str], Open] = {}
    for rule in rules:
        level = configuration.level(rule)
        if level is Level.DISABLED:
            continue
        about = About(resource=resource, stack=stack, parameters=configuration.parameters(rule), today=today)
        for answer in _answers(rule, about):
            if isinstance(answer, UnknownValueError):
                open_.setdefault((rule.id, answer.path), Open(rule=rule, resource=resource, where=answer.path))
                continue
            exception = configuration.exception(rule, resource, answer, today)
            found = Found(rule=rule, level=level, resource=resource, violation=answer, exception=exception)
            (violations if exception is None else excepted).append(found)
    return Judgement(violations=tuple(violations), excepted=tuple(excepted), open=tuple(open_.values()))


def _answers(rule: Rule, about: About) -> Iterator[Violation | UnknownValueError]:
    """What the rule says of each item; an unknown ends only the item that it is in."""
    items = iter(rule.items(about.resource))
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except UnknownValueError as unknown:
            yield unknown
            return
        try:
            yield from rule.check(item, about)
        except UnknownValueError as unknown:
            yield unknown
